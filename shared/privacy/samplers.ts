/**
 * Exact samplers of integer noise with rational parameters (Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for
 * Differential Privacy", Algorithms 1–3). Every step is a comparison of whole numbers, so the distribution is the one the accountant
 * prices. Whole numbers are kept in doubles while they are small enough to be exact there (under 2^53), and in BigInt otherwise; both
 * ways draw the same bytes and give the same values.
 *
 * Running time depends on the value drawn: draw before data is read, or answer on fixed time slots.
 */
import { assert } from '../errors.ts';
import { type RandomIntegers, SMALL_BOUND } from './random-bits.ts';
import { floor, integerSquareRoot, type Rational, rational } from './rational.ts';

/** True with probability `p` in [0, 1]. */
export const sampleBernoulli = ({ numerator, denominator }: Rational, random: RandomIntegers): boolean =>
  random.below(denominator) < numerator;

/** True with probability exp(−g) for g in [0, 1]: the first failure among Bernoulli(g/k), k = 1, 2 … falls on an odd k. */
const sampleExpUnit = ({ numerator, denominator }: Rational, random: RandomIntegers): boolean => {
  if (denominator < BigInt(SMALL_BOUND))
    return sampleExpSmall(Number(numerator), Number(denominator), random);
  let k = 1n;
  while (random.below(denominator * k) < numerator) k += 1n;
  return k % 2n === 1n;
};

/** The same for a denominator under `SMALL_BOUND`. */
const sampleExpSmall = (numerator: number, denominator: number, random: RandomIntegers): boolean => {
  let k = 1;
  for (; denominator * k < SMALL_BOUND; k += 1)
    if (random.belowSmall(denominator * k) >= numerator) return k % 2 === 1;
  const wide = { numerator: BigInt(numerator), denominator: BigInt(denominator) };
  while (random.below(wide.denominator * BigInt(k)) < wide.numerator) k += 1;
  return k % 2 === 1;
};

const ONE = rational(1n);

/** True with probability exp(−g) for any rational g ≥ 0 (Algorithm 1). */
export const sampleBernoulliExp = (g: Rational, random: RandomIntegers): boolean => {
  assert(g.numerator >= 0n, 'exp(-g) is a probability for g at or above 0 only');
  const whole = floor(g);
  for (let test = 0n; test < whole; test += 1n) if (!sampleExpUnit(ONE, random)) return false;
  return sampleExpUnit(
    { numerator: g.numerator - whole * g.denominator, denominator: g.denominator },
    random,
  );
};

/** Integer k ≥ 0 with P(K ≥ k) = exp(−k·s/t): u uniform below t kept with probability exp(−u/t), plus t times a count of e^-1. */
const sampleMagnitude = (t: bigint, s: bigint, random: RandomIntegers): bigint => {
  if (t < BigInt(SMALL_BOUND) && s < BigInt(SMALL_BOUND)) return magnitudeSmall(Number(t), Number(s), random);
  for (;;) {
    const u = random.below(t);
    if (!sampleExpUnit({ numerator: u, denominator: t }, random)) continue;
    let v = 0n;
    while (sampleExpUnit(ONE, random)) v += 1n;
    return (u + t * v) / s;
  }
};

const magnitudeSmall = (t: number, s: number, random: RandomIntegers): bigint => {
  for (;;) {
    const u = random.belowSmall(t);
    if (!sampleExpSmall(u, t, random)) continue;
    let v = 0;
    while (sampleExpSmall(1, 1, random)) v += 1;
    const sum = u + t * v;
    // A quotient of integers under 2^53 is rounded down right: it would need a distance under 2^-53 of itself to cross an integer.
    return sum <= Number.MAX_SAFE_INTEGER
      ? BigInt(Math.floor(sum / s))
      : (BigInt(u) + BigInt(t) * BigInt(v)) / BigInt(s);
  }
};

/** Integer x with probability proportional to exp(−|x|/scale), scale > 0 (Algorithm 2). */
export const sampleDiscreteLaplace = (scale: Rational, random: RandomIntegers): bigint => {
  const { numerator: t, denominator: s } = scale;
  assert(t > 0n, 'a scale is above 0');
  for (;;) {
    const y = sampleMagnitude(t, s, random);
    const negative = random.coin();
    // Zero has one sign only; keeping both would double its probability.
    if (negative && y === 0n) continue;
    return negative ? -y : y;
  }
};

/** Integer k ≥ 0 with P(K ≥ k) = exp(−k·rate), rate > 0: the magnitude part of Algorithm 2, for a scale of 1/rate. */
export const sampleGeometric = (rate: Rational, random: RandomIntegers): bigint => {
  const { numerator: s, denominator: t } = rate;
  assert(s > 0n, 'a rate is above 0');
  return sampleMagnitude(t, s, random);
};

/** Integer x with probability proportional to exp(−x²/(2σ²)), σ² > 0 (Algorithm 3). */
export const sampleDiscreteGaussian = (sigmaSquared: Rational, random: RandomIntegers): bigint => {
  const { numerator: n, denominator: d } = sigmaSquared;
  assert(n > 0n, 'a variance parameter is above 0');
  const t = integerSquareRoot(n / d) + 1n;
  const proposal = rational(t);
  const denominator = 2n * n * d * t * t;
  for (;;) {
    const y = sampleDiscreteLaplace(proposal, random);
    // (|y| − σ²/t)² / (2σ²) over the common denominator 2·n·d·t².
    const distance = (y < 0n ? -y : y) * d * t - n;
    if (sampleBernoulliExp({ numerator: distance * distance, denominator }, random)) return y;
  }
};
