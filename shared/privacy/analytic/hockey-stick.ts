/** Delta of one release with integer or Laplace noise, exactly: Σ max(0, P − e^ε·Q). */
import { gaussianNormaliser } from '../gaussian.ts';
import { normalTail } from '../math/normal.ts';
import { bisect } from '../math/search.ts';

/** Continuous Laplace noise, scale per unit of sensitivity: 1 − e^((ε − 1/b)/2) below epsilon 1/b, nothing above. */
export const laplaceDelta = (scale: number, epsilon: number): number =>
  epsilon >= 1 / scale ? 0 : -Math.expm1((epsilon - 1 / scale) / 2);

/** Σ_{x=1..n} e^(x·t). */
const geometric = (t: number, n: number): number =>
  t === 0 ? n : (Math.exp(t) * Math.expm1(n * t)) / Math.expm1(t);

/**
 * Discrete Laplace noise, moved by `shift` ≥ 0 integers. The loss (shift − 2x)/scale, at most shift/scale, exceeds epsilon up to one
 * integer; all answers at or below 0 have the same loss, those above form two geometric sums.
 */
export const discreteLaplaceDelta = (scale: number, shift: number, epsilon: number): number => {
  const last = Math.ceil((shift - epsilon * scale) / 2) - 1;
  if (last < 0) return 0;
  const t = 1 / scale;
  const excess = epsilon - shift * t;
  const between = geometric(-t, last) - Math.exp(excess) * geometric(t, last);
  return Math.max(0, -Math.expm1(excess) - between * Math.expm1(-t)) / (1 + Math.exp(-t));
};

/** Discrete Gaussian noise, moved by `shift` ≥ 0 integers. Work grows with sigma: run in a worker beyond sigma 1e6. */
export const discreteGaussianDelta = (sigma: number, shift: number, epsilon: number): number => {
  if (shift === 0) return 0;
  // The loss (shift² − 2·shift·x)/(2σ²) exceeds epsilon below this.
  const first = Math.ceil(shift / 2 - (epsilon * sigma * sigma) / shift) - 1;
  let sum = 0;
  for (let x = first; x > first - 45 * sigma - 1; x -= 1) {
    const loss = (shift * (shift - 2 * x)) / (2 * sigma * sigma);
    const term = Math.exp(-((x / sigma) ** 2) / 2) * -Math.expm1(epsilon - loss);
    sum += term;
    if (x < 0 && term < sum * 1e-18) break;
  }
  return sum / gaussianNormaliser(sigma);
};

/** Where the loss ln(1 − q + q·e^((2x−1)/(2σ²))) of Poisson-subsampled Gaussian noise reaches epsilon > ln(1 − q). */
const lossReaches = (q: number, sigma: number, epsilon: number): number =>
  sigma * sigma * Math.log1p(Math.expm1(epsilon) / q) + 0.5;

export interface SampledDelta {
  /** The data set with the record against the one without. */
  readonly remove: number;
  readonly add: number;
}

/** One round of Poisson-subsampled Gaussian noise, sigma per unit of sensitivity, both directions. */
export const subsampledGaussianDelta = (q: number, sigma: number, epsilon: number): SampledDelta => {
  const remove = ((): number => {
    const x = lossReaches(q, sigma, epsilon);
    // ((1−q) − e^ε)·Q(x/σ) + q·Q((x−1)/σ)
    return q * normalTail((x - 1) / sigma) - (Math.expm1(epsilon) + q) * normalTail(x / sigma);
  })();
  if (epsilon >= -Math.log1p(-q)) return { remove: Math.max(0, remove), add: 0 };
  const x = lossReaches(q, sigma, -epsilon);
  const below = (at: number): number => normalTail(-at);
  const add =
    -Math.expm1(epsilon + Math.log1p(-q)) * below(x / sigma) - q * Math.exp(epsilon) * below((x - 1) / sigma);
  return { remove: Math.max(0, remove), add: Math.max(0, add) };
};

/** Smallest epsilon ≥ 0 where a falling curve of deltas is at most delta, rounded up. */
export const epsilonOfDeltas = (
  curve: (epsilon: number) => number,
  delta: number,
  epsilonMax: number,
): number => (curve(0) <= delta ? 0 : bisect(0, epsilonMax, (epsilon) => curve(epsilon) <= delta).above);
