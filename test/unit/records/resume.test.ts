import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { importFolder } from '../../../agent/records/import-fhir.ts';
import { IMPORT_LIMITS } from '../../../agent/records/limits.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import { QflError } from '../../../shared/errors.ts';
import {
  condition,
  count,
  deletionBundle,
  memoryRecords,
  ndjson,
  patient,
  temporaryFolder,
} from '../../fixtures/fhir.ts';

const LIMITS = { ...IMPORT_LIMITS, batchResourcesMax: 7 };
const PATIENTS = Array.from({ length: 40 }, (_, index) => patient(`p${index}`));
const CONDITIONS = Array.from({ length: 40 }, (_, index) => condition(`c${index}`, `p${index}`));
const FILES = {
  'Patient.ndjson': `${ndjson(...PATIENTS.slice(0, 20))}broken\n${ndjson(...PATIENTS.slice(20))}`,
  'Condition.ndjson': ndjson(...CONDITIONS),
  'bundle.json': JSON.stringify({
    resourceType: 'Bundle',
    type: 'collection',
    entry: Array.from({ length: 30 }, (_, index) => ({ resource: patient(`b${index}`) })),
  }),
  'gone.ndjson': ndjson(deletionBundle(...Array.from({ length: 15 }, (_, index) => `Patient/b${index}`))),
};

/** A store whose disk is full from the given write on. */
const failingStore = (inner: Store, writesLeft: number): Store => ({
  ...inner,
  write(operations, options) {
    writesLeft -= 1;
    if (writesLeft < 0) return Promise.reject(new QflError('storage_failed', { detail: 'disk full' }));
    return inner.write(operations, options);
  },
});

const whole = async () => {
  await using folder = await temporaryFolder(FILES);
  const records = memoryRecords();
  const result = await importFolder(records, folder.path, { limits: LIMITS });
  return { result, resources: await records.countResources() };
};

describe('an interrupted import', () => {
  it.each([0, 1, 3, 6, 9, 13, 16, 17, 18])(
    'goes on after write %i failed, with the same report and records',
    async (writes) => {
      await using folder = await temporaryFolder(FILES);
      const store = createMemoryStore();
      const first = importFolder(memoryRecords(failingStore(store, writes)), folder.path, { limits: LIMITS });
      await expect(first).rejects.toMatchObject({ code: 'storage_failed' });
      const records = memoryRecords(store);
      const { resumed, ...report } = await importFolder(records, folder.path, { limits: LIMITS });
      const expected = await whole();
      expect(resumed).toBe(writes > 0);
      expect({ ...report, resumed: false }).toEqual(expected.result);
      expect(await records.countResources()).toEqual(expected.resources);
      expect(await count(records, 'Condition')).toBe(40n);
    },
  );

  it('stops when asked to, says how to go on, and does', async () => {
    await using folder = await temporaryFolder(FILES);
    const records = memoryRecords();
    const abort = new AbortController();
    const stopped = importFolder(records, folder.path, {
      limits: LIMITS,
      signal: abort.signal,
      onProgress: ({ counts }) => {
        if ((counts['Condition'] ?? 0) > 10) abort.abort();
      },
    });
    await expect(stopped).rejects.toMatchObject({
      code: 'cancelled',
      next: expect.stringContaining('again'),
    });
    const halfway = (await records.countResources())['Condition'] ?? 0;
    expect(halfway).toBeGreaterThan(10);
    expect(halfway).toBeLessThan(40);
    const { resumed, rejected, counts } = await importFolder(records, folder.path, { limits: LIMITS });
    expect({ resumed, rejected, counts }).toEqual({
      resumed: true,
      rejected: 1,
      counts: { Patient: 70, Condition: 40 },
    });
  });

  it('reads a file again from its start when its bytes changed meanwhile', async () => {
    await using folder = await temporaryFolder({ 'Patient.ndjson': ndjson(...PATIENTS) });
    const store = createMemoryStore();
    const first = importFolder(memoryRecords(failingStore(store, 3)), folder.path, { limits: LIMITS });
    await expect(first).rejects.toMatchObject({ code: 'storage_failed' });
    const other = PATIENTS.map((_, index) => patient(`new${index}`));
    await writeFile(join(folder.path, 'Patient.ndjson'), ndjson(...other));
    const records = memoryRecords(store);
    await importFolder(records, folder.path, { limits: LIMITS });
    expect(await records.get('Patient', 'new0')).toMatchObject({ id: 'new0' });
  });

  it('starts anew after a finished one: what was deleted meanwhile comes back', async () => {
    await using folder = await temporaryFolder({ 'Patient.ndjson': ndjson(patient('p')) });
    const records = memoryRecords();
    await importFolder(records, folder.path);
    expect(await records.deletePatient('p')).toBe(1);
    const again = await importFolder(records, folder.path);
    expect(again.resumed).toBe(false);
    expect(await count(records, 'Patient')).toBe(1n);
  });
});
