import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { countConcepts, planConcepts } from '../../../agent/concepts/histogram.ts';
import { CONCEPTS } from '../../../agent/concepts/list.ts';
import type { Records } from '../../../agent/records/store.ts';
import { ConceptCells, ConceptCohort, ConceptId } from '../../../shared/wire/stats/ask.ts';
import { hospitalOf, randomPatient } from './hospital.ts';

const anyCohort = fc
  .record({
    all: fc.constantFrom([], [['hypertension']], [['hypertension', 'asthma'], ['hyperlipidemia']]),
    none: fc.constantFrom([], ['copd']),
    sex: fc.constantFrom(null, 'female' as const),
    bornFrom: fc.constantFrom(null, '1950-01-01'),
    bornBefore: fc.constantFrom(null, '2000-01-01'),
  })
  .map((cohort) => ConceptCohort.parse(cohort));
const anyCells = fc
  .oneof(
    fc.record({
      count: fc.constant('terms'),
      group: fc.constant('conditions'),
      k: fc.integer({ min: 1, max: 4 }),
    }),
    fc.constant({ count: 'share', of: [['hypertension', 'copd']] }),
  )
  .map((cells) => ConceptCells.parse(cells));

const counted = (records: Records, cohort: ConceptCohort, cells: ConceptCells) =>
  countConcepts(records, planConcepts(CONCEPTS, cohort, cells), CONCEPTS.name.hash);

describe('the vector of a concepts question', () => {
  test('moves by at most √k, and each entry by at most 1, when a person comes or goes with everything about them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(randomPatient, { minLength: 1, maxLength: 6 }),
        fc.nat(),
        anyCohort,
        anyCells,
        async (people, pick, cohort, cells) => {
          const gone = pick % people.length;
          const [all, fewer] = await Promise.all([hospitalOf(people), hospitalOf(people, gone)]);
          const [left, right] = [await counted(all, cohort, cells), await counted(fewer, cohort, cells)];
          const moved = left.map((value, at) => value - right[at]!);
          const { k } = planConcepts(CONCEPTS, cohort, cells);
          expect(moved.every((step) => step === 0n || step === 1n)).toBe(true);
          expect(moved.reduce((sum, step) => sum + step * step, 0n)).toBeLessThanOrEqual(BigInt(k));
        },
      ),
      { numRuns: 60 },
    );
  }, 20_000);
});

describe('counting', () => {
  const everyone = ConceptCohort.parse({ all: [], none: [], sex: null, bornFrom: null, bornBefore: null });
  const cellsOf = (k: number) => ConceptCells.parse({ count: 'terms', group: 'conditions', k });
  const at = (id: string) =>
    CONCEPTS.ofGroup('conditions').findIndex((one) => one.id === ConceptId.parse(id));
  const person = { sex: 'female' as const, birthYear: 1950, linked: undefined, refuses: false };

  test('linked records are one person, repeated rows count once, who refuses is not there', async () => {
    const records = await hospitalOf([
      { ...person, codes: ['59621000', '59621000'], linked: undefined, refuses: true },
      { ...person, codes: ['59621000'], linked: ['59621000', '44054006'] },
      { ...person, codes: ['59621000', '1234567'] },
    ]);
    const vector = await counted(records, everyone, cellsOf(4));
    expect(vector[at('hypertension')]).toBe(2n);
    expect(vector[at('type-2-diabetes')]).toBe(1n);
    expect(vector.reduce((sum, value) => sum + value, 0n)).toBe(3n);
  });

  test('the cut is the same every time, and no term is always the one left out', async () => {
    const people = Array.from({ length: 60 }, () => ({
      ...person,
      codes: ['59621000', '44054006', '55822004', '195967001'],
    }));
    const records = await hospitalOf(people);
    const first = await counted(records, everyone, cellsOf(2));
    expect(await counted(records, everyone, cellsOf(2))).toEqual(first);
    expect(first.reduce((sum, value) => sum + value, 0n)).toBe(120n);
    const kept = first.filter((value) => value > 0n);
    expect(kept).toHaveLength(4);
    // Each is kept by half of 60 on average; 12 to 48 is over four standard deviations.
    expect(kept.every((value) => value > 12n && value < 48n)).toBe(true);
  });

  test('a term of the cohort does not take one of the places', async () => {
    const records = await hospitalOf([{ ...person, codes: ['59621000', '44054006'] }]);
    const cohort = ConceptCohort.parse({ ...everyone, all: [['hypertension']] });
    const plan = planConcepts(CONCEPTS, cohort, cellsOf(1));
    expect(plan.cells).not.toContain('hypertension');
    const vector = await counted(records, cohort, cellsOf(1));
    expect(vector[plan.cells.indexOf('type-2-diabetes')]).toBe(1n);
  });
});
