/** What holds of the definitions whatever the numbers. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { coherenceOf, fidelityOf } from '../../../coordinator/planning/coherence.ts';
import { boltzmannWeights, effectiveSites } from '../../../coordinator/planning/ensemble.ts';
import { iConcurrence, normalisedMutualInformation } from '../../../coordinator/planning/entanglement.ts';
import { independentPlan } from '../../../coordinator/planning/interference.ts';
import { toInstance } from '../../../coordinator/planning/instance.ts';
import { contendersFlow } from '../../../coordinator/planning/contenders.ts';
import { makePlan } from '../../../coordinator/planning/plan.ts';
import { pinballLoss } from '../../../coordinator/planning/prequential.ts';
import { createWindow } from '../../../coordinator/planning/window.ts';
import { coupledCost } from '../../../coordinator/solvers/coupled/instance.ts';
import { systemClock } from '../../../shared/clock.ts';
import { bruteForceCost, problemArbitrary } from './instances.ts';

const distribution = (sites: number) =>
  fc
    .array(fc.double({ min: 0.001, max: 1, noNaN: true }), { minLength: sites, maxLength: sites })
    .map((raw) => raw.map((value) => value / raw.reduce((sum, one) => sum + one, 0)));
const ages = fc.array(fc.double({ min: 0, max: 1e5, noNaN: true }), { minLength: 4, maxLength: 4 });

describe('the definitions', () => {
  it('weights sum to 1, and the least energy has the most', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -1e6, max: 1e6 }), { minLength: 1, maxLength: 9 }),
        (energies) => {
          const weights = boltzmannWeights(energies, 50);
          expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 9);
          expect(weights[energies.indexOf(Math.min(...energies))]).toBe(Math.max(...weights));
        },
      ),
    );
  });

  it('effective sites lie between 1 and the number of sites', () => {
    fc.assert(
      fc.property(distribution(5), (p) => {
        expect(effectiveSites(p)).toBeGreaterThanOrEqual(1 - 1e-9);
        expect(effectiveSites(p)).toBeLessThanOrEqual(5 + 1e-9);
      }),
    );
  });

  it('coherence is in [0, 1] and never rises with age', () => {
    fc.assert(
      fc.property(distribution(4), ages, fc.double({ min: 0, max: 1e4, noNaN: true }), (p, young, later) => {
        const before = coherenceOf(p, young, 5_000)!;
        const after = coherenceOf(
          p,
          young.map((age) => age + later),
          5_000,
        )!;
        expect(before).toBeGreaterThanOrEqual(0);
        expect(before).toBeLessThanOrEqual(1);
        expect(after).toBeLessThanOrEqual(before + 1e-12);
        expect(after).toBeCloseTo(before * Math.exp(-later / 5_000), 9);
      }),
    );
  });

  it('fidelity is symmetric, in [0, 1], and 1 with itself', () => {
    fc.assert(
      fc.property(distribution(4), distribution(4), (p, q) => {
        expect(fidelityOf(p, q)).toBeCloseTo(fidelityOf(q, p), 12);
        expect(fidelityOf(p, p)).toBeCloseTo(1, 9);
        expect(fidelityOf(p, q)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('mutual information and concurrence are in [0, 1] and do not care for the order of the pair', () => {
    const rows = fc.array(fc.tuple(fc.nat(3), fc.nat(3)), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(rows, (sites) => {
        const weights = sites.map(() => 1 / sites.length);
        const pair = { first: sites.map(([one]) => one), second: sites.map(([, other]) => other), weights };
        const turned = { first: pair.second, second: pair.first, weights };
        const nmi = normalisedMutualInformation(pair);
        expect(nmi).toBeGreaterThanOrEqual(0);
        expect(nmi).toBeLessThanOrEqual(1);
        expect(normalisedMutualInformation(turned)).toBeCloseTo(nmi, 9);
        const concurrence = iConcurrence(pair, 4);
        expect(concurrence).toBeGreaterThanOrEqual(0);
        expect(concurrence).toBeLessThanOrEqual(1 + 1e-9);
      }),
    );
  });

  it('everyone for himself is feasible and never better than the exact plan', () => {
    fc.assert(
      fc.property(problemArbitrary, (problem) => {
        const { instance } = toInstance(problem);
        const cost = coupledCost(instance, independentPlan(instance));
        expect(cost).toBeLessThan(Infinity);
        expect(cost).toBeGreaterThanOrEqual(bruteForceCost(problem));
      }),
    );
  });

  it('the flow over contenders alone is the exact flow, proven on the whole problem', () => {
    fc.assert(
      fc.property(problemArbitrary, (problem) => {
        const scarce = {
          ...problem,
          sites: problem.sites.map((site, at) => ({
            ...site,
            slotCosts: at === 0 ? site.slotCosts.slice(0, 1) : [],
          })),
        };
        const plan = makePlan(scarce, contendersFlow, systemClock);
        expect(plan.cost.total).toBe(bruteForceCost(scarce));
        expect(plan.gap).toBe(0);
      }),
    );
  });

  it('the median of what came is what pinball loss at a half likes best; windows forget', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 1_000 }), { minLength: 1, maxLength: 200 }),
        (values) => {
          const window = createWindow(16);
          for (const value of values) window.add(value);
          const kept = values.slice(-16);
          const lossOf = (forecast: number) =>
            kept.reduce((sum, value) => sum + pinballLoss(0.5, forecast, value), 0);
          expect(window.count).toBe(kept.length);
          expect(window.mean()).toBeCloseTo(kept.reduce((sum, value) => sum + value, 0) / kept.length, 6);
          const best = Math.min(...kept.map(lossOf));
          expect(lossOf(window.quantile(0.5))).toBeCloseTo(best, 6);
        },
      ),
    );
  });
});
