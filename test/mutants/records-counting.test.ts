/** Faults in counting that the checks of the counting rules must catch: each makes at least the named case wrong. */
import { describe, expect, it } from 'vitest';
import type { CountRules } from '../../agent/records/count.ts';
import { mapResource } from '../../agent/records/fhir/mapping.ts';
import { utf8 } from '../../shared/bytes.ts';
import { COUNTING_RESOURCES, importResources, memoryRecords, wrongCounts } from '../fixtures/fhir.ts';

const MUTANTS: readonly (readonly [string, CountRules, string])[] = [
  ['opt-outs are ignored', { async *optedOut() {} }, 'persons'],
  [
    'merged records count twice',
    { persons: async () => ({ personOf: () => undefined }) },
    'persons with diabetes',
  ],
];

describe('mutants of the patient count', () => {
  it.each(MUTANTS)('%s', async (_, rules, caught) => {
    const records = memoryRecords();
    await importResources(records, COUNTING_RESOURCES);
    expect(await wrongCounts(records)).toEqual([]);
    expect(await wrongCounts(records, rules)).toContain(caught);
  });

  it('rows entered in error count', async () => {
    const records = memoryRecords();
    const changes = COUNTING_RESOURCES.flatMap((resource) => {
      const mapped = mapResource(resource);
      if (mapped.kind !== 'draft') return [];
      const draft = { ...mapped.draft, counted: true };
      return [{ kind: 'put' as const, draft, json: utf8(JSON.stringify(resource)) }];
    });
    await records.apply(records.newRun(), changes);
    expect(await wrongCounts(records)).toContain('persons with diabetes');
  });
});
