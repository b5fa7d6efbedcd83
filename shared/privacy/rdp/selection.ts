/** Renyi divergence of mechanisms that select: the exponential mechanism, and the best of a random number of runs. */
import { bisect } from '../math/search.ts';
import { deltaOfCurve } from './convert.ts';

/**
 * Any epsilon-bounded-range mechanism: xi + (epsilon²/8)·a and never more than epsilon (Dong, Durfee, Rogers 2020, Section 3;
 * Cesar, Rogers 2021). xi is the largest mean loss less epsilon²/8, at or below 0; the series avoids cancellation for small epsilon.
 */
export const exponentialMechanismRdp = (epsilon: number, a: number): number => {
  if (epsilon === 0) return 0;
  const x =
    epsilon < 0.05
      ? -epsilon / 2 + epsilon ** 2 / 12 - epsilon ** 4 / 720
      : epsilon / Math.expm1(epsilon) - 1;
  const xi = x - Math.log1p(x) - epsilon ** 2 / 8;
  return Math.min(xi + (epsilon ** 2 / 8) * a, epsilon);
};

/** (e^x − 1)/x. */
const growth = (x: number): number => (x === 0 ? 1 : Math.expm1(x) / x);
/** ln(x)/(x − 1). */
const logSlope = (x: number): number => (x === 1 ? 1 : Math.log1p(x - 1) / (x - 1));

/** Mean of the truncated negative binomial distribution with halting probability gamma. */
const meanRuns = (gamma: number, shape: number): number =>
  1 / (gamma * growth(shape * Math.log(gamma)) * logSlope(gamma));

/** The halting probability that gives this mean, rounded to the side that costs more. */
const haltingProbability = (mean: number, shape: number): number => {
  if (shape === 1) return 1 / mean;
  if (mean === 1) return 1;
  return bisect(Number.MIN_VALUE, 1, (gamma) => meanRuns(gamma, shape) < mean).below;
};

/** Papernot, Steinke 2022 ("Hyperparameter Tuning with Renyi Differential Privacy"), Theorem 2, and monotony in the order. */
const negativeBinomial = (
  orders: readonly number[],
  rdp: Float64Array,
  mean: number,
  shape: number,
): Float64Array => {
  const logGamma = Math.log(haltingProbability(mean, shape));
  let constant = Infinity;
  orders.forEach((a, at) => {
    constant = Math.min(constant, (1 - 1 / a) * rdp[at]! - logGamma / a);
  });
  const raw = orders.map((a, at) => rdp[at]! + Math.log(mean) / (a - 1) + (1 + shape) * constant);
  return Float64Array.from(orders, (a) => Math.min(...raw.filter((_, at) => orders[at]! >= a)));
};

/** The same paper, Theorem 6: a Poisson number of runs. */
const poisson = (orders: readonly number[], rdp: Float64Array, mean: number): Float64Array =>
  Float64Array.from(orders, (a, at) => {
    const { delta } = deltaOfCurve({ orders, rdp, delta: 0 }, Math.log1p(1 / (a - 1)));
    return rdp[at]! + mean * delta + Math.log(mean) / (a - 1);
  });

/** The curve of the best of a random number of runs from the curve of one. */
export const repeatAndSelectRdp = (
  orders: readonly number[],
  rdp: Float64Array,
  mean: number,
  shape: number,
): Float64Array =>
  shape === Infinity ? poisson(orders, rdp, mean) : negativeBinomial(orders, rdp, mean, shape);
