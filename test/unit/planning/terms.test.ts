/** Coherence, entanglement strength, interference and mitigation, against values worked out by hand. */
import { describe, expect, it } from 'vitest';
import {
  coherenceOf,
  coherenceUtilization,
  createDecayMeter,
  fidelityOf,
} from '../../../coordinator/planning/coherence.ts';
import { touchedTasks } from '../../../coordinator/planning/components.ts';
import { triggerOf } from '../../../coordinator/planning/decoherence.ts';
import {
  agreementKappa,
  chanceAgreement,
  iConcurrence,
  normalisedMutualInformation,
  pairStrength,
} from '../../../coordinator/planning/entanglement.ts';
import {
  changesAssignment,
  independentCost,
  independentPlan,
  interferenceGain,
  interferenceTotals,
  optimizationEfficiency,
} from '../../../coordinator/planning/interference.ts';
import { seeded } from '../../../shared/seeded.ts';

describe('coherence', () => {
  it('at equal ages is exp(−a/T2): 0.8 at 0.223 T2', () => {
    const p = [0.2, 0.3, 0.5];
    expect(coherenceOf(p, [0, 0, 0], 1_000)).toBe(1);
    expect(coherenceOf(p, [700, 700, 700], 1_000)).toBeCloseTo(Math.exp(-0.7), 12);
    expect(coherenceOf(p, [223, 223, 223], 1_000)).toBeCloseTo(0.8, 3);
  });

  it('for two sites depends on the sum of both ages; a decided task has none', () => {
    expect(coherenceOf([0.5, 0.5], [400, 0], 1_000)).toBeCloseTo(Math.exp(-0.2), 12);
    expect(coherenceOf([1, 0], [0, 0], 1_000)).toBeNull();
    expect(coherenceOf([0.5, 0.5], [Infinity, 0], 1_000)).toBe(0);
    expect(coherenceUtilization([0.5, null, 1])).toBe(0.75);
    expect(coherenceUtilization([null])).toBeNull();
  });

  it('learns T2 from the decay of the fidelity', () => {
    expect(fidelityOf([0.5, 0.5], [0.5, 0.5])).toBeCloseTo(1, 12);
    expect(fidelityOf([1, 0], [0, 1])).toBe(0);
    expect(fidelityOf([1, 0], [0.5, 0.5])).toBeCloseTo(0.5, 12);
    const meter = createDecayMeter();
    expect(meter.t2Ms()).toBeNull();
    for (let at = 1; at <= 40; at += 1) meter.observe(at * 100, Math.exp(-(at * 100) / 3_000));
    expect(meter.t2Ms()).toBeCloseTo(3_000, 6);
    const still = createDecayMeter();
    for (let at = 1; at <= 40; at += 1) still.observe(at * 100, 1);
    expect(still.t2Ms()).toBeNull();
  });
});

describe('entanglement strength', () => {
  const match = { first: [0, 1, 2, 3], second: [0, 1, 2, 3], weights: [0.25, 0.25, 0.25, 0.25] };

  it('is normalised mutual information above a permutation null', () => {
    expect(normalisedMutualInformation(match)).toBeCloseTo(1, 12);
    const product = { first: [0, 0, 1, 1], second: [0, 1, 0, 1], weights: [0.25, 0.25, 0.25, 0.25] };
    expect(normalisedMutualInformation(product)).toBeCloseTo(0, 12);
    const random = seeded(3);
    const draws = Array.from({ length: 400 }, () => random.below(4));
    const tied = { first: draws, second: draws, weights: draws.map(() => 1 / 400) };
    const strength = pairStrength(tied, { chance: 0.25, seed: 1 });
    expect(strength).toMatchObject({ measure: 'nmi', entangled: true });
    expect(strength.strength).toBeGreaterThan(0.9);
  });

  it('of a few rows is not told apart from chance, however high it reads', () => {
    // Two rows agree perfectly, but so do half of their permutations.
    const few = { first: [0, 1], second: [0, 1], weights: [0.5, 0.5] };
    expect(normalisedMutualInformation(few)).toBeCloseTo(1, 12);
    expect(pairStrength(few, { chance: 0.5, seed: 1 })).toMatchObject({ measure: 'nmi', entangled: false });
  });

  it('of a decided pair is kappa, negative for avoidance', () => {
    const together = { first: [0], second: [0], weights: [1] };
    const apart = { first: [0], second: [1], weights: [1] };
    expect(pairStrength(together, { chance: 0.25, seed: 1 })).toEqual({
      measure: 'kappa',
      strength: 1,
      entangled: true,
    });
    expect(agreementKappa(apart, 0.5)).toBe(-1);
    expect(agreementKappa(together, 1)).toBeNull();
    expect(
      chanceAgreement([
        [1, 0],
        [0, 1],
      ]),
    ).toBe(0.5);
  });

  it('has the concurrence of a product 0 and of a full match 1', () => {
    expect(iConcurrence(match, 4)).toBeCloseTo(1, 9);
    expect(iConcurrence({ first: [0, 0], second: [0, 1], weights: [0.5, 0.5] }, 2)).toBeCloseTo(0, 9);
  });
});

describe('interference', () => {
  const trap = {
    tasks: 2,
    sites: 3,
    costs: Float64Array.of(1, 2, 1_000, 1, 50, 1_000),
    slotCosts: [[0], [0], [0, 0]],
    first: new Int32Array(0),
    second: new Int32Array(0),
    weights: new Float64Array(0),
  };

  it('compares with everyone for himself, repaired where a site is full', () => {
    expect([...independentPlan(trap)]).toEqual([0, 1]);
    expect(independentCost(trap)).toBe(51);
    const totals = interferenceTotals([{ independentCost: 51, planCost: 3, bound: 3 }]);
    expect(interferenceGain(totals)).toBeCloseTo(48 / 51, 12);
    expect(optimizationEfficiency(totals)).toBe(1);
    const half = interferenceTotals([{ independentCost: 51, planCost: 27, bound: 3 }]);
    expect(optimizationEfficiency(half)).toBe(0.5);
    expect(interferenceGain(interferenceTotals([]))).toBeNull();
    expect(optimizationEfficiency(interferenceTotals([]))).toBeNull();
  });

  it('keeps what stands for gains within a tenth of τ', () => {
    expect(changesAssignment(0.9, 10)).toBe(false);
    expect(changesAssignment(1.1, 10)).toBe(true);
  });
});

describe('mitigation', () => {
  it('is triggered by a lost site, an outcome outside its interval, or old telemetry', () => {
    const calm = { coherence: 0.9 };
    expect(triggerOf(calm)).toBeNull();
    expect(triggerOf({ coherence: null })).toBeNull();
    expect(triggerOf({ coherence: 0.79 })).toBe('coherence');
    expect(triggerOf({ ...calm, outcome: { serviceMs: 5, lowMs: 0, highMs: 4 } })).toBe('outcome');
    expect(triggerOf({ ...calm, outcome: { serviceMs: 3, lowMs: 0, highMs: 4 } })).toBeNull();
    expect(triggerOf({ coherence: 0.1, siteLost: true })).toBe('site_lost');
  });

  it('touches the components that may use the site, and no others', () => {
    const mayServe = [['a'], ['b'], ['b'], ['c']];
    expect(touchedTasks(mayServe, [{ first: 0, second: 1, weight: -1 }], 'a')).toEqual([0, 1, 2]);
    expect(touchedTasks(mayServe, [], 'b')).toEqual([1, 2]);
  });
});
