/**
 * The promise that all noise rests on: whoever is added to or removed from the records, with everything about them, moves the exact vectors of
 * a figure by at most what the mechanism is told.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { vectorsOf } from '../../../agent/answer/stats/layout.ts';
import { COHORTS, exactVectors, excess, MEASURES, personOf, shapes } from '../../fixtures/stats.ts';

const RUNS = 5;

describe.each(MEASURES)('%s', (_, measure) => {
  test.each(COHORTS)('of %s: no person moves it further than declared', async (cohort) => {
    await fc.assert(
      fc.asyncProperty(shapes, async (drawn) => {
        const people = drawn.map((shape, at) => personOf(`p${at}`, shape));
        const all = await exactVectors(people, cohort, measure);
        if (measure.measure !== 'keyed_table')
          expect(all.map((vector) => vector.length)).toEqual(
            vectorsOf(measure).map(({ cells, candidates }) => candidates ?? cells.length),
          );
        for (const person of people) {
          const fewer = await exactVectors(
            people.filter((one) => one !== person),
            cohort,
            measure,
          );
          expect(excess(measure, all, fewer)).toBeUndefined();
        }
      }),
      { numRuns: RUNS },
    );
  });
});
