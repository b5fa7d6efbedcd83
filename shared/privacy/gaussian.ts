/** The discrete Gaussian P(x) ∝ exp(−x²/(2σ²)) in doubles. Sums run until a term no longer changes them. */

/** Beyond this many sigmas a term is under e^-800 of the largest: it underflows. */
const SPAN_SIGMAS = 40;

const weight = (sigma: number, x: number): number => Math.exp(-((x / sigma) ** 2) / 2);

const sumFrom = (sigma: number, from: number, term: (x: number) => number): number => {
  const last = Math.ceil(Math.abs(from) + SPAN_SIGMAS * sigma);
  let sum = 0;
  // Downwards: the small terms first, so that they are not lost beside the large ones.
  for (let x = last; x >= from; x -= 1) sum += term(x);
  return sum;
};

/**
 * Σ exp(−x²/(2σ²)). Wide ones by Poisson summation, σ√(2π)·(1 + 2e^(−2π²σ²)), whose next term e^(−8π²σ²) is under 1e-34
 * from σ = 1 on.
 */
export const gaussianNormaliser = (sigma: number): number =>
  sigma >= 1
    ? sigma * Math.sqrt(2 * Math.PI) * (1 + 2 * Math.exp(-2 * (Math.PI * sigma) ** 2))
    : 1 + 2 * sumFrom(sigma, 1, (x) => weight(sigma, x));

/** P(X = x). */
export const gaussianMass = (sigma: number, x: number): number =>
  weight(sigma, x) / gaussianNormaliser(sigma);

/** P(X > x) for an integer x. Cost grows with sigma. */
export const gaussianTail = (sigma: number, x: number): number =>
  x >= 0
    ? sumFrom(sigma, x + 1, (y) => weight(sigma, y)) / gaussianNormaliser(sigma)
    : 1 - gaussianTail(sigma, -x - 1);

export const gaussianVariance = (sigma: number): number =>
  (2 * sumFrom(sigma, 1, (x) => x * x * weight(sigma, x))) / gaussianNormaliser(sigma);

export const gaussianMeanAbsolute = (sigma: number): number =>
  (2 * sumFrom(sigma, 1, (x) => x * weight(sigma, x))) / gaussianNormaliser(sigma);

/**
 * Renyi divergence of order a between the distribution and itself shifted by an integer: at most a·shift²/(2σ²)
 * (Canonne, Kamath, Steinke 2020, Theorem 4), with equality where a·shift is an integer.
 */
export const gaussianRdp = (sigma: number, shift: number, a: number): number =>
  (a * shift * shift) / (2 * sigma * sigma);
