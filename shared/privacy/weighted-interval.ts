/** How far a weighted sum of many independent noises can be from 0: Chernoff bounds, never narrower than the truth. */
import { checkConfidence } from './interval.ts';
import type { NoiseMechanism } from './mechanism.ts';
import { toNumber } from './rational.ts';

/** `count` independent draws of this noise, each multiplied by `weight`. */
export interface WeightedNoise {
  readonly mechanism: NoiseMechanism;
  readonly weight: number;
  readonly count: number;
}

/**
 * ln E[e^(tX)]. Of discrete Laplace noise with p = e^(−1/scale): 2·ln(1−p) − ln(1−p·e^t) − ln(1−p·e^−t); Infinity from t = 1/scale on.
 * Discrete Gaussian noise is sub-Gaussian with its own σ² (Canonne, Kamath, Steinke 2020).
 */
const logMoment = (mechanism: NoiseMechanism, t: number): number => {
  if (mechanism.kind === 'discrete_gaussian') return (toNumber(mechanism.sigmaSquared) * t * t) / 2;
  const rate = 1 / toNumber(mechanism.scale);
  const size = Math.abs(t);
  if (size >= rate) return Infinity;
  return (
    2 * Math.log(-Math.expm1(-rate)) -
    Math.log(-Math.expm1(size - rate)) -
    Math.log(-Math.expm1(-size - rate))
  );
};

/** Largest t at which every moment is finite, for a start of the search. */
const reach = (terms: readonly WeightedNoise[]): number =>
  Math.min(
    ...terms.map(({ mechanism, weight }) =>
      mechanism.kind === 'discrete_laplace' ? 1 / (toNumber(mechanism.scale) * Math.abs(weight)) : Infinity,
    ),
  );

const STEPS = 80;

/**
 * A w with P(S > w) ≤ outside and P(S < −w) ≤ outside: min over t of (Σ ln E[e^(t·weight·X)] + ln(1/outside))/t, any t being valid.
 */
const chernoff = (terms: readonly WeightedNoise[], outside: number): number => {
  const bound = (t: number): number =>
    (terms.reduce((sum, { mechanism, weight, count }) => sum + count * logMoment(mechanism, t * weight), 0) -
      Math.log(outside)) /
    t;
  const variance = terms.reduce((sum, { mechanism, weight, count }) => {
    const one =
      mechanism.kind === 'discrete_gaussian'
        ? toNumber(mechanism.sigmaSquared)
        : 2 * toNumber(mechanism.scale) ** 2;
    return sum + count * weight * weight * one;
  }, 0);
  // Around the best t of a Gaussian of this variance, on a geometric grid, below what keeps the moments finite.
  const centre = Math.sqrt((-2 * Math.log(outside)) / variance);
  const limit = reach(terms);
  let best = Infinity;
  for (let step = 0; step <= STEPS; step += 1) {
    const t = Math.min(centre * 4 ** ((2 * step) / STEPS - 1), limit * (1 - 1e-9));
    best = Math.min(best, bound(t));
  }
  return best;
};

/**
 * Smallest w found such that each of S > w and S < −w has probability at most (1 − confidence)/2.
 * @throws QflError `invalid_request` for a confidence outside (0.5, 1).
 */
export const weightedHalfWidth = (terms: readonly WeightedNoise[], confidence: number): bigint => {
  checkConfidence(confidence);
  const moving = terms.filter(({ weight, count }) => weight !== 0 && count > 0);
  if (moving.length === 0) return 0n;
  // The sum is an integer where weights are; rounding up covers the error of the doubles.
  return BigInt(Math.ceil(chernoff(moving, (1 - confidence) / 2) * (1 + 1e-9)));
};
