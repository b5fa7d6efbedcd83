/** What the generalized-assignment solver is asked is the problem itself where the needs share a divisor: its plan fits as it comes. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keepsKnapsacks } from '../../../coordinator/planning/feasible.ts';
import { toInstance } from '../../../coordinator/planning/instance.ts';
import { planKnapsack } from '../../../coordinator/planning/knapsack-plan.ts';
import type { Problem } from '../../../coordinator/planning/problem.ts';
import { siteIdOf } from './instances.ts';

const WAITING = 1_000;
const siteId = siteIdOf(0);
/** Tasks that all want to one site with room for some of them. */
const crowd = (needs: readonly number[], tokensMax: number): Problem => ({
  tasks: needs.map((tokens, at) => ({
    taskId: `t${at}`,
    waitingCost: WAITING,
    options: [{ siteId, tokens, cost: { latency: 10 + at, preference: 0 } }],
  })),
  sites: [{ siteId, slotCosts: needs.map(() => 0), tokensMax }],
});
const planOf = (problem: Problem) => {
  const planning = toInstance(problem);
  let now = 0;
  const plan = planKnapsack(planning, planning.knapsacks[0]!, {
    seed: 1,
    timeMs: 200,
    nowMs: () => (now += 1),
    sitePrices: {},
  });
  return { planning, placed: [...(plan.siteOf ?? [])].filter((site) => site === 0).length, ...plan };
};

describe('a knapsack whose needs share a divisor', () => {
  test('ten of 1,536 tokens and room for 2,500: one goes, not two', () => {
    expect(
      planOf(
        crowd(
          Array.from({ length: 10 }, () => 1_536),
          2_500,
        ),
      ).placed,
    ).toBe(1);
    expect(
      planOf(
        crowd(
          Array.from({ length: 10 }, () => 1_536),
          3_072,
        ),
      ).placed,
    ).toBe(2);
  });

  test('gives a plan that keeps the room before anything is made to fit', () => {
    const needs = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(needs, fc.integer({ min: 0, max: 20 * 512 }), (sizes, room) => {
        const { planning, siteOf } = planOf(
          crowd(
            sizes.map((size) => size * 512),
            room,
          ),
        );
        expect(siteOf).not.toBeNull();
        expect(keepsKnapsacks(planning, siteOf!)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});
