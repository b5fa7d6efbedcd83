/**
 * Exact samplers of integer noise on BigInt with rational parameters (Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for
 * Differential Privacy", Algorithms 1–3). No float stands between the random bytes and the noise, so the distribution
 * is the one the accountant prices.
 *
 * Running time depends on the value drawn: draw before data is read, or answer on fixed time slots.
 */
import { assert } from '../errors.ts';
import type { RandomIntegers } from './random-bits.ts';
import { floor, integerSquareRoot, type Rational, rational } from './rational.ts';

/** True with probability `p` in [0, 1]. */
export const sampleBernoulli = ({ numerator, denominator }: Rational, random: RandomIntegers): boolean =>
  random.below(denominator) < numerator;

/** True with probability exp(−g) for g in [0, 1]: the first failure among Bernoulli(g/k), k = 1, 2 … falls on an odd k. */
const sampleExpUnit = ({ numerator, denominator }: Rational, random: RandomIntegers): boolean => {
  let k = 1n;
  while (random.below(denominator * k) < numerator) k += 1n;
  return k % 2n === 1n;
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

/** Integer x with probability proportional to exp(−|x|/scale), scale > 0 (Algorithm 2). */
export const sampleDiscreteLaplace = (scale: Rational, random: RandomIntegers): bigint => {
  const { numerator: t, denominator: s } = scale;
  assert(t > 0n, 'a scale is above 0');
  for (;;) {
    const u = random.below(t);
    if (!sampleExpUnit({ numerator: u, denominator: t }, random)) continue;
    let v = 0n;
    while (sampleExpUnit(ONE, random)) v += 1n;
    const y = (u + t * v) / s;
    const negative = random.coin();
    // Zero has one sign only; keeping both would double its probability.
    if (negative && y === 0n) continue;
    return negative ? -y : y;
  }
};

/** Integer x with probability proportional to exp(−x²/(2σ²)), σ² > 0 (Algorithm 3). */
export const sampleDiscreteGaussian = (sigmaSquared: Rational, random: RandomIntegers): bigint => {
  const { numerator: n, denominator: d } = sigmaSquared;
  assert(n > 0n, 'a variance parameter is above 0');
  const t = integerSquareRoot(n / d) + 1n;
  const proposal = rational(t);
  for (;;) {
    const y = sampleDiscreteLaplace(proposal, random);
    // (|y| − σ²/t)² / (2σ²) over the common denominator 2·n·d·t².
    const distance = (y < 0n ? -y : y) * d * t - n;
    const g = { numerator: distance * distance, denominator: 2n * n * d * t * t };
    if (sampleBernoulliExp(g, random)) return y;
  }
};
