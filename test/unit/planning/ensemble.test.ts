/** The ensemble and what is defined on it, against values worked out by hand. */
import { describe, expect, it } from 'vitest';
import {
  componentsOf,
  couplingsOf,
  GROUPS_MAX,
  GROUP_TASKS_MAX,
} from '../../../coordinator/planning/couplings.ts';
import {
  amplitudesOf,
  boltzmannWeights,
  drawPlans,
  effectiveSites,
  marginalsOf,
  weighPlans,
} from '../../../coordinator/planning/ensemble.ts';
import { commitMsOf, commitSite, isOpen } from '../../../coordinator/planning/superposition.ts';
import { solveLinear } from '../../../coordinator/solvers/coupled/bound.ts';
import type { CoupledInstance } from '../../../coordinator/solvers/coupled/instance.ts';
import { seeded } from '../../../shared/seeded.ts';

const instance = (overrides: Partial<CoupledInstance> = {}): CoupledInstance => ({
  tasks: 2,
  sites: 2,
  costs: Float64Array.of(10, 20, 20, 10),
  slotCosts: [
    [0, 0],
    [0, 0],
  ],
  first: new Int32Array(0),
  second: new Int32Array(0),
  weights: new Float64Array(0),
  ...overrides,
});

describe('couplings', () => {
  it('tie tasks into components, in order', () => {
    const couplings = [
      { first: 0, second: 3, weight: -1 },
      { first: 3, second: 4, weight: 1 },
    ];
    expect(componentsOf(6, couplings)).toEqual([[0, 3, 4], [1], [2], [5]]);
  });

  it('come from tokens: a chain per token, no group above five, no more than fifty groups', () => {
    const weights = { affinity: -7, apart: 9 };
    const same = Array.from({ length: 7 }, () => ({ affinity: 'a' }));
    const tied = couplingsOf(same, weights);
    const sizes = componentsOf(7, tied).map((group) => group.length);
    expect(Math.max(...sizes)).toBe(GROUP_TASKS_MAX);
    expect(tied.every(({ weight }) => weight === -7)).toBe(true);
    expect(couplingsOf([{ apart: 'x' }, {}, { apart: 'x' }], weights)).toEqual([
      { first: 0, second: 2, weight: 9 },
    ]);
    const many = Array.from({ length: 2 * (GROUPS_MAX + 10) }, (_, at) => ({ affinity: String(at >> 1) }));
    expect(couplingsOf(many, weights)).toHaveLength(GROUPS_MAX);
  });
});

describe('the ensemble', () => {
  it('weighs by exp(−(E − E_min)/τ)', () => {
    const weights = boltzmannWeights([5, 5 + Math.log(3) * 2], 2);
    expect(weights[0]).toBeCloseTo(0.75, 12);
    expect(weights[1]).toBeCloseTo(0.25, 12);
  });

  it('counts an assignment once however often it was drawn, and weighs components apart', () => {
    const plans = [
      [0, 1],
      [0, 1],
      [0, 1],
      [1, 1],
    ];
    const tau = 10 / Math.log(3);
    const components = weighPlans({ instance: instance(), sitePrices: [0, 0] }, plans, () => tau);
    const [first, second] = marginalsOf(components, 2, 2);
    // Task 0 was seen at both sites, 10 apart: 3 to 1. Task 1 never moved.
    expect([...first!].map((p) => Number(p.toFixed(9)))).toEqual([0.75, 0.25]);
    expect([...second!]).toEqual([0, 1]);
    const prices = weighPlans({ instance: instance(), sitePrices: [10, 0] }, plans, () => tau);
    expect([...marginalsOf(prices, 2, 2)[0]!].map((p) => Number(p.toFixed(9)))).toEqual([0.5, 0.5]);
  });

  it('weighs coupled tasks together', () => {
    const coupled = instance({
      first: Int32Array.of(0),
      second: Int32Array.of(1),
      weights: Float64Array.of(-20),
    });
    const components = weighPlans(
      { instance: coupled, sitePrices: [0, 0] },
      [
        [0, 1],
        [0, 0],
      ],
      () => 5,
    );
    expect(components).toHaveLength(1);
    // 10 + 10 apart, 10 + 20 − 20 together.
    expect(components[0]!.energies).toEqual([20, 10]);
  });

  it('draws the plan of the costs as they are first, others from noise, the same from the same seed', () => {
    const solve = (costs: Float64Array) => solveLinear(2, instance().slotCosts, costs).siteOf;
    const draw = (seed: number, noise: number) =>
      [...drawPlans(instance(), { count: 40, seed, siteNoise: [noise, noise], solve })].map((plan) =>
        Array.from(plan),
      );
    expect(draw(1, 0).every((plan) => plan.join() === '0,1')).toBe(true);
    const noisy = draw(1, 20);
    expect(noisy[0]).toEqual([0, 1]);
    expect(new Set(noisy.map(String)).size).toBeGreaterThan(1);
    expect(draw(1, 20)).toEqual(noisy);
    expect(draw(2, 20)).not.toEqual(noisy);
  });

  it('has amplitudes whose squares are the probabilities, and an effective number of sites', () => {
    expect([...amplitudesOf([0.25, 0.75])].map((psi) => psi * psi)).toEqual([0.25, expect.closeTo(0.75, 12)]);
    expect(effectiveSites([0.25, 0.25, 0.25, 0.25])).toBe(4);
    expect(effectiveSites([1, 0])).toBe(1);
  });
});

describe('superposition', () => {
  it('ends at the deadline less the 95th percentile and the margin, or when a slot would idle', () => {
    const times = { deadlineMs: 10_000, serviceQ95Ms: 4_000, slotIdleMs: 9_000, marginMs: 50 };
    expect(commitMsOf(times)).toBe(5_950);
    expect(commitMsOf({ ...times, slotIdleMs: 100 })).toBe(100);
  });

  it('is open before t_commit and above 1.05 effective sites only', () => {
    expect(isOpen(1, 2, [0.5, 0.5])).toBe(true);
    expect(isOpen(2, 2, [0.5, 0.5])).toBe(false);
    expect(isOpen(1, 2, [0.98, 0.02])).toBe(false);
    expect(isOpen(1, 2, [0.97, 0.03])).toBe(true);
  });

  it('commits to the most probable site, and draws among equals', () => {
    expect(commitSite([0.2, 0.5, 0.3], seeded(1))).toBe(1);
    const random = seeded(1);
    const drawn = Array.from({ length: 300 }, () => commitSite([0.4, 0.2, 0.4], random));
    expect(new Set(drawn)).toEqual(new Set([0, 2]));
    expect(drawn.filter((site) => site === 0).length).toBeGreaterThan(100);
  });
});
