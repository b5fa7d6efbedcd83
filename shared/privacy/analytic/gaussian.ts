/**
 * The Gaussian mechanism exactly (Balle, Wang 2018, "Improving the Gaussian Mechanism", Theorem 8), and mu-GDP, which is the same
 * curve with mu = sensitivity/sigma (Dong, Roth, Su 2022). Figures in doubles, relative error under 1e-12.
 */
import { bisect } from '../math/search.ts';
import { millsRatio, normalBetween, normalDensity, normalTail } from '../math/normal.ts';

/**
 * Delta of mu-GDP at epsilon ≥ 0: Q(a) − e^ε Q(b) with a = ε/mu − mu/2, b = a + mu. As e^ε times the density at b is the
 * density at a, it is density(a)·(mills(a) − mills(b)): no underflow and no product of a huge and a tiny number.
 */
export const gdpDelta = (mu: number, epsilon: number): number => {
  if (mu === 0) return 0;
  const a = epsilon / mu - mu / 2;
  const b = epsilon / mu + mu / 2;
  if (a >= 0) return normalDensity(a) * (millsRatio(a) - millsRatio(b));
  // Q(a) − Q(b) less (e^ε − 1)·Q(b); at epsilon 0 this is the total variation.
  return normalBetween(a, b) - Math.expm1(epsilon) * normalTail(b);
};

const EPSILON_MAX = 1e6;

/** Smallest epsilon ≥ 0 at which mu-GDP has this delta, rounded up. */
export const gdpEpsilon = (mu: number, delta: number): number => {
  if (gdpDelta(mu, 0) <= delta) return 0;
  if (delta <= 0) return Infinity;
  let high = 1;
  while (high < EPSILON_MAX && gdpDelta(mu, high) > delta) high *= 2;
  if (high >= EPSILON_MAX) return Infinity;
  return bisect(0, high, (epsilon) => gdpDelta(mu, epsilon) <= delta).above;
};

/** Delta at epsilon; sigma per unit of sensitivity. */
export const gaussianDelta = (sigma: number, epsilon: number): number => gdpDelta(1 / sigma, epsilon);
/** Epsilon at delta; sigma per unit of sensitivity. */
export const gaussianEpsilon = (sigma: number, delta: number): number => gdpEpsilon(1 / sigma, delta);

/** Room for the error of the curve in doubles, so that the sigma returned keeps the promise in real numbers too. */
const SIGMA_MARGIN = 1e-11;

/** Smallest sigma per unit of sensitivity that is (epsilon, delta)-DP, rounded up. */
export const gaussianSigma = (epsilon: number, delta: number): number => {
  let high = 1;
  while (high < 1e12 && gaussianDelta(high, epsilon) > delta) high *= 2;
  let low = high;
  while (low > 1e-12 && gaussianDelta(low, epsilon) <= delta) low /= 2;
  return bisect(low, high, (sigma) => gaussianDelta(sigma, epsilon) <= delta).above * (1 + SIGMA_MARGIN);
};

/** The one Gaussian mechanism that several on the same data amount to, whatever order they run in. */
export const composeGaussians = (
  sigmas: readonly number[],
): { readonly mu: number; readonly rho: number } => {
  const signal = sigmas.reduce((sum, sigma) => sum + sigma ** -2, 0);
  return { mu: Math.sqrt(signal), rho: signal / 2 };
};
