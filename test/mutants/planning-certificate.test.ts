/** Solvers that lie, and the independent check that catches them. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { makePlan } from '../../coordinator/planning/plan.ts';
import type { Problem } from '../../coordinator/planning/problem.ts';
import { verifyCertificate } from '../../coordinator/planning/verify-certificate.ts';
import { verifyCoupled } from '../../coordinator/planning/verify-coupled.ts';
import { coupledBound, SHARE_SCALE, sharedCosts } from '../../coordinator/solvers/coupled/bound.ts';
import { flowSolver } from '../../coordinator/solvers/flow.ts';
import { greedySolver } from '../../coordinator/solvers/greedy.ts';
import type { Solver } from '../../coordinator/solvers/port.ts';
import { systemClock } from '../../shared/clock.ts';
import { bruteForceCost, problemArbitrary, siteIdOf } from '../unit/planning/instances.ts';

const [north, south] = [siteIdOf(0), siteIdOf(1)];
/** Greedy takes north for the first task, which costs the second dearly. */
const trap: Problem = {
  sites: [
    { siteId: north, slotCosts: [0] },
    { siteId: south, slotCosts: [0] },
  ],
  tasks: [
    { a: 1, b: 2 },
    { a: 1, b: 50 },
  ].map(({ a, b }, at) => ({
    taskId: `t${at}`,
    waitingCost: 1_000,
    options: [
      { siteId: north, cost: { latency: a, preference: 0 } },
      { siteId: south, cost: { latency: b, preference: 0 } },
    ],
  })),
};

it('a plan that is not the best cannot show a gap of 0 under any prices', () => {
  const suboptimal: Solver = {
    name: 'suboptimal',
    solve: (problem) => ({ ...flowSolver.solve(problem), sites: greedySolver.solve(problem).sites }),
  };
  expect(makePlan(trap, suboptimal, systemClock)).toMatchObject({ cost: { total: 51 }, bound: 3, gap: 48 });
  fc.assert(
    fc.property(
      problemArbitrary,
      fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 4, maxLength: 4 }),
      (problem, prices) => {
        const sites = greedySolver.solve(problem).sites;
        const made = new Map(prices.map((price, at) => [siteIdOf(at), price]));
        const { bound } = verifyCertificate(problem, sites, made);
        // Weak duality: no prices whatever prove more than the truth.
        expect(bound).toBeLessThanOrEqual(bruteForceCost(problem));
      },
    ),
  );
});

it.each<[string, Solver['solve'], RegExp]>([
  ['over the slots', () => ({ sites: [north, north], sitePrices: null }), /2 tasks in 1 slots/],
  ['a task is left out', () => ({ sites: [north], sitePrices: null }), /not one place per task/],
  ['a site that is not allowed', () => ({ sites: [siteIdOf(3), south], sitePrices: null }), /not allowed/],
  [
    'prices that are no integers',
    () => ({ sites: [south, north], sitePrices: new Map([[north, 0.5]]) }),
    /integers/,
  ],
])('stops at a solver with %s', (name, solve, message) => {
  expect(() => makePlan(trap, { name, solve }, systemClock)).toThrowError(message);
});

it('a coupled bound that forgets what punishments take off claims more than its certificate proves', () => {
  // Two tasks, one site: 10 each, and 6 for standing together.
  const instance = {
    tasks: 2,
    sites: 1,
    costs: Float64Array.of(10, 10),
    slotCosts: [[0, 0]],
    first: Int32Array.of(0),
    second: Int32Array.of(1),
    weights: Float64Array.of(6),
  };
  const bound = coupledBound(instance, {
    iterationsMax: 50,
    deadlineMs: 1,
    nowMs: () => 0,
    target: Infinity,
  });
  const { scaled } = sharedCosts(instance, bound.shares);
  const price = bound.prices[0] ?? 0;
  // The fault: the constant is left out.
  const claimed =
    (scaled.reduce((sum, cost) => sum + cost + price, 0) + 2 * Math.min(0, -price)) / SHARE_SCALE;
  const check = verifyCoupled(
    { ...instance, couplings: [{ first: 0, second: 1, weight: 6 }] },
    Int32Array.of(0, 0),
    { scale: SHARE_SCALE, shares: bound.shares, prices: bound.prices },
  );
  expect(check).toEqual({ faults: [], cost: 26, bound: 26 });
  expect(bound.bound).toBe(26);
  expect(claimed).toBe(32);
});
