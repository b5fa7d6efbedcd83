/** The samplers work in doubles where whole numbers are exact there: byte for byte what the plain form on BigInt draws. */
import { describe, expect, test } from 'vitest';
import { gaussianMass, gaussianTail } from '../../../shared/privacy/gaussian.ts';
import { laplaceMass, laplaceTail } from '../../../shared/privacy/laplace.ts';
import { randomIntegers } from '../../../shared/privacy/random-bits.ts';
import { integerSquareRoot, type Rational, rational, toNumber } from '../../../shared/privacy/rational.ts';
import {
  sampleDiscreteGaussian,
  sampleDiscreteLaplace,
  sampleGeometric,
} from '../../../shared/privacy/samplers.ts';
import type { RandomBytes } from '../../../shared/random.ts';
import { seededRandom } from '../../fixtures/drbg.ts';
import { chiSquare, chiSquareTailBound } from './statistics.ts';

const ALPHA = 1e-9;

/** Canonne, Kamath, Steinke 2020 as printed, on BigInt alone, asking for bytes as the program does: by blocks of 1,024. */
const plain = (source: RandomBytes) => {
  let block = Buffer.alloc(0);
  const bytes = (count: number): Buffer => {
    if (block.byteLength < count) block = Buffer.from(source(1_024));
    const taken = block.subarray(0, count);
    block = block.subarray(count);
    return taken;
  };
  const below = (bound: bigint): bigint => {
    if (bound === 1n) return 0n;
    const bits = (bound - 1n).toString(2).length;
    for (;;) {
      const candidate = BigInt(`0x${bytes((bits + 7) >> 3).toString('hex')}`) % (1n << BigInt(bits));
      if (candidate < bound) return candidate;
    }
  };
  const expUnit = (numerator: bigint, denominator: bigint): boolean => {
    let k = 1n;
    while (below(denominator * k) < numerator) k += 1n;
    return k % 2n === 1n;
  };
  const exp = (numerator: bigint, denominator: bigint): boolean => {
    for (let whole = numerator / denominator; whole > 0n; whole -= 1n) if (!expUnit(1n, 1n)) return false;
    return expUnit(numerator % denominator, denominator);
  };
  const geometric = (t: bigint, s: bigint): bigint => {
    for (;;) {
      const u = below(t);
      if (!expUnit(u, t)) continue;
      let v = 0n;
      while (expUnit(1n, 1n)) v += 1n;
      return (u + t * v) / s;
    }
  };
  const laplace = (t: bigint, s: bigint): bigint => {
    for (;;) {
      const y = geometric(t, s);
      const negative = (bytes(1)[0]! & 1) === 1;
      if (!(negative && y === 0n)) return negative ? -y : y;
    }
  };
  const gaussian = (n: bigint, d: bigint): bigint => {
    const t = integerSquareRoot(n / d) + 1n;
    for (;;) {
      const y = laplace(t, 1n);
      const distance = (y < 0n ? -y : y) * d * t - n;
      if (exp(distance * distance, 2n * n * d * t * t)) return y;
    }
  };
  return { geometric, laplace, gaussian };
};

const PARAMETERS: readonly Rational[] = [
  rational(1n),
  rational(1n, 3n),
  rational(10n),
  rational(1_000_000n, 33_333n),
  rational(400n),
  rational(40_000n),
  rational(4_063n, 64n),
  rational(10n ** 12n, 7n),
  rational(2n ** 47n - 1n),
  rational(2n ** 48n + 1n, 3n),
  rational(10n ** 30n, 7n),
];

describe('the same bytes give the same values', () => {
  test.each(PARAMETERS)('parameter %o', (parameter) => {
    const { numerator, denominator } = parameter;
    const reference = plain(seededRandom(51));
    const random = randomIntegers(seededRandom(51));
    for (let at = 0; at < 300; at += 1) {
      expect(sampleDiscreteLaplace(parameter, random)).toBe(reference.laplace(numerator, denominator));
      expect(sampleDiscreteGaussian(parameter, random)).toBe(reference.gaussian(numerator, denominator));
      const rate = rational(denominator, numerator);
      expect(sampleGeometric(rate, random)).toBe(reference.geometric(numerator, denominator));
    }
  });
});

const MILLION = 1_000_000;

describe('a million draws', () => {
  test('discrete Laplace of scale 10: chi-square with tails', () => {
    const random = randomIntegers(seededRandom(52));
    const draws = Array.from({ length: MILLION }, () => Number(sampleDiscreteLaplace(rational(10n), random)));
    const { statistic, degrees } = chiSquare(
      draws,
      (x) => laplaceMass(10, x),
      (x) => laplaceTail(10, x),
    );
    expect(chiSquareTailBound(statistic, degrees)).toBeGreaterThan(ALPHA);
  });

  test('discrete Gaussian of sigma 20: chi-square with tails', () => {
    const random = randomIntegers(seededRandom(53));
    const sigmaSquared = rational(400n);
    const sigma = Math.sqrt(toNumber(sigmaSquared));
    const draws = Array.from({ length: MILLION }, () => Number(sampleDiscreteGaussian(sigmaSquared, random)));
    const { statistic, degrees } = chiSquare(
      draws,
      (x) => gaussianMass(sigma, x),
      (x) => gaussianTail(sigma, x),
    );
    expect(chiSquareTailBound(statistic, degrees)).toBeGreaterThan(ALPHA);
  }, 30_000);
});
