import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CoupledInstance, coupledCost } from '../../../coordinator/solvers/coupled/instance.ts';
import { bifurcate } from '../../../coordinator/solvers/samplers/bifurcation.ts';
import { compareSamplers } from '../../../coordinator/solvers/samplers/compare.ts';
import { quboOf } from '../../../coordinator/solvers/samplers/qubo.ts';
import { repair } from '../../../coordinator/solvers/samplers/repair.ts';
import { sparseOf } from '../../../coordinator/solvers/samplers/sparse.ts';
import { annealSpins } from '../../../coordinator/solvers/samplers/spin-annealing.ts';
import { maxCutQubo, quboTable, quboValue } from '../../../shared/quantum/ising.ts';
import { seeded } from '../../../shared/seeded.ts';
import { makeCoupled } from '../../bench/coupled.ts';

const sized = fc.record({
  tasks: fc.integer({ min: 2, max: 7 }),
  sites: fc.integer({ min: 2, max: 4 }),
  seed: fc.integer({ min: 1, max: 1_000 }),
});

/** The slack bits of a plan: each site filled up to its slots. */
const bitsOf = (instance: CoupledInstance, siteOf: ArrayLike<number>): Uint8Array => {
  const view = quboOf(instance);
  const bits = new Uint8Array(view.qubo.bits);
  view.taskOf.forEach((task, bit) => {
    bits[bit] = siteOf[task] === view.siteOf[bit] ? 1 : 0;
  });
  let at = view.taskOf.length;
  for (let site = 0; site < instance.sites; site += 1) {
    const slots = instance.slotCosts[site]?.length ?? 0;
    if (instance.tasks <= slots) continue;
    let left = slots - Array.from(siteOf).filter((one) => one === site).length;
    const sizes: number[] = [];
    for (let size = 1, rest = slots; rest > 0; rest -= size, size *= 2) sizes.push(Math.min(size, rest));
    for (const [index, size] of [...sizes.entries()].toReversed()) {
      if (size > left) continue;
      bits[at + index] = 1;
      left -= size;
    }
    expect(left).toBe(0);
    at += sizes.length;
  }
  expect(at).toBe(bits.length);
  return bits;
};

test('a plan that keeps the rules costs the same in bits as on the true objective', () => {
  fc.assert(
    fc.property(sized, ({ tasks, sites, seed }) => {
      const instance = makeCoupled(tasks, sites, seed);
      const view = quboOf(instance);
      const random = seeded(seed);
      const anything = Uint8Array.from({ length: view.qubo.bits }, () => random.below(2));
      const repaired = repair(instance, view, anything);
      expect(repaired).toBeDefined();
      const siteOf = repaired?.siteOf ?? new Int32Array(0);
      const cost = coupledCost(instance, siteOf);
      expect(cost).toBeLessThan(Infinity);
      const bits = bitsOf(instance, siteOf);
      expect(quboValue(view.qubo, bits)).toBeCloseTo(cost, 6);
      expect(repair(instance, view, bits)).toEqual({ siteOf, wasFeasible: true });
    }),
    { numRuns: 100 },
  );
});

test('breaking a rule once never pays', () => {
  fc.assert(
    fc.property(sized, ({ tasks, sites, seed }) => {
      const instance = makeCoupled(tasks, sites, seed);
      const view = quboOf(instance);
      const { siteOf } = repair(instance, view, new Uint8Array(view.qubo.bits)) ?? {
        siteOf: new Int32Array(0),
      };
      const bits = bitsOf(instance, siteOf);
      const value = quboValue(view.qubo, bits);
      for (let bit = 0; bit < view.taskOf.length; bit += 1) {
        const broken = Uint8Array.from(bits);
        broken[bit] = 1 - broken[bit]!;
        expect(quboValue(view.qubo, broken)).toBeGreaterThan(value);
      }
    }),
    { numRuns: 50 },
  );
});

describe.each(['annealing', 'bifurcation'] as const)('%s', (name) => {
  test('finds the largest cut of small graphs', () => {
    const random = seeded(5);
    const edges = Array.from({ length: 30 }, () => {
      const first = random.below(12);
      return [first, (first + 1 + random.below(11)) % 12, 1 + random.below(5)] as const;
    });
    const qubo = maxCutQubo(12, edges);
    const sparse = sparseOf(qubo);
    const run = (): Uint8Array =>
      name === 'annealing'
        ? annealSpins(sparse, { random, sweeps: 200, hot: 10, cold: 0.1 })
        : bifurcate(sparse, { random, steps: 300 });
    const best = Math.min(...Array.from({ length: 20 }, () => quboValue(qubo, run())));
    expect(best).toBe(Math.min(...quboTable(qubo)));
  });
});

describe('the comparison', () => {
  test('shows every sampler, and the best plan is never worse than the structure-aware one', () => {
    const instance = makeCoupled(5, 3, 2);
    const { rows, best, bound } = compareSamplers(instance, {
      seed: 1,
      timeMs: 60,
      nowMs: () => performance.now(),
    });
    expect(rows.map(({ solver }) => solver)).toEqual([
      'structure_aware',
      'spin_annealing',
      'simulated_bifurcation',
      'qaoa_simulator',
    ]);
    expect(best.cost).toBe(coupledCost(instance, best.siteOf));
    for (const { cost } of rows) {
      expect(cost).toBeGreaterThanOrEqual(best.cost);
      expect(cost).toBeGreaterThanOrEqual(bound);
    }
  });

  test('beyond what the simulator holds, QAOA is left out', () => {
    const { rows } = compareSamplers(makeCoupled(12, 3, 2), {
      seed: 1,
      timeMs: 30,
      nowMs: () => performance.now(),
    });
    expect(rows.map(({ solver }) => solver)).not.toContain('qaoa_simulator');
  });
});
