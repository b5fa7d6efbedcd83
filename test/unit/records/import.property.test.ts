import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Records } from '../../../agent/records/store.ts';
import type { Store } from '../../../shared/store/port.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import {
  condition,
  consentDeny,
  count,
  deletionBundle,
  importResources,
  memoryRecords,
  patient,
  type Resource,
  verification,
} from '../../fixtures/fhir.ts';

const RUNS = { numRuns: 40 };
const COHORTS = ['Patient', 'Condition', 'Condition?code=x', 'Condition?code=y&gender=male', 'Consent'].slice(
  0,
  4,
);

const person = fc.record({
  gender: fc.constantFrom('male', 'female'),
  linkedTo: fc.option(fc.nat(5), { nil: undefined }),
  refuses: fc.boolean(),
  codes: fc.array(fc.constantFrom('x', 'y'), { maxLength: 3 }),
  voided: fc.boolean(),
});

/** Up to six people with unique ids. */
const hospital = fc.array(person, { minLength: 1, maxLength: 6 }).map((people): Resource[] =>
  people.flatMap(({ gender, linkedTo, refuses, codes, voided }, index) => [
    patient(`p${index}`, {
      gender,
      ...(linkedTo === undefined
        ? {}
        : { link: [{ other: { reference: `Patient/p${linkedTo}` }, type: 'refer' }] }),
    }),
    ...(refuses ? [consentDeny(`n${index}`, `p${index}`)] : []),
    ...codes.map((code, row) =>
      condition(`c${index}-${row}`, `p${index}`, code, voided ? verification('refuted') : {}),
    ),
  ]),
);

const shuffledPair = hospital.chain((resources) =>
  fc.tuple(
    fc.constant(resources),
    fc.shuffledSubarray(resources, { minLength: resources.length, maxLength: resources.length }),
  ),
);

const counts = (records: Records): Promise<readonly bigint[]> =>
  Promise.all(COHORTS.map((cohort) => count(records, cohort)));

const keysOf = async (store: Store): Promise<readonly string[]> => {
  const keys: string[] = [];
  for await (const key of store.keys({ prefix: '' })) keys.push(key);
  return keys;
};

const importInParts = async (parts: readonly (readonly Resource[])[]) => {
  const store = createMemoryStore();
  const records = memoryRecords(store);
  for (const part of parts) await importResources(records, part);
  return { counts: await counts(records), keys: await keysOf(store) };
};

/** The list of type names that were ever seen stays; it names no patient. */
const personal = (keys: readonly string[]): readonly string[] =>
  keys.filter((key) => !key.startsWith('records/t/'));

describe('import properties', () => {
  it('does not depend on the order of resources, nor on how they are cut into imports', async () => {
    await fc.assert(
      fc.asyncProperty(shuffledPair, fc.nat(), async ([resources, shuffled], cut) => {
        const at = cut % shuffled.length;
        const whole = await importInParts([resources]);
        expect(await importInParts([shuffled.slice(0, at), shuffled.slice(at)])).toEqual(whole);
      }),
      RUNS,
    );
  });

  it('is the same twice as once', async () => {
    await fc.assert(
      fc.asyncProperty(hospital, async (resources) => {
        expect(await importInParts([resources, resources])).toEqual(await importInParts([resources]));
      }),
      RUNS,
    );
  });

  it('forgets what is deleted as if it had never come: no key is left behind', async () => {
    await fc.assert(
      fc.asyncProperty(hospital, fc.nat(5), async (resources, index) => {
        const deleted = `p${index}`;
        const isTheirs = (resource: Resource): boolean =>
          resource['id'] === deleted ||
          JSON.stringify(resource).includes(`{"reference":"Patient/${deleted}"},"onset`) ||
          JSON.stringify(resource).includes(`"patient":{"reference":"Patient/${deleted}"}`);
        const without = resources.filter((resource) => !isTheirs(resource));
        const after = await importInParts([resources, [deletionBundle(`Patient/${deleted}`)]]);
        const never = await importInParts(without.length === 0 ? [] : [without]);
        expect(after.counts).toEqual(never.counts);
        expect(personal(after.keys)).toEqual(personal(never.keys));
      }),
      RUNS,
    );
  });
});
