import { describe, expect, test } from 'vitest';
import {
  amplifyBySampling,
  exponentialProbabilities,
  optimalDelta,
} from '../../../shared/privacy/analytic/pure.ts';
import { gdpEpsilon } from '../../../shared/privacy/analytic/gaussian.ts';
import {
  discreteLaplaceDelta,
  laplaceDelta,
  subsampledGaussianDelta,
} from '../../../shared/privacy/analytic/hockey-stick.ts';
import { auditEpsilon } from '../../../shared/privacy/analytic/audit.ts';
import { checkEvent, type LossEvent } from '../../../shared/privacy/loss-event.ts';
import { realTransform } from '../../../shared/privacy/math/fft.ts';
import { millsRatio, normalBetween, normalTail } from '../../../shared/privacy/math/normal.ts';
import { odometer, odometerDelta } from '../../../shared/privacy/odometer.ts';
import { planEpsilon } from '../../../shared/privacy/plan.ts';
import { lossDistribution } from '../../../shared/privacy/pld/distribution.ts';
import { epsilonOfCurve } from '../../../shared/privacy/rdp/convert.ts';
import { rdpCurve } from '../../../shared/privacy/rdp/curve.ts';
import { all, gaussian, laplace, oneOfEach, pure, sampled, times } from './events.ts';

const refused = expect.objectContaining({ code: 'invalid_request' });

describe('the normal distribution', () => {
  // 20 digits from Abramowitz, Stegun, table 26.2, and DLMF 7.12 for the far tail.
  test.each([
    [0, 0.5],
    [1, 0.15865525393145705],
    [2, 0.02275013194817921],
    [5, 2.866515718791939e-7],
    [10, 7.619853024160525e-24],
    [30, 4.906713927148706e-198],
  ])('tail beyond %s', (x, tail) => {
    // Far out, the last digit of x alone moves the tail by x²·1e-16 of itself.
    expect(Math.abs(normalTail(x) / tail - 1)).toBeLessThan(1e-15 * (2 + x * x));
    expect(normalTail(-x)).toBeCloseTo(1 - tail, 15);
  });

  test('Mills ratio lies between its classical bounds, far out too', () => {
    for (const x of [0.3, 1, 4, 20, 1e3, 1e8]) {
      expect(millsRatio(x)).toBeLessThan(1 / x);
      expect(millsRatio(x)).toBeGreaterThanOrEqual((x / (1 + x * x)) * (1 - 1e-15));
    }
  });

  test('stretches add up to one', () => {
    const ends = [-Infinity, -9, -1, 0, 0.5, 3, 12, Infinity];
    const sum = ends.slice(1).reduce((total, end, at) => total + normalBetween(ends[at]!, end), 0);
    expect(sum).toBeCloseTo(1, 15);
  });
});

describe('the transform', () => {
  test.each([4, 8, 64])('size %s: equals its definition and inverts', (size) => {
    const values = Float64Array.from({ length: size }, (_, at) => Math.sin(3 * at) + at / size);
    const fourier = realTransform(size);
    const { re, im } = fourier.forward(values);
    for (let k = 0; k <= size / 2; k += 1) {
      let real = 0;
      let imaginary = 0;
      values.forEach((value, at) => {
        real += value * Math.cos((2 * Math.PI * at * k) / size);
        imaginary -= value * Math.sin((2 * Math.PI * at * k) / size);
      });
      expect(re[k]).toBeCloseTo(real, 12);
      expect(im[k]).toBeCloseTo(imaginary, 12);
    }
    fourier.inverse({ re, im }).forEach((value, at) => expect(value).toBeCloseTo(values[at]!, 13));
  });
});

describe('events', () => {
  test.each<[string, LossEvent]>([
    ['no noise', gaussian(0)],
    ['noise that is not a number', gaussian(Number.NaN)],
    ['infinite noise', gaussian(Infinity)],
    ['negative sensitivity', gaussian(1, -1)],
    ['sampling above 1', sampled(1.1, gaussian(1))],
    ['sampling that is not a number', sampled(Number.NaN, gaussian(1))],
    ['a count that is not whole', times(1.5, gaussian(1))],
    ['a negative count', times(-1, gaussian(1))],
    ['delta above 1', pure(1, 1.5)],
    ['negative epsilon', pure(-1)],
    [
      'half an integer moved',
      { type: 'discrete_laplace', relation: 'replace_one', scale: 1, sensitivity: 0.5 },
    ],
    [
      'a sample above its source',
      { type: 'sampled_without_replacement', sourceSize: 5, sampleSize: 6, event: all() },
    ],
    ['two relations', all(gaussian(1), gaussian(1, 2, 'replace_one'))],
  ])('%s is refused by both accountants', (_name, event) => {
    expect(() => rdpCurve(event)).toThrow(refused);
    expect(() => lossDistribution(event)).toThrow(refused);
  });

  test('endless nesting is refused', () => {
    let event = gaussian(1);
    for (let depth = 0; depth < 100; depth += 1) event = times(1, event);
    expect(() => checkEvent(event)).toThrow(refused);
  });

  test('the relation of a tree is that of its leaves', () => {
    expect(checkEvent(times(3, all(gaussian(1), laplace(2))))).toBe('add_or_remove_one');
    expect(checkEvent(all())).toBeUndefined();
  });

  // No bound is proven for these: an answer would be a guess.
  test.each<[string, LossEvent]>([
    ['Renyi curve of sampled Laplace noise', sampled(0.1, laplace(1))],
    ['Renyi curve of Poisson sampling under replace-one', sampled(0.1, gaussian(1, 2, 'replace_one'))],
    [
      'Renyi curve of fixed-size samples under add/remove',
      { type: 'sampled_without_replacement', sourceSize: 10, sampleSize: 5, event: gaussian(1) },
    ],
    [
      'tree aggregation under add/remove',
      { type: 'tree_aggregation', relation: 'add_or_remove_one', sigma: 1, sensitivity: 1, stepCounts: [4] },
    ],
    ['the best of runs with a delta', { type: 'repeat_and_select', event: pure(1, 1e-6), mean: 2, shape: 1 }],
  ])('%s is refused', (_name, event) => {
    expect(() => rdpCurve(event)).toThrow(refused);
  });

  test.each(['zcdp', 'tree_aggregation', 'repeat_and_select', 'sampled_without_replacement'])(
    'the loss distribution of %s is refused',
    (name) => {
      expect(() => lossDistribution(oneOfEach[name]!)).toThrow(refused);
    },
  );
});

describe('loss distributions', () => {
  test('noise on more integers than fit is refused, not tried', () => {
    const relation = 'add_or_remove_one';
    expect(() =>
      lossDistribution({ type: 'discrete_laplace', relation, scale: 1e9, sensitivity: 1e9 }),
    ).toThrow(refused);
    expect(() =>
      lossDistribution({ type: 'discrete_gaussian', relation, sigma: 1e9, sensitivity: 1 }),
    ).toThrow(refused);
    expect(() => optimalDelta(0.1, 0, 1e12, 1)).toThrow(refused);
  });

  test('a step too fine for memory is refused, not tried', () => {
    expect(() => lossDistribution(gaussian(0.1), { step: 1e-9 })).toThrow(refused);
  });

  test('without sampling, composed Gaussian noise meets the exact curve at every count', () => {
    for (const count of [1, 10, 1_000, 1_000_000]) {
      const exact = gdpEpsilon(Math.sqrt(count) / 2_000, 1e-6);
      const got = lossDistribution(times(count, gaussian(2_000)), { step: 1e-4 }).epsilon(1e-6);
      expect(got).toBeGreaterThanOrEqual(exact - 1e-12);
      expect(got).toBeLessThan(exact + 1e-4);
    }
  });

  test.each([
    [0.1, 1, 0.3],
    [0.01, 0.7, 1],
    [0.5, 2, 0.05],
  ])('one sampled round, q %s, sigma %s, epsilon %s: exact at grid points', (q, sigma, epsilon) => {
    const { remove, add } = subsampledGaussianDelta(q, sigma, epsilon);
    const exact = Math.max(remove, add);
    const got = lossDistribution(sampled(q, gaussian(sigma)), { step: 1e-3 }).delta(epsilon);
    expect(Math.abs(got / exact - 1)).toBeLessThan(1e-8);
  });

  test('Laplace noise, continuous and on the integers, sampled or not', () => {
    expect(lossDistribution(laplace(2)).delta(0.2)).toBeCloseTo(laplaceDelta(2, 0.2), 9);
    const discrete: LossEvent = {
      type: 'discrete_laplace',
      relation: 'add_or_remove_one',
      scale: 3,
      sensitivity: 2,
    };
    expect(lossDistribution(discrete).delta(0.2)).toBeCloseTo(discreteLaplaceDelta(3, 2, 0.2), 8);
    const { epsilon } = amplifyBySampling(0.1, 2 / 3, 0);
    // The greatest loss lies between two grid points; the upper one takes its place.
    const greatest = lossDistribution(sampled(0.1, discrete)).epsilon(1e-12);
    expect(greatest).toBeGreaterThanOrEqual(epsilon);
    expect(greatest).toBeLessThan(epsilon + 1e-4);
  });

  test('a guarantee with delta: sampling scales both, the rest is infinite', () => {
    expect(lossDistribution(pure(0.5, 1e-6)).delta(0.5)).toBeCloseTo(1e-6, 15);
    expect(lossDistribution(pure(0.5, 1e-6)).epsilon(1e-7)).toBe(Infinity);
    const amplified = amplifyBySampling(0.1, 0.5, 1e-6);
    const nextPoint = Math.ceil(amplified.epsilon * 1e4) / 1e4;
    expect(lossDistribution(sampled(0.1, pure(0.5, 1e-6))).delta(nextPoint)).toBeCloseTo(amplified.delta, 12);
  });

  test.each([
    [0.1, 1_000, [5, 15, 20, 25]],
    [0.1, 10, [0.5, 0.9]],
    [0.01, 100_000, [5, 10, 20]],
  ])(
    'runs of %s, %s times: never below the exact optimum, small deltas right to a millionth',
    (each, count, at) => {
      const distribution = lossDistribution(times(count, pure(each)), { step: 1e-3 });
      for (const epsilon of at) {
        const exact = optimalDelta(each, 0, count, epsilon);
        expect(distribution.delta(epsilon)).toBeGreaterThanOrEqual(exact * (1 - 1e-12));
        expect(distribution.delta(epsilon)).toBeLessThan(exact * (1 + 1e-6) + 1e-20);
      }
    },
  );

  test('bounds that are no mechanisms have no optimistic figure', () => {
    expect(lossDistribution(pure(1)).exact).toBe(false);
    expect(lossDistribution(gaussian(1)).exact).toBe(true);
    expect(lossDistribution(pure(1), { rounding: 'optimistic' }).epsilon(1e-6)).toBe(0);
  });
});

describe('plans', () => {
  const training = (q: number, sigma: number, count: number): LossEvent =>
    times(count, sampled(q, gaussian(sigma)));

  test('the loss distribution where it is tighter', () => {
    const { epsilon, method } = planEpsilon(training(0.01, 1, 1_000), 1e-5);
    expect(method).toBe('loss_distribution');
    expect(Math.abs(epsilon / 1.8282 - 1)).toBeLessThan(1e-3);
  });

  test('the curve where a grid does not fit or nothing else is known', () => {
    expect(planEpsilon(training(0.9, 0.05, 1_000), 1e-5).method).toBe('renyi_curve');
    expect(planEpsilon(oneOfEach['zcdp']!, 1e-5).method).toBe('renyi_curve');
  });

  test('the distribution where no curve is known', () => {
    expect(planEpsilon(sampled(0.1, laplace(1)), 1e-5).method).toBe('loss_distribution');
  });

  // Large noise, tiny sampling, very many steps: by the central limit theorem of Gaussian DP the truth is near this mu.
  test.each([
    [1e-5, 50, 1_000_000],
    [1e-4, 100, 10_000_000],
    [0.5, 500, 100],
    [1e-3, 20, 100],
  ])('q %s, sigma %s, %s steps: finite, and near the Gaussian limit', (q, sigma, count) => {
    const { epsilon } = planEpsilon(training(q, sigma, count), 1e-5);
    const limit = gdpEpsilon(q * Math.sqrt(count * Math.expm1(sigma ** -2)), 1e-5);
    expect(epsilon).toBeGreaterThan(limit * 0.98);
    expect(epsilon).toBeLessThan(limit * 1.25);
  });

  test('neither known: the refusal says so', () => {
    const nested: LossEvent = {
      type: 'sampled_without_replacement',
      sourceSize: 10,
      sampleSize: 5,
      event: laplace(1),
    };
    expect(() => planEpsilon(nested, 1e-5)).toThrow(refused);
  });
});

describe('the odometer', () => {
  test('says what its figures are', () => {
    const events = [gaussian(5), laplace(4)];
    const reading = odometer(events, 1e-5);
    expect(reading.label).toBe('spent so far (planned composition)');
    expect(reading.epsilon).toBe(epsilonOfCurve(rdpCurve(all(...events)), 1e-5).epsilon);
    expect(odometerDelta(events, reading.epsilon).delta).toBeLessThanOrEqual(1e-5 * (1 + 1e-9));
  });

  test('deltas add', () => {
    expect(rdpCurve(times(1_000, pure(0.001, 1e-6))).delta).toBeCloseTo(1e-3, 15);
    expect(odometer([times(1_000, pure(0.001, 1e-6))], 1e-3 - 1e-9).epsilon).toBe(Infinity);
  });
});

describe('small things', () => {
  test('large scores do not overflow, large epsilons neither', () => {
    expect(exponentialProbabilities([1e6, 0], 10, 1, false)).toEqual([1, 0]);
    expect(amplifyBySampling(0.5, 1_000, 0).epsilon).toBeCloseTo(1_000 + Math.log(0.5), 9);
  });

  test('an audit of all guesses right refutes much, of half right nothing', () => {
    const run = { canaries: 1_000, guesses: 1_000, delta: 0 };
    expect(auditEpsilon({ ...run, correct: 1_000 }, 0.05)).toBeGreaterThan(5);
    expect(auditEpsilon({ ...run, correct: 500 }, 0.05)).toBe(0);
  });
});
