/**
 * Integer noise added in shares by several sites, so that only the sum is ever seen (secure aggregation). Units here are
 * those of the integer grid unless a granularity is named.
 */
import { gaussianMass } from '../gaussian.ts';
import { logSum } from '../math/logarithms.ts';

/**
 * Squared Euclidean length a vector of length `clip` may have after stochastic rounding to multiples of `granularity`, retried until
 * it obeys this bound (Kairouz, Liu, Steinke 2021, Proposition 9). `logInverseBeta` is ln(1/beta), beta the odds of a retry.
 */
export const roundedLengthSquared = (
  clip: number,
  dimension: number,
  granularity: number,
  logInverseBeta: number,
): number =>
  Math.min(
    clip ** 2 +
      (granularity ** 2 * dimension) / 4 +
      Math.sqrt(2 * logInverseBeta) * granularity * (clip + (granularity * Math.sqrt(dimension)) / 2),
    (clip + granularity * Math.sqrt(dimension)) ** 2,
  );

/** How far a sum of n discrete Gaussians is from one: 10·Σ_{k<n} e^(−2π²s²k/(k+1)), s in grid units. */
export const gaussianSumGap = (sigma: number, shares: number): number => {
  let sum = 0;
  for (let k = 1; k < shares; k += 1) sum += Math.exp((-2 * Math.PI ** 2 * sigma ** 2 * k) / (k + 1));
  return 10 * sum;
};

/**
 * Kairouz, Liu, Steinke 2021, Theorem 1: epsilon such that the sum of n discrete Gaussians of parameter sigma per coordinate is
 * epsilon²/2-zCDP for inputs of this Euclidean length. Sigma and length in the same units; the gap needs sigma in grid units.
 */
export const distributedGaussianEpsilon = (
  lengthSquared: number,
  dimension: number,
  sigma: number,
  shares: number,
  gap: number,
): number =>
  Math.min(
    Math.sqrt(lengthSquared / (shares * sigma ** 2) + (gap * dimension) / 2),
    Math.sqrt(lengthSquared / shares) / sigma + gap * Math.sqrt(dimension),
  );

export interface DistributedGaussian {
  readonly lengthSquared: number;
  readonly gap: number;
  readonly epsilon: number;
  readonly rho: number;
}

/** The whole of it for vectors clipped to `clip`; every share is granularity times a discrete Gaussian of sigma/granularity. */
export const distributedGaussian = (input: {
  readonly clip: number;
  readonly dimension: number;
  readonly granularity: number;
  readonly sigmaPerShare: number;
  readonly shares: number;
  readonly logInverseBeta: number;
}): DistributedGaussian => {
  const { clip, dimension, granularity, sigmaPerShare, shares, logInverseBeta } = input;
  const lengthSquared = roundedLengthSquared(clip, dimension, granularity, logInverseBeta);
  const gap = gaussianSumGap(sigmaPerShare / granularity, shares);
  const epsilon = distributedGaussianEpsilon(lengthSquared, dimension, sigmaPerShare, shares, gap);
  return { lengthSquared, gap, epsilon, rho: epsilon ** 2 / 2 };
};

/** Renyi divergence of order a between masses (on −reach … reach) and themselves shifted by whole steps, term by term. */
const shiftedRdp = (logMasses: Float64Array, shift: number, a: number): number => {
  const sum = logSum();
  for (let at = shift; at < logMasses.length; at += 1)
    if (logMasses[at - shift]! > -Infinity && logMasses[at]! > -Infinity)
      sum.add(a * logMasses[at - shift]! + (1 - a) * logMasses[at]!);
  return sum.value() / (a - 1);
};

const convolve = (left: Float64Array, right: Float64Array): Float64Array => {
  const sum = new Float64Array(left.length + right.length - 1);
  left.forEach((mass, at) => {
    for (let other = 0; other < right.length; other += 1) sum[at + other]! += mass * right[other]!;
  });
  return sum;
};

/**
 * Exact divergence of a sum of discrete Gaussian shares, for checks of the bound: grid units, sensitivity a whole number.
 * Terms of magnitude under 1e-300 are left out, so sigma² should be well above order·sensitivity²/1000.
 */
export const gaussianSumRdp = (sigma: number, shares: number, shift: number, a: number): number => {
  const reach = Math.ceil(sigma * 36) + 1;
  const one = Float64Array.from({ length: 2 * reach + 1 }, (_, at) => gaussianMass(sigma, at - reach));
  let total: Float64Array = one;
  for (let share = 1; share < shares; share += 1) total = convolve(total, one);
  return shiftedRdp(total.map(Math.log), shift, a);
};

/** ln of the Skellam masses of this variance at −reach … reach: e^−V·I_|x|(V), by downward recurrence (Miller). */
const skellamLogMasses = (variance: number, reach: number): Float64Array => {
  const ratios = new Float64Array(reach + 2);
  const start = reach + 60 + Math.ceil(variance);
  let ratio = 0;
  // r_k = I_k/I_{k−1} = 1/(2k/V + r_{k+1}): all terms positive, so errors shrink on the way down.
  for (let k = start; k >= 1; k -= 1) {
    ratio = 1 / ((2 * k) / variance + ratio);
    if (k <= reach + 1) ratios[k] = ratio;
  }
  const half = new Float64Array(reach + 1);
  const norm = logSum();
  norm.add(0);
  for (let k = 1; k <= reach; k += 1) {
    half[k] = half[k - 1]! + Math.log(ratios[k]!);
    norm.add(half[k]! + Math.LN2);
  }
  const logNorm = norm.value();
  return Float64Array.from({ length: 2 * reach + 1 }, (_, at) => half[Math.abs(at - reach)]! - logNorm);
};

/** Exact divergence of scalar Skellam noise (the difference of two Poisson of variance/2), for checks of the bound. */
export const skellamRdpExact = (variance: number, shift: number, a: number): number =>
  shiftedRdp(
    skellamLogMasses(variance, Math.ceil(40 * Math.sqrt(variance)) + 40 * Math.ceil(a) * shift + 60),
    shift,
    a,
  );

/**
 * Agarwal, Kairouz, Liu 2021 ("The Skellam Mechanism"), Theorem 3.5: noise of this variance per coordinate in all, inputs
 * within l1 and l2. For whole orders above 1.
 */
export const skellamRdp = (variance: number, l1: number, lengthSquared: number, order: number): number =>
  (order * lengthSquared) / (2 * variance) +
  Math.min(((2 * order - 1) * lengthSquared + 6 * l1) / (4 * variance ** 2), (3 * l1) / (2 * variance));

/** 1-norm of an integer vector of this squared length: at most √d·l2, and at most l2² because whole numbers are at or below their squares. */
export const integerL1 = (dimension: number, lengthSquared: number): number =>
  Math.min(Math.sqrt(dimension * lengthSquared), lengthSquared);
