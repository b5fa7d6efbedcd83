/** Faults found in widely used accountants, each with the test that would have shown it. */
import { describe, expect, test } from 'vitest';
import { gaussianEpsilon } from '../../../shared/privacy/analytic/gaussian.ts';
import { lossDistribution } from '../../../shared/privacy/pld/distribution.ts';
import { epsilonOfCurve } from '../../../shared/privacy/rdp/convert.ts';
import { rdpCurve } from '../../../shared/privacy/rdp/curve.ts';
import { subsampledGaussianRdp } from '../../../shared/privacy/rdp/subsampled-gaussian.ts';
import type { LossEvent } from '../../../shared/privacy/loss-event.ts';
import { all, gaussian, oneOfEach, times, withCurve, withDistribution } from './events.ts';

const STEP = 1e-3;
const curveEpsilon = (event: LossEvent, delta = 1e-5): number =>
  epsilonOfCurve(rdpCurve(event), delta).epsilon;
const gridEpsilon = (event: LossEvent, delta = 1e-5): number =>
  lossDistribution(event, { step: STEP }).epsilon(delta);
const loop = (count: number, event: LossEvent): LossEvent =>
  all(...Array.from({ length: count }, () => event));

describe('the count of a self-composition', () => {
  test('100 exponential mechanisms of 0.1 cost 2.166, not 0.1035', () => {
    expect(curveEpsilon(times(100, oneOfEach['exponential_mechanism']!))).toBeCloseTo(2.166, 3);
  });

  test('10 randomised responses cost 10.987, not 1.0987', () => {
    expect(gridEpsilon(times(10, oneOfEach['randomized_response']!))).toBeCloseTo(10.987, 2);
  });

  test.each(withCurve)('%s: by curve, a count costs what a loop costs', (_name, event) => {
    const counted = rdpCurve(times(7, event));
    const looped = rdpCurve(loop(7, event));
    counted.rdp.forEach((value, at) => expect(value).toBeCloseTo(looped.rdp[at]!, 9));
    expect(counted.delta).toBeCloseTo(looped.delta, 15);
    expect(curveEpsilon(times(7, event))).toBeGreaterThan(1.2 * curveEpsilon(event));
  });

  test.each(withDistribution)('%s: by loss distribution too', (_name, event) => {
    const counted = gridEpsilon(times(5, event));
    expect(counted).toBeCloseTo(gridEpsilon(loop(5, event)), 9);
    expect(counted).toBeGreaterThan(1.2 * gridEpsilon(event));
  });
});

describe('subsampled Gaussian noise at fractional orders', () => {
  /** E[(1+u)^a] by 200,000 midpoints: slow, and independent of the quadrature under test. */
  const summed = (q: number, sigma: number, a: number): number => {
    const steps = 200_000;
    const low = -12 * sigma;
    const width = (a + 24 * sigma) / steps;
    let sum = 0;
    for (let at = 0; at < steps; at += 1) {
      const x = low + (at + 0.5) * width;
      const ratio = 1 - q + q * Math.exp((2 * x - 1) / (2 * sigma * sigma));
      sum += ratio ** a * Math.exp(-((x / sigma) ** 2) / 2);
    }
    return Math.log((sum * width) / (sigma * Math.sqrt(2 * Math.PI))) / (a - 1);
  };

  // Where the reference library is infinite or up to twice too large.
  test.each([
    [0.1, 1, 1.25],
    [0.5, 2, 1.5],
    [0.3, 0.9, 1.5],
    [0.3, 0.9, 1.25],
    [0.01, 1, 2.4],
    [0.1, 5, 1.75],
    [0.9, 0.6, 10.9],
  ])('q %s, sigma %s, order %s: finite and exact to 1e-7', (q, sigma, a) => {
    const exact = summed(q, sigma, a);
    expect(Math.abs(subsampledGaussianRdp(q, sigma, a) / exact - 1)).toBeLessThan(1e-7);
  });

  test.each([0.02, 0.05, 0.3, 1, 20, 1000])(
    'sigma %s: finite, rising and continuous in the order',
    (sigma) => {
      let previous = 0;
      for (let a = 1.5; a < 12; a += 0.25) {
        const here = subsampledGaussianRdp(0.2, sigma, a);
        expect(Number.isFinite(here)).toBe(true);
        expect(here).toBeGreaterThan(previous);
        previous = here;
      }
      const whole = subsampledGaussianRdp(0.2, sigma, 3);
      expect(subsampledGaussianRdp(0.2, sigma, 3 + 1e-9)).toBeCloseTo(
        whole,
        6 - Math.ceil(Math.log10(whole + 1)),
      );
    },
  );
});

describe('Gaussian noise under replace-one', () => {
  test('sensitivity and sigma are apart: a sum clipped to 1 moves by up to 2', () => {
    const replaced = gaussian(4, 2, 'replace_one');
    const removed = gaussian(2, 1);
    expect([...rdpCurve(replaced).rdp]).toEqual([...rdpCurve(removed).rdp]);
    expect(gridEpsilon(replaced)).toBe(gridEpsilon(removed));
    expect(gridEpsilon(replaced) - gaussianEpsilon(2, 1e-5)).toBeLessThan(1e-5);
    expect(gridEpsilon(replaced)).toBeGreaterThanOrEqual(gaussianEpsilon(2, 1e-5));
  });

  test('the Renyi curve is four times that of the same sigma at half the sensitivity', () => {
    const twice = rdpCurve(gaussian(4, 2, 'replace_one')).rdp;
    const once = rdpCurve(gaussian(4, 1, 'replace_one')).rdp;
    twice.forEach((value, at) => expect(value / once[at]!).toBeCloseTo(4, 12));
  });

  test('leaves of different relations do not compose', () => {
    const mixed = all(gaussian(4, 2, 'replace_one'), gaussian(4, 1));
    for (const price of [rdpCurve, lossDistribution])
      expect(() => price(mixed)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });
});
