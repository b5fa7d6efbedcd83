import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { importFolder, type ImportProgress } from '../../../agent/records/import-fhir.ts';
import { IMPORT_LIMITS } from '../../../agent/records/limits.ts';
import {
  condition,
  consentDeny,
  count,
  deletionBundle,
  DIABETES,
  HYPERTENSION,
  importResources,
  memoryRecords,
  ndjson,
  patient,
  type Resource,
  temporaryFolder,
} from '../../fixtures/fhir.ts';

const bundle = (...entry: readonly Resource[]): Resource => ({
  resourceType: 'Bundle',
  type: 'transaction',
  entry,
});
const URN = 'urn:uuid:0af711aa-5601-49cd-987e-162e8dac3525';

const subject = (value: string): Resource => ({
  subject: { reference: `Patient?identifier=urn:mrn|${value}` },
});

describe('importing a folder', () => {
  it('reads NDJSON and bundles, gzip or not, whatever the extension says, in subfolders too', async () => {
    await using folder = await temporaryFolder({
      'Patient.ndjson': ndjson(patient('a')),
      'deep/er/Patient.ndjson.gz': gzipSync(ndjson(patient('b'))),
      'bundles/c.json': JSON.stringify(
        bundle({ resource: patient('c'), request: { method: 'POST', url: 'Patient' } }),
        null,
        2,
      ),
      'bundles/d.json.gz': gzipSync(JSON.stringify(bundle({ resource: patient('d') }))),
      'plain-name-that-is-gzip.ndjson': gzipSync(ndjson(patient('e'))),
      'lines-named-json.json': ndjson(patient('f'), patient('g')),
      'one-resource.json': JSON.stringify(patient('h'), null, 2),
      'export.jsonl': ndjson(patient('i')),
      'without-extension': ndjson(patient('j')),
      'README.md': 'not a resource',
      'table.csv': 'a,b',
      'empty.ndjson': '',
      'empty.json': '',
    });
    const records = memoryRecords();
    const result = await importFolder(records, folder.path);
    expect(result).toMatchObject({
      counts: { Patient: 10 },
      rejected: 0,
      filesIgnored: 2,
      files: 11,
      resumed: false,
    });
    expect(await count(records, 'Patient')).toBe(10n);
  });

  it('replaces on re-import: old codes no longer count, new ones do', async () => {
    const records = memoryRecords();
    await importResources(records, [patient('p'), condition('c', 'p', DIABETES)]);
    await importResources(records, [condition('c', 'p', HYPERTENSION)]);
    expect(await count(records, `Condition?code=${DIABETES}`)).toBe(0n);
    expect(await count(records, `Condition?code=${HYPERTENSION}`)).toBe(1n);
    expect(await records.countResources()).toEqual({ Patient: 1, Condition: 1 });
    expect(await records.get('Condition', 'c')).toMatchObject({ code: { coding: [{ code: HYPERTENSION }] } });
  });

  it('moves a resource to another patient', async () => {
    const records = memoryRecords();
    await importResources(records, [patient('p'), patient('q', { gender: 'male' }), condition('c', 'p')]);
    await importResources(records, [condition('c', 'q')]);
    expect(await count(records, 'Condition?gender=female')).toBe(0n);
    expect(await count(records, 'Condition?gender=male')).toBe(1n);
  });

  it('deletes by bundle lines, by transaction entries and by the manifest, and a patient with everything', async () => {
    const records = memoryRecords();
    await importResources(records, [
      patient('p'),
      condition('c1', 'p'),
      condition('c2', 'p'),
      patient('q'),
      condition('c3', 'q'),
    ]);
    const result = await importResources(records, [deletionBundle('Condition/c1')]);
    expect(result.deleted).toBe(1);
    await using folder = await temporaryFolder({
      'manifest.json': JSON.stringify({
        transactionTime: '2026-01-01T00:00:00Z',
        output: [{ type: 'Patient', url: 'https://ehr.example/files/Patient.ndjson', count: 1 }],
        deleted: [{ type: 'Bundle', url: 'https://ehr.example/files/del_file_1.ndjson?token=x', count: 1 }],
        error: [],
      }),
      'Patient.ndjson': ndjson(patient('q')),
      'del_file_1.ndjson': ndjson(deletionBundle('Patient/q')),
      'transaction.json': JSON.stringify(deletionBundle('Condition/c2')),
    });
    const manifest = await importFolder(records, folder.path);
    expect(manifest).toMatchObject({ deleted: 3, rejected: 0, noticed: 0 });
    expect(await records.countResources()).toEqual({ Patient: 1 });
    expect(await records.get('Condition', 'c3')).toBeUndefined();
  });

  it('deletes a patient whose resources came in the same batch', async () => {
    const records = memoryRecords();
    await importResources(records, [patient('p'), condition('c', 'p'), deletionBundle('Patient/p')]);
    expect(await records.countResources()).toEqual({});
  });

  it('says what the manifest announces and the folder lacks, and follows no path in it', async () => {
    await using folder = await temporaryFolder({
      'manifest.json': JSON.stringify({
        transactionTime: '2026-01-01T00:00:00Z',
        output: [
          { type: 'Patient', url: 'Patient.ndjson', count: 3 },
          { type: 'Condition', url: '../../../etc/passwd', count: 1 },
        ],
        outcome: [{ url: 'errors.ndjson' }],
      }),
      'Patient.ndjson': ndjson(patient('a')),
      'errors.ndjson': ndjson({ resourceType: 'OperationOutcome', id: 'x' }),
    });
    const result = await importFolder(memoryRecords(), folder.path);
    expect(result.problems).toEqual([
      { file: 'manifest.json', severity: 'noticed', reason: 'the manifest names a file that is not here' },
      {
        file: 'Patient.ndjson',
        severity: 'noticed',
        reason: 'the manifest announces 3 lines and the file has 1',
      },
    ]);
    expect(result).toMatchObject({ counts: { Patient: 1 }, unknownTypes: {}, filesIgnored: 1 });
  });

  it('maps urn:uuid references to the real resource, and takes an id from the URN where there is none', async () => {
    const { id: _, ...anonymous } = patient('x');
    const records = memoryRecords();
    await using folder = await temporaryFolder({
      'bundle.json': JSON.stringify(
        bundle(
          {
            fullUrl: 'urn:uuid:1',
            resource: condition('c', 'unused', DIABETES, { subject: { reference: URN } }),
          },
          { fullUrl: URN, resource: anonymous },
        ),
      ),
    });
    await importFolder(records, folder.path);
    const id = URN.slice('urn:uuid:'.length);
    expect(await records.get('Condition', 'c')).toMatchObject({ subject: { reference: `Patient/${id}` } });
    expect(await count(records, 'Condition')).toBe(1n);
  });

  it('resolves a conditional reference by identifier and reports one that leads nowhere', async () => {
    const records = memoryRecords();
    const identifier = [{ system: 'urn:mrn', value: '17' }];
    const result = await importResources(records, [
      patient('p', { identifier }),
      condition('c1', '-', DIABETES, subject('17')),
      condition('c2', '-', DIABETES, subject('18')),
    ]);
    expect(result.problems).toEqual([
      {
        file: 'all.ndjson',
        line: 3,
        severity: 'skipped',
        reason: 'the conditional reference matches no imported patient',
      },
    ]);
    expect(await count(records, 'Condition')).toBe(1n);
    await importResources(records, [patient('q', { identifier })]);
    const ambiguous = await importResources(records, [condition('c3', '-', DIABETES, subject('17'))]);
    expect(ambiguous.problems[0]?.reason).toBe('the conditional reference matches several imported patients');
  });

  it('counts unknown types by name, and bounds the names', async () => {
    const made = Array.from({ length: 5 }, (_, index) => ({
      resourceType: `Unheard${'abcde'.charAt(index)}`,
      id: 'x',
    }));
    await using folder = await temporaryFolder({ 'x.ndjson': ndjson(...made, patient('p')) });
    const limits = { ...IMPORT_LIMITS, unknownTypesMax: 3 };
    const result = await importFolder(memoryRecords(), folder.path, { limits });
    expect(result.unknownTypes).toEqual({ Unhearda: 1, Unheardb: 1, Unheardc: 1, '(other)': 2 });
    expect(result).toMatchObject({ rejected: 0, counts: { Patient: 1 } });
  });

  it('notices an id that comes twice with other content, not one that is only repeated', async () => {
    const result = await importResources(memoryRecords(), [
      patient('p'),
      patient('p'),
      patient('p', { gender: 'male' }),
    ]);
    expect(result.problems).toMatchObject([{ line: 3, severity: 'noticed' }]);
    expect(result.counts).toEqual({ Patient: 3 });
  });

  it('counts apart the consents it could not take, since an opt-out may be among them', async () => {
    const result = await importResources(memoryRecords(), [
      patient('p'),
      consentDeny('c1', 'p', { patient: undefined }),
      consentDeny('c2', 'p', { patient: { reference: 'Patient?identifier=urn:mrn|1' } }),
      { resourceType: 'Condition', id: 'x' },
    ]);
    expect(result).toMatchObject({ rejected: 3, consentsRejected: 2, counts: { Patient: 1 } });
  });

  it('tells how far it is', async () => {
    const seen: ImportProgress[] = [];
    await using folder = await temporaryFolder({
      'a.ndjson': ndjson(...Array.from({ length: 25 }, (_, index) => patient(`a${index}`))),
      'b.ndjson': ndjson(patient('b'), { resourceType: 'Condition', id: 'x' }),
    });
    const limits = { ...IMPORT_LIMITS, batchResourcesMax: 10 };
    await importFolder(memoryRecords(), folder.path, {
      limits,
      onProgress: (progress) => seen.push(progress),
    });
    expect(seen.at(-1)).toMatchObject({ file: 'b.ndjson', counts: { Patient: 26 }, rejected: 1 });
    expect(seen.at(-1)?.bytesDone).toBe(seen.at(-1)?.bytesTotal);
    expect(seen.filter(({ file }) => file === 'a.ndjson').length).toBeGreaterThanOrEqual(3);
    expect(seen.map(({ bytesDone }) => bytesDone)).toEqual(
      seen.map(({ bytesDone }) => bytesDone).toSorted((a, b) => a - b),
    );
  });

  it.each(['/does/not/exist', new URL(import.meta.url).pathname])(
    'refuses %s, which is no folder',
    async (path) => {
      await expect(importFolder(memoryRecords(), path)).rejects.toMatchObject({ code: 'invalid_request' });
    },
  );
});
