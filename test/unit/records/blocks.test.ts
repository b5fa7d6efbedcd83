/** Who stands in which data block, and who is read: assigned once, kept whatever comes later, linked persons whole or not at all. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { blocksBetween, blockAt, blockRange } from '../../../agent/budget/blocks.ts';
import { personsWithConcepts } from '../../../agent/concepts/persons.ts';
import { blockCounts, requireBlocks } from '../../../agent/records/blocks.ts';
import { parseCohortTree } from '../../../agent/records/cohort-tree.ts';
import type { Records } from '../../../agent/records/store.ts';
import { walkPersons, type WalkRules } from '../../../agent/records/walk.ts';
import {
  deletionBundle,
  importResources,
  memoryRecords,
  patient,
  type Resource,
} from '../../fixtures/fhir.ts';

const encounter = (id: string, of: string, start: string | undefined, more: Resource = {}): Resource => ({
  resourceType: 'Encounter',
  id,
  status: 'finished',
  subject: { reference: `Patient/${of}` },
  ...(start === undefined ? {} : { period: { start } }),
  ...more,
});
type LinkRules = Pick<WalkRules, 'readsLinked'>;

const linkedTo = (id: string, other: string): Resource =>
  patient(id, { link: [{ other: { reference: `Patient/${other}` }, type: 'seealso' }] });

const count = async (records: Records, blocks: readonly string[] | undefined, rules: LinkRules = {}) => {
  let persons = 0;
  const walk = { tree: parseCohortTree('Patient'), sources: [], needsPatient: false, blocks };
  for await (const _ of walkPersons(records, walk, rules)) persons += 1;
  let byConcepts = 0;
  for await (const _ of personsWithConcepts(records, [], rules, blocks)) byConcepts += 1;
  // Both ways of reading persons agree on who is read.
  expect(byConcepts).toBe(persons);
  return persons;
};
const standing = async (records: Records, months: readonly string[]): Promise<readonly number[]> => {
  const found = [];
  for (const month of months) found.push(await count(records, [month]));
  return found;
};

const MONTHS = ['2025-01', '2025-02', '2025-03'];

describe('the block of a patient', () => {
  test('is the month of the earliest admission that counts', async () => {
    const records = memoryRecords();
    const { blocks } = await importResources(records, [
      patient('a'),
      encounter('a2', 'a', '2025-03-01T10:00:00Z'),
      encounter('a1', 'a', '2025-02-28'),
      encounter('a0', 'a', '2025-01-01', { status: 'entered-in-error' }),
      patient('b'),
      encounter('b1', 'b', '2025-03-31T23:59:59Z'),
      encounter('b0', 'b', '0001-01-01'),
      patient('none'),
      encounter('n1', 'none', undefined),
    ]);
    expect(await standing(records, MONTHS)).toEqual([0, 1, 1]);
    expect(blocks).toEqual({ assigned: 2, withoutBlock: 1, personsInSeveral: 0, blocksPerPersonMost: 1 });
    expect(await blockCounts(records)).toEqual(blocks);
    // Without data blocks everybody is read, with them nobody who stands in none.
    expect(await count(records, undefined)).toBe(3);
    expect(await count(records, MONTHS)).toBe(2);
  });

  test('stays, whatever becomes known later', async () => {
    const records = memoryRecords();
    await importResources(records, [patient('a'), encounter('a1', 'a', '2025-03-01')]);
    await importResources(records, [encounter('a0', 'a', '2025-01-01')]);
    expect(await standing(records, MONTHS)).toEqual([0, 0, 1]);
    await importResources(records, [encounter('a1', 'a', '2025-02-01')]);
    expect(await standing(records, MONTHS)).toEqual([0, 0, 1]);
    await importResources(records, [deletionBundle('Patient/a')]);
    expect(await standing(records, MONTHS)).toEqual([0, 0, 0]);
    await importResources(records, [patient('a'), encounter('a0', 'a', '2025-01-01')]);
    expect(await standing(records, MONTHS)).toEqual([0, 0, 1]);
  });

  test('comes with the first admission, and in an import that is repeated', async () => {
    const records = memoryRecords();
    await importResources(records, [patient('a')]);
    expect(await count(records, MONTHS)).toBe(0);
    const resources = [encounter('a1', 'a', '2025-02-01')];
    await importResources(records, resources);
    await importResources(records, resources);
    expect(await standing(records, MONTHS)).toEqual([0, 1, 0]);
  });

  test('of linked records is one: that of whoever has one, or the earliest of all', async () => {
    const records = memoryRecords();
    await importResources(records, [
      patient('a'),
      linkedTo('b', 'a'),
      encounter('a1', 'a', '2025-02-01'),
      encounter('b1', 'b', '2025-01-15'),
    ]);
    expect(await standing(records, MONTHS)).toEqual([1, 0, 0]);
    await importResources(records, [linkedTo('c', 'b'), encounter('c1', 'c', '2025-03-01')]);
    expect(await standing(records, MONTHS)).toEqual([1, 0, 0]);
    expect((await blockCounts(records))?.personsInSeveral).toBe(0);
  });

  test('asked for before any was assigned is refused rather than read as nobody', async () => {
    const records = memoryRecords();
    await requireBlocks(records, MONTHS);
    await importResources(records, [patient('a')]);
    await requireBlocks(records, MONTHS);
    await records.store.write([{ type: 'del', key: 'records/s/blocks' }]);
    await expect(requireBlocks(records, MONTHS)).rejects.toMatchObject({ code: 'not_ready' });
    await requireBlocks(records, undefined);
  });
});

describe('a link that arrives when both records have blocks', () => {
  const lateLink = async (): Promise<Records> => {
    const records = memoryRecords();
    await importResources(records, [
      patient('a'),
      encounter('a1', 'a', '2025-01-01'),
      patient('b'),
      encounter('b1', 'b', '2025-02-01'),
    ]);
    expect(await standing(records, MONTHS)).toEqual([1, 1, 0]);
    await importResources(records, [linkedTo('b', 'a')]);
    return records;
  };

  test('has the person read only where all their blocks are charged', async () => {
    const records = await lateLink();
    expect(await standing(records, MONTHS)).toEqual([0, 0, 0]);
    expect(await count(records, ['2025-01', '2025-02'])).toBe(1);
    expect(await blockCounts(records)).toMatchObject({ personsInSeveral: 1, blocksPerPersonMost: 2 });
  });

  test('and is withdrawn leaves two persons, each in their own block', async () => {
    const records = await lateLink();
    await importResources(records, [patient('b')]);
    expect(await standing(records, MONTHS)).toEqual([1, 1, 0]);
  });
});

/** A person of up to three records, linked at once, later or never. */
const personShape = fc.record({
  months: fc.array(fc.constantFrom(...MONTHS, undefined), { minLength: 1, maxLength: 3 }),
  linked: fc.constantFrom('first', 'later', 'never'),
});
type Shape = typeof personShape extends fc.Arbitrary<infer Value> ? Value : never;

const resourcesOf = (name: string, { months }: Shape, linked: boolean): Resource[] =>
  months.flatMap((month, at) => [
    at > 0 && linked ? linkedTo(`${name}${at}`, `${name}${at - 1}`) : patient(`${name}${at}`),
    ...(month === undefined ? [] : [encounter(`${name}${at}e`, `${name}${at}`, `${month}-10`)]),
  ]);

const hospitalOf = async (shapes: readonly (readonly [string, Shape])[]): Promise<Records> => {
  const records = memoryRecords();
  const together = shapes.flatMap(([name, shape]) => resourcesOf(name, shape, shape.linked === 'first'));
  if (together.length > 0) await importResources(records, together);
  const later = shapes.flatMap(([name, shape]) =>
    shape.linked === 'later' ? resourcesOf(name, shape, true) : [],
  );
  if (later.length > 0) await importResources(records, later);
  return records;
};

/** How far one linked person moves the counts of three queries that charge different blocks, in all. */
const movedBy = async (
  shapes: readonly Shape[],
  at: number,
  rules: LinkRules = {},
): Promise<readonly number[]> => {
  const named = shapes.map((shape, index): [string, Shape] => [`p${index}r`, shape]);
  const all = await hospitalOf(named);
  const fewer = await hospitalOf(named.filter((_, index) => index !== at));
  const moved = [];
  for (const month of MONTHS)
    moved.push(Math.abs((await count(all, [month], rules)) - (await count(fewer, [month], rules))));
  return moved;
};
const total = (moved: readonly number[]): number => moved.reduce((sum, one) => sum + one, 0);

/** Any block of any record is enough: what a rule that looks at records and not at persons would do. */
const ANY_BLOCK: LinkRules = { readsLinked: (inside) => inside > 0 };

describe('queries that charge different blocks', () => {
  test('are moved by a person whose records are linked in one of them at most, by one', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(personShape, { minLength: 1, maxLength: 3 }), async (shapes) => {
        for (const [at, { linked }] of shapes.entries())
          if (linked !== 'never') expect(total(await movedBy(shapes, at))).toBeLessThanOrEqual(1);
      }),
      { numRuns: 12 },
    );
  });

  test('a rule that reads a person in two blocks is caught', async () => {
    const late: Shape = { months: ['2025-01', '2025-02'], linked: 'later' };
    expect(total(await movedBy([late], 0))).toBe(0);
    expect(await movedBy([late], 0, ANY_BLOCK)).toEqual([1, 1, 0]);
  });
});

describe('months', () => {
  test('between two are all of them, over the end of a year', () => {
    expect(blocksBetween('2024-11', '2025-02')).toEqual(['2024-11', '2024-12', '2025-01', '2025-02']);
    expect(blocksBetween('2025-02', '2025-02')).toEqual(['2025-02']);
    expect(blocksBetween('2025-03', '2025-02')).toEqual([]);
    expect(() => blocksBetween('1000-01', '9000-01')).toThrow(
      expect.objectContaining({ code: 'invalid_request' }) as Error,
    );
  });

  test('of a moment, and the ends of a list', () => {
    expect(blockAt(Date.UTC(2026, 2, 31, 23, 59))).toBe('2026-03');
    expect(blockRange(blocksBetween('2025-01', '2025-03'))).toEqual({ from: '2025-01', to: '2025-03' });
    expect(blockRange(undefined)).toBeNull();
  });
});
