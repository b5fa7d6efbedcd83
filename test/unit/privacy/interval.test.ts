import { describe, expect, test } from 'vitest';
import { gaussianTail } from '../../../shared/privacy/gaussian.ts';
import { noiseHalfWidth, noiseInterval } from '../../../shared/privacy/interval.ts';
import { laplaceTail } from '../../../shared/privacy/laplace.ts';
import {
  discreteGaussian,
  discreteLaplace,
  type NoiseMechanism,
  noiseOf,
} from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { seededRandom } from '../../fixtures/drbg.ts';

const laplace = (scale: bigint): NoiseMechanism => discreteLaplace(1n, rational(scale));
const gaussian = (sigma: bigint): NoiseMechanism => discreteGaussian(rational(1n), rational(sigma * sigma));

/** Two-sided mass outside ±width. */
const outside = (tail: (x: number) => number, width: bigint): number => 2 * tail(Number(width));

describe('half width of one noise', () => {
  test.each([0.6, 0.9, 0.95, 0.99, 0.999])('is the smallest that holds confidence %s', (confidence) => {
    const wide = noiseHalfWidth([laplace(10n)], confidence);
    expect(outside((x) => laplaceTail(10, x), wide)).toBeLessThanOrEqual(1 - confidence);
    expect(outside((x) => laplaceTail(10, x), wide - 1n)).toBeGreaterThan(1 - confidence);
    const normal = noiseHalfWidth([gaussian(20n)], confidence);
    expect(outside((x) => gaussianTail(20, x), normal)).toBeLessThanOrEqual(1 - confidence);
    expect(outside((x) => gaussianTail(20, x), normal - 1n)).toBeGreaterThan(1 - confidence);
  });

  test('tiny noise needs no width', () => {
    expect(noiseHalfWidth([discreteLaplace(1n, rational(1n, 50n))], 0.95)).toBe(0n);
  });
});

describe('half width of a sum', () => {
  test.each<readonly [string, readonly NoiseMechanism[]]>([
    ['three Laplace', [laplace(10n), laplace(10n), laplace(10n)]],
    ['Laplace and Gaussian', [laplace(5n), gaussian(12n)]],
    ['very wide', [laplace(100_000n), laplace(3n)]],
    ['wider than is summed', [gaussian(1_000_000n), laplace(10n)]],
  ])('%s: covers at least the confidence asked', (_name, mechanisms) => {
    const width = noiseHalfWidth(mechanisms, 0.95);
    const noises = mechanisms.map((mechanism, at) => noiseOf(mechanism, seededRandom(100 + at)));
    let within = 0;
    for (let at = 0; at < 4_000; at += 1) {
      const sum = noises.reduce((total, noise) => total + noise(), 0n);
      if (sum <= width && sum >= -width) within += 1;
    }
    // 0.95 less six standard deviations of 4,000 draws.
    expect(within / 4_000).toBeGreaterThan(0.929);
  });

  test('a sum of alike Gaussians is as wide as one of their variance', () => {
    const nine = noiseHalfWidth(
      Array.from({ length: 9 }, () => gaussian(10n)),
      0.95,
    );
    expect(nine).toBe(noiseHalfWidth([gaussian(30n)], 0.95));
  });

  test('coarse cells widen by little', () => {
    const fine = Number(noiseHalfWidth([laplace(100n), laplace(100n)], 0.95));
    const coarse = Number(noiseHalfWidth([laplace(100_000n), laplace(100_000n)], 0.95)) / 1000;
    expect(coarse / fine).toBeGreaterThan(0.99);
    expect(coarse / fine).toBeLessThan(1.03);
  });

  test('no noise, no width; an interval is centred on what was released', () => {
    expect(noiseHalfWidth([], 0.95)).toBe(0n);
    const width = noiseHalfWidth([laplace(10n)], 0.95);
    expect(noiseInterval(-7n, [laplace(10n)], 0.95)).toEqual({
      low: -7n - width,
      high: -7n + width,
      confidence: 0.95,
    });
  });

  test.each([0, 0.5, 1, Number.NaN, 2])('confidence %s is refused', (confidence) => {
    expect(() => noiseHalfWidth([laplace(10n)], confidence)).toThrow(
      expect.objectContaining({ code: 'invalid_request' }),
    );
  });
});
