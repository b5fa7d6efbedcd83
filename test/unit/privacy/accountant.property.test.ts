/** Laws every accountant obeys, whatever the figures. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gaussianDelta, gaussianEpsilon, gaussianSigma } from '../../../shared/privacy/analytic/gaussian.ts';
import { leastNoise, mostRuns } from '../../../shared/privacy/calibrate.ts';
import type { LossEvent } from '../../../shared/privacy/loss-event.ts';
import { lossDistribution } from '../../../shared/privacy/pld/distribution.ts';
import { epsilonOfCurve } from '../../../shared/privacy/rdp/convert.ts';
import { rdpCurve } from '../../../shared/privacy/rdp/curve.ts';
import { all, gaussian, laplace, pure, sampled, times, withDistribution } from './events.ts';

const STEP = 2e-3;
const curveEpsilon = (event: LossEvent, delta: number): number =>
  epsilonOfCurve(rdpCurve(event), delta).epsilon;
const gridEpsilon = (event: LossEvent, delta: number): number =>
  lossDistribution(event, { step: STEP }).epsilon(delta);

const probability = fc.double({ min: 0.001, max: 0.9, noNaN: true });
const sigma = fc.double({ min: 0.7, max: 20, noNaN: true });
const delta = fc.double({ min: 1e-9, max: 1e-2, noNaN: true });
const count = fc.integer({ min: 1, max: 60 });
const part: fc.Arbitrary<LossEvent> = fc.oneof(
  sigma.map((s) => gaussian(s)),
  fc.double({ min: 1, max: 30, noNaN: true }).map(laplace),
  fc.double({ min: 0.01, max: 1, noNaN: true }).map((epsilon) => pure(epsilon)),
  fc.tuple(probability, sigma).map(([q, s]) => sampled(q, gaussian(s))),
);
const runs = (numRuns: number): { numRuns: number } => ({ numRuns });

describe('composition', () => {
  test('its order does not matter', () => {
    fc.assert(
      fc.property(fc.array(part, { minLength: 2, maxLength: 4 }), delta, (events, d) => {
        const there = all(...events);
        const back = all(...events.toReversed());
        expect(curveEpsilon(there, d)).toBeCloseTo(curveEpsilon(back, d), 10);
        expect(gridEpsilon(there, d)).toBeCloseTo(gridEpsilon(back, d), 7);
      }),
      runs(12),
    );
  });

  test('a count is a loop, and nesting multiplies', () => {
    fc.assert(
      fc.property(part, fc.integer({ min: 1, max: 4 }), delta, (event, n, d) => {
        const looped = all(...Array.from({ length: n * 3 }, () => event));
        for (const epsilon of [curveEpsilon, gridEpsilon]) {
          expect(epsilon(times(n * 3, event), d)).toBeCloseTo(epsilon(looped, d), 7);
          expect(epsilon(times(n, times(3, event)), d)).toBeCloseTo(epsilon(looped, d), 7);
        }
      }),
      runs(12),
    );
  });

  test('nothing costs nothing, and adding to a run never makes it cheaper', () => {
    expect(gridEpsilon(all(), 1e-5)).toBe(0);
    expect(curveEpsilon(times(0, gaussian(1)), 1e-5)).toBe(0);
    expect(gridEpsilon(times(0, gaussian(1)), 1e-5)).toBe(0);
    fc.assert(
      fc.property(part, part, delta, (one, other, d) => {
        for (const epsilon of [curveEpsilon, gridEpsilon])
          expect(epsilon(all(one, other), d)).toBeGreaterThanOrEqual(epsilon(one, d) - 1e-9);
      }),
      runs(12),
    );
  });
});

describe('monotony', () => {
  test('more sampling, less noise, more runs, smaller delta: never cheaper', () => {
    fc.assert(
      fc.property(
        probability,
        sigma,
        count,
        delta,
        fc.double({ min: 1.05, max: 3, noNaN: true }),
        (q, s, n, d, f) => {
          const base = (Q: number, S: number, N: number): LossEvent => times(N, sampled(Q, gaussian(S)));
          for (const epsilon of [curveEpsilon, gridEpsilon]) {
            const least = epsilon(base(q, s, n), d) - 1e-9;
            expect(epsilon(base(Math.min(1, q * f), s, n), d)).toBeGreaterThanOrEqual(least);
            expect(epsilon(base(q, s / f, n), d)).toBeGreaterThanOrEqual(least);
            expect(epsilon(base(q, s, Math.ceil(n * f)), d)).toBeGreaterThanOrEqual(least);
            expect(epsilon(base(q, s, n), d / f)).toBeGreaterThanOrEqual(least);
          }
        },
      ),
      runs(10),
    );
  });

  test('sampling everyone is no sampling; no one, nothing', () => {
    fc.assert(
      fc.property(part, delta, (event, d) => {
        const unsampled = event.type === 'poisson_sampled' ? event.event : event;
        expect(curveEpsilon(sampled(1, unsampled), d)).toBe(curveEpsilon(unsampled, d));
        expect(gridEpsilon(sampled(1, unsampled), d)).toBe(gridEpsilon(unsampled, d));
        expect(gridEpsilon(sampled(0, unsampled), d)).toBe(0);
      }),
      runs(20),
    );
  });

  test('sampling nearly everyone is nearly no sampling', () => {
    const nearly = gridEpsilon(times(10, sampled(1 - 1e-9, gaussian(3))), 1e-5);
    expect(nearly).toBeCloseTo(gridEpsilon(times(10, gaussian(3)), 1e-5), 4);
  });
});

describe('bounds', () => {
  test.each(withDistribution)(
    '%s: optimistic ≤ pessimistic, which never rises with epsilon',
    (_name, event) => {
      const high = lossDistribution(times(20, event), { step: STEP });
      const low = lossDistribution(times(20, event), { step: STEP, rounding: 'optimistic' });
      let previous = 1;
      for (const epsilon of [0, 0.01, 0.1, 0.5, 1, 3, 8]) {
        const upper = high.delta(epsilon);
        expect(low.delta(epsilon)).toBeLessThanOrEqual(upper + 1e-12);
        expect(upper).toBeLessThanOrEqual(previous + 1e-15);
        previous = upper;
      }
    },
  );

  test('the Renyi bound is never below the optimistic distribution', () => {
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 3 }), delta, (events, d) => {
        const low = lossDistribution(all(...events), { step: STEP, rounding: 'optimistic' }).epsilon(d);
        expect(curveEpsilon(all(...events), d)).toBeGreaterThanOrEqual(low - 1e-9);
      }),
      runs(15),
    );
  });

  test('epsilon and delta of a distribution are inverse to each other', () => {
    fc.assert(
      fc.property(part, count, delta, (event, n, d) => {
        const distribution = lossDistribution(times(Math.min(n, 40), event), { step: STEP });
        const epsilon = distribution.epsilon(d);
        expect(distribution.delta(epsilon)).toBeLessThanOrEqual(d * (1 + 1e-6) + 1e-13);
        // Zero means that delta is met without any epsilon.
        expect(epsilon <= 1e-6 || distribution.delta(epsilon * 0.999 - 1e-9) > d).toBe(true);
      }),
      runs(15),
    );
  });

  test('Gaussian noise: the grid exceeds the exact curve by little and is never below it', () => {
    fc.assert(
      fc.property(sigma, delta, (s, d) => {
        const exact = gaussianEpsilon(s, d);
        const upper = gridEpsilon(gaussian(s), d);
        expect(upper).toBeGreaterThanOrEqual(exact - 1e-12);
        expect(upper - exact).toBeLessThan(STEP);
      }),
      runs(30),
    );
  });
});

describe('calibration', () => {
  test('the sigma returned keeps the promise, a little less does not', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.01, max: 12, noNaN: true }), delta, (epsilon, d) => {
        const least = gaussianSigma(epsilon, d);
        expect(gaussianDelta(least, epsilon)).toBeLessThanOrEqual(d);
        expect(gaussianDelta(least * (1 - 1e-9), epsilon)).toBeGreaterThan(d);
      }),
      runs(60),
    );
  });

  test('least noise and most runs are where the target is crossed', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.3, max: 6, noNaN: true }), probability, (target, q) => {
        const at = (noise: number): number => curveEpsilon(times(50, sampled(q, gaussian(noise))), 1e-5);
        const least = leastNoise(at, target);
        expect(at(least)).toBeLessThanOrEqual(target);
        expect(at(least * (1 - 3e-6))).toBeGreaterThan(target);
        const many = (n: number): number => curveEpsilon(times(n, gaussian(10)), 1e-5);
        const most = mostRuns(many, target);
        expect(most === 0 || many(most) <= target).toBe(true);
        expect(many(most + 1)).toBeGreaterThan(target);
      }),
      runs(8),
    );
  });

  test('a target no noise meets is refused', () => {
    expect(() => leastNoise(() => 1, 0.5)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });
});
