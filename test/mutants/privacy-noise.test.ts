/** Faults of noise and accounting that the checks must catch: each check passes on the real thing and fails on the mutant. */
import { describe, expect, test } from 'vitest';
import { parseEpsilon } from '../../shared/privacy/epsilon.ts';
import { costUnits, createFilter } from '../../shared/privacy/filter.ts';
import { gaussianMass, gaussianTail } from '../../shared/privacy/gaussian.ts';
import { laplaceMass, laplaceRdp, laplaceTail } from '../../shared/privacy/laplace.ts';
import { discreteLaplace } from '../../shared/privacy/mechanism.ts';
import { randomIntegers, type RandomIntegers } from '../../shared/privacy/random-bits.ts';
import { type Rational, rational } from '../../shared/privacy/rational.ts';
import { sampleDiscreteGaussian, sampleDiscreteLaplace } from '../../shared/privacy/samplers.ts';
import { unitsUp } from '../../shared/privacy/units.ts';
import { seededRandom } from '../fixtures/drbg.ts';
import { chiSquare, chiSquareTailBound } from '../unit/privacy/statistics.ts';

const ALPHA = 1e-9;
const DRAWS = 60_000;
type Sampler = (parameter: Rational, random: RandomIntegers) => bigint;

const fits = (
  sampler: Sampler,
  parameter: Rational,
  mass: (x: number) => number,
  tail: (x: number) => number,
  random = randomIntegers(seededRandom(77)),
): boolean => {
  const draws = Array.from({ length: DRAWS }, () => Number(sampler(parameter, random)));
  const { statistic, degrees } = chiSquare(draws, mass, tail);
  return chiSquareTailBound(statistic, degrees) > ALPHA;
};

const laplaceFits = (sampler: Sampler, scale: bigint, random?: RandomIntegers): boolean =>
  fits(
    sampler,
    rational(scale),
    (x) => laplaceMass(Number(scale), x),
    (x) => laplaceTail(Number(scale), x),
    random,
  );

const negativeZeroKept: Sampler = (scale, random) => {
  const value = sampleDiscreteLaplace(scale, random);
  // Keeping it doubles the odds of zero: a drawn value is replaced by zero with the odds that gives.
  return random.below(1_000n) < 48n ? 0n : value;
};

const roundedDoubles: Sampler = (scale, random) => {
  const u = (Number(random.below(1n << 53n)) + 0.5) / 2 ** 53 - 0.5;
  return BigInt(Math.round(-Number(scale.numerator) * Math.sign(u) * Math.log1p(-2 * Math.abs(u))));
};

const signDropped: Sampler = (scale, random) => {
  const value = sampleDiscreteLaplace(scale, random);
  return value < 0n ? -value : value;
};

describe('the chi-square test of discrete Laplace noise', () => {
  test('passes on the sampler', () => {
    expect(laplaceFits(sampleDiscreteLaplace, 10n)).toBe(true);
  });

  test('catches half the scale, and one a tenth too small', () => {
    expect(
      laplaceFits((scale, random) => sampleDiscreteLaplace(rational(scale.numerator, 2n), random), 10n),
    ).toBe(false);
    expect(
      laplaceFits(
        (scale, random) => sampleDiscreteLaplace(rational(scale.numerator * 90n, 100n), random),
        10n,
      ),
    ).toBe(false);
  });

  test('catches a negative zero that is kept', () => {
    expect(laplaceFits(negativeZeroKept, 10n)).toBe(false);
  });

  test('catches continuous noise in doubles that is rounded', () => {
    expect(laplaceFits(roundedDoubles, 1n)).toBe(false);
  });

  test('catches noise that is used twice with the same sign', () => {
    expect(laplaceFits(signDropped, 10n)).toBe(false);
  });
});

const gaussianFits = (sampler: Sampler): boolean =>
  fits(
    sampler,
    rational(9n),
    (x) => gaussianMass(3, x),
    (x) => gaussianTail(3, x),
  );

describe('the chi-square test of discrete Gaussian noise', () => {
  test('passes on the sampler, catches sigma a tenth too small', () => {
    expect(gaussianFits(sampleDiscreteGaussian)).toBe(true);
    expect(
      gaussianFits((squared, random) =>
        sampleDiscreteGaussian(rational(squared.numerator * 81n, 100n), random),
      ),
    ).toBe(false);
  });
});

const evenly = (below: (random: RandomIntegers) => bigint): boolean => {
  const random = randomIntegers(seededRandom(78));
  const counts = [0, 0, 0];
  for (let at = 0; at < DRAWS; at += 1) counts[Number(below(random))]! += 1;
  const statistic = counts.reduce((sum, count) => sum + (count - DRAWS / 3) ** 2 / (DRAWS / 3), 0);
  return chiSquareTailBound(statistic, 2) > ALPHA;
};

describe('uniform integers', () => {
  test('a modulo instead of rejection is caught', () => {
    expect(evenly((random) => random.below(3n))).toBe(true);
    expect(evenly((random) => random.below(16n) % 3n)).toBe(false);
  });
});

/** Never below the exact value. */
const safe = (round: (nats: number) => bigint): boolean =>
  Array.from({ length: 1_000 }, (_, at) => (at + 1) / 7_777).every(
    (nats) => Number(round(nats)) >= nats * 2 ** 40,
  );

describe('costs', () => {
  const filter = createFilter('rdp_fixed_order', { epsilon: parseEpsilon('10'), delta: 1e-5 });
  /** At least the exact divergence at this sensitivity, and at most a hair more. */
  const covers = (cost: bigint, sensitivity: number): boolean => {
    const exact = laplaceRdp(10, sensitivity, filter.orderTenths / 10) * 2 ** 40;
    return Number(cost) >= exact && Number(cost) < exact + 8;
  };

  test('sensitivity 1 instead of 3 is caught', () => {
    expect(covers(costUnits(discreteLaplace(3n, rational(10n)), filter), 3)).toBe(true);
    expect(covers(costUnits(discreteLaplace(1n, rational(10n)), filter), 3)).toBe(false);
  });

  test('rounding down instead of up is caught', () => {
    expect(safe(unitsUp)).toBe(true);
    expect(safe((nats) => BigInt(Math.floor(nats * 2 ** 40)))).toBe(false);
  });
});
