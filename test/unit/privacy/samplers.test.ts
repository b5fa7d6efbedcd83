import { describe, expect, test } from 'vitest';
import { gaussianMass, gaussianTail } from '../../../shared/privacy/gaussian.ts';
import { laplaceMass, laplaceTail } from '../../../shared/privacy/laplace.ts';
import { discreteGaussian, discreteLaplace, noiseOf } from '../../../shared/privacy/mechanism.ts';
import { bufferedRandom, randomIntegers } from '../../../shared/privacy/random-bits.ts';
import { rational, toNumber } from '../../../shared/privacy/rational.ts';
import {
  sampleBernoulli,
  sampleBernoulliExp,
  sampleDiscreteGaussian,
  sampleDiscreteLaplace,
} from '../../../shared/privacy/samplers.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { seededRandom } from '../../fixtures/drbg.ts';
import { chiSquare, chiSquareTailBound } from './statistics.ts';

const ALPHA = 1e-9;
const DRAWS = 60_000;

const draw = (count: number, sample: () => bigint): number[] =>
  Array.from({ length: count }, () => Number(sample()));

/** Upper bound of the probability of draws at least this far from the masses. */
const fit = (draws: readonly number[], mass: (x: number) => number, tail: (x: number) => number): number => {
  const { statistic, degrees } = chiSquare(draws, mass, tail);
  expect(degrees).toBeGreaterThan(2);
  return chiSquareTailBound(statistic, degrees);
};

describe('discrete Laplace', () => {
  test.each([
    [rational(10n), 1],
    [rational(1n), 2],
    [rational(20n, 3n), 3],
    [rational(1n, 2n), 4],
  ])('scale %o: chi-square against the exact masses', (scale, seed) => {
    const random = randomIntegers(seededRandom(seed));
    const b = toNumber(scale);
    const draws = draw(DRAWS, () => sampleDiscreteLaplace(scale, random));
    expect(
      fit(
        draws,
        (x) => laplaceMass(b, x),
        (x) => laplaceTail(b, x),
      ),
    ).toBeGreaterThan(ALPHA);
  });
});

describe('discrete Gaussian', () => {
  test.each([
    [rational(100n), 5],
    [rational(1n), 6],
    [rational(5n, 3n), 7],
    [rational(1n, 4n), 8],
  ])('sigma² %o: chi-square against the exact masses', (sigmaSquared, seed) => {
    const random = randomIntegers(seededRandom(seed));
    const sigma = Math.sqrt(toNumber(sigmaSquared));
    const draws = draw(DRAWS / 2, () => sampleDiscreteGaussian(sigmaSquared, random));
    expect(
      fit(
        draws,
        (x) => gaussianMass(sigma, x),
        (x) => gaussianTail(sigma, x),
      ),
    ).toBeGreaterThan(ALPHA);
  });
});

describe('both', () => {
  const mechanisms = [discreteLaplace(1n, rational(3n)), discreteGaussian(rational(1n), rational(9n))];

  test.each(mechanisms)('$kind: positive as often as negative', (mechanism) => {
    const noise = noiseOf(mechanism, seededRandom(9));
    const draws = draw(20_000, noise).filter((value) => value !== 0);
    const positive = draws.filter((value) => value > 0).length;
    // Six standard deviations of a fair coin: two in a thousand million.
    expect(Math.abs(positive - draws.length / 2)).toBeLessThan(3 * Math.sqrt(draws.length));
  });

  test.each(mechanisms)('$kind: every integer near the middle is reached', (mechanism) => {
    const seen = new Set(draw(20_000, noiseOf(mechanism, seededRandom(10))));
    for (let value = -8; value <= 8; value += 1) expect(seen.has(value)).toBe(true);
  });

  test.each(mechanisms)('$kind: the secure generator serves as well', (mechanism) => {
    const draws = draw(2_000, noiseOf(mechanism, secureRandomBytes));
    expect(new Set(draws).size).toBeGreaterThan(5);
  });

  test('a scale far beyond doubles still samples', () => {
    const value = sampleDiscreteLaplace(rational(10n ** 30n), randomIntegers(seededRandom(11)));
    expect(value > 10n ** 20n || value < -(10n ** 20n)).toBe(true);
  });
});

describe('uniform integers and Bernoulli', () => {
  test.each([2n, 3n, 10n, 255n, 256n, 257n, 1000n])('below %s: all equally often', (bound) => {
    const random = randomIntegers(seededRandom(Number(bound)));
    const counts = new Map<bigint, number>();
    for (let at = 0; at < 40_000; at += 1) {
      const value = random.below(bound);
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    expect([...counts.keys()].every((value) => value >= 0n && value < bound)).toBe(true);
    const expected = 40_000 / Number(bound);
    let statistic = 0;
    for (let value = 0n; value < bound; value += 1n)
      statistic += ((counts.get(value) ?? 0) - expected) ** 2 / expected;
    expect(chiSquareTailBound(statistic, Number(bound) - 1)).toBeGreaterThan(ALPHA);
  });

  test.each([
    [0, rational(0n)],
    [0.5, rational(1n, 2n)],
    [1, rational(1n)],
    [2.75, rational(11n, 4n)],
  ])('exp(-%s)', (g, exact) => {
    const random = randomIntegers(seededRandom(20));
    const p = Math.exp(-g);
    let hits = 0;
    for (let at = 0; at < 40_000; at += 1) if (sampleBernoulliExp(exact, random)) hits += 1;
    expect(Math.abs(hits - 40_000 * p)).toBeLessThanOrEqual(6.2 * Math.sqrt(40_000 * p * (1 - p)));
  });

  test('probabilities 0 and 1 are certain', () => {
    const random = randomIntegers(seededRandom(21));
    for (let at = 0; at < 100; at += 1) {
      expect(sampleBernoulli(rational(0n), random)).toBe(false);
      expect(sampleBernoulli(rational(1n), random)).toBe(true);
    }
  });

  test('buffering hands out the same bytes in the same order, whatever the sizes', () => {
    const direct = Buffer.from(seededRandom(22)(64));
    const buffered = bufferedRandom(seededRandom(22), 64);
    const pieces = [1, 7, 16, 40].map((count) => Buffer.from(buffered(count)));
    expect(Buffer.concat(pieces)).toEqual(direct);
    expect(buffered(100)).toHaveLength(100);
  });
});
