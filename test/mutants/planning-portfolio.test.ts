/** Plans and proofs of the portfolio that are wrong, and the checker that shares nothing with the solvers. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Certificate } from '../../coordinator/planning/plan.ts';
import { solvePortfolio } from '../../coordinator/planning/portfolio.ts';
import type { Problem } from '../../coordinator/planning/problem.ts';
import { verifyPlan } from '../../coordinator/planning/verify-plan.ts';
import { bruteForceFull, fullProblemArbitrary, siteIdOf } from '../unit/planning/instances.ts';

const integers = (length: number, most: number) =>
  fc.array(fc.integer({ min: -most, max: most }), { minLength: length, maxLength: length });

it('no multipliers, prices or shares whatever prove more than the truth', () => {
  fc.assert(
    fc.property(
      fullProblemArbitrary,
      integers(6, 400),
      integers(4, 30),
      fc.array(fc.nat(8), { minLength: 200, maxLength: 200 }),
      (problem, multipliers, prices, shares) => {
        const sitePrices = Object.fromEntries(prices.map((price, at) => [siteIdOf(at), price]));
        const nowhere = problem.tasks.map(() => null);
        const forged: Certificate[] = [
          { kind: 'prices', sitePrices },
          ...(['tokens', 'microEpsilon'] as const).map((resource): Certificate => ({
            kind: 'multipliers',
            sitePrices,
            resource,
            scale: 8,
            multipliers: Float64Array.from(multipliers),
          })),
          {
            kind: 'shares',
            sitePrices,
            scale: 8,
            shares: Int32Array.from(shares),
            prices: Float64Array.from([...prices.slice(0, problem.sites.length), 0], (price) => 8 * price),
          },
        ];
        const truth = bruteForceFull(problem);
        for (const certificate of forged)
          expect(verifyPlan(problem, nowhere, certificate).bound).toBeLessThanOrEqual(truth);
      },
    ),
    { numRuns: 200 },
  );
});

const [north, south] = [siteIdOf(0), siteIdOf(1)];
const tight: Problem = {
  sites: [
    { siteId: north, slotCosts: [0, 0], tokensMax: 1_000, microEpsilonMax: 10 },
    { siteId: south, slotCosts: [0, 0] },
  ],
  tasks: [0, 1].map((at) => ({
    taskId: `t${at}`,
    waitingCost: 100,
    options: [
      { siteId: north, tokens: 600, microEpsilon: 6, cost: { latency: 1, preference: 0 } },
      { siteId: south, tokens: 600, cost: { latency: 5, preference: 0 } },
    ],
  })),
};

it('a planner that forgets tokens or budget overdraws a site, and is caught', () => {
  const placed = (problem: Problem) =>
    solvePortfolio(problem, { seed: 1, timeMs: 5 }).assignments.map(({ siteId }) => siteId);
  const forgetful = placed({
    ...tight,
    sites: tight.sites.map(({ siteId, slotCosts }) => ({ siteId, slotCosts })),
  });
  expect(forgetful).toEqual([north, north]);
  const { faults } = verifyPlan(tight, forgetful, null);
  expect(faults.join()).toMatch(/1200 of 1000 tokens/);
  expect(faults.join()).toMatch(/12 of 10 microEpsilon/);
  expect(verifyPlan(tight, placed(tight), null).faults).toEqual([]);
});

it('a bound of a plan that couplings make cheaper is too high without them', () => {
  const coupled: Problem = { ...tight, couplings: [{ first: 0, second: 1, weight: -50 }] };
  const plan = solvePortfolio(coupled, { seed: 1, timeMs: 5 });
  const sites = plan.assignments.map(({ siteId }) => siteId);
  expect(verifyPlan(coupled, sites, plan.certificate).faults).toEqual([]);
  // The fault: a bound that was proven of the problem without its couplings.
  const { certificate } = solvePortfolio(tight, { seed: 1, timeMs: 5 });
  const without = verifyPlan(tight, sites, certificate).bound!;
  expect(without).toBeGreaterThan(plan.cost.total);
  // The checker does not take it from the certificate: of the problem as it is, the same prices prove less.
  expect(verifyPlan(coupled, sites, certificate).bound).toBeLessThanOrEqual(plan.cost.total);
});

it('a proof whose sums are not exact proves nothing', () => {
  const placed = tight.tasks.map(() => south);
  const proof = (multipliers: number[], price = 0): Certificate => ({
    kind: 'multipliers',
    sitePrices: { [north]: price },
    resource: 'tokens',
    scale: 8,
    multipliers: Float64Array.from(multipliers),
  });
  expect(verifyPlan(tight, placed, proof([8, 8])).faults).toEqual([]);
  // Two that are no integers, and whose sum is one; two that cancel, each too large to be added to exactly.
  for (const forged of [
    [8.5, 7.5],
    [2 ** 54, -(2 ** 54)],
  ])
    expect(verifyPlan(tight, placed, proof(forged)).faults.join()).toMatch(/too large to add exactly/);
  expect(verifyPlan(tight, placed, proof([8, 8], 0.5)).faults.join()).toMatch(/prices are not integers/);
});
