/** Faults below the records that their checks must catch. */
import { describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { Store } from '../../shared/store/port.ts';
import {
  condition,
  count,
  deletionBundle,
  DIABETES,
  HYPERTENSION,
  importResources,
  memoryRecords,
  patient,
} from '../fixtures/fhir.ts';
import { searchDisk } from '../fixtures/fhir-at-rest.ts';

/** Writes what it is given and removes nothing. */
const storeThatKeepsEverything = (): Store => {
  const inner = createMemoryStore();
  return {
    ...inner,
    write: (operations, options) =>
      inner.write(
        operations.filter(({ type }) => type === 'put'),
        options,
      ),
  };
};

/** Counts that a replaced and a deleted resource leave behind; none when the store is sound. */
const leftOver = async (store: Store): Promise<{ replaced: bigint; deleted: bigint }> => {
  const records = memoryRecords(store);
  await importResources(records, [patient('p'), condition('c', 'p', DIABETES), patient('q')]);
  await importResources(records, [condition('c', 'p', HYPERTENSION), deletionBundle('Patient/q')]);
  const replaced = await count(records, `Condition?code=${DIABETES}`);
  return { replaced, deleted: (await count(records, 'Patient')) - 1n };
};

describe('mutants below the records', () => {
  it('old index entries stay after a re-import and a deletion', async () => {
    expect(await leftOver(createMemoryStore())).toEqual({ replaced: 0n, deleted: 0n });
    expect(await leftOver(storeThatKeepsEverything())).toEqual({ replaced: 1n, deleted: 1n });
  });

  it('values lie on the disk in clear', async () => {
    const { secretsFound } = await searchDisk((inner) => inner);
    expect(secretsFound.length).toBeGreaterThan(3);
  });
});
