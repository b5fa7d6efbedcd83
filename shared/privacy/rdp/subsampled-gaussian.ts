/**
 * Renyi divergence of the Poisson-subsampled Gaussian mechanism under add/remove: D_a((1−q)N(0,s²) + qN(1,s²) ‖ N(0,s²)), which is
 * the larger of the two directions (Mironov, Talwar, Zhang 2019, Theorem 5). With u = q(e^w − 1), w = (2x − 1)/(2s²),
 * A = E[(1+u)^a] over x ~ N(0,s²), and the divergence is ln(A)/(a − 1).
 *
 * A − 1 is formed, not A: as E[u] = 0 it is a sum (integer a) or an integral (any a) of terms that are all at or above 0, so no
 * order loses digits to cancellation. A library that adds the absolute values of a signed series instead is up to twice too
 * large below order 2.
 */
import { logAdd, logBinomials, logExpm1, logSum } from '../math/logarithms.ts';

/** ln(A − 1) at a whole order: Σ_{k≥2} C(a,k) (1−q)^(a−k) q^k (e^((k²−k)/(2s²)) − 1). */
const logExcessWhole = (q: number, sigma: number, order: number): number => {
  const binomials = logBinomials(order);
  const logQ = Math.log(q);
  const logRest = Math.log1p(-q);
  const sum = logSum();
  for (let k = 2; k <= order; k += 1)
    sum.add(binomials[k]! + k * logQ + (order - k) * logRest + logExpm1((k * k - k) / (2 * sigma * sigma)));
  return sum.value();
};

/**
 * ln((1+u)^a − 1 − au), which is at or above 0 for every u > −1. `logOnePlus` is ln(1+u). Near 0 by its series, because the
 * three terms cancel there; far above by logarithms, because the power overflows.
 */
const logConvexity = (u: number, logOnePlus: number, a: number): number => {
  const power = a * logOnePlus;
  if (Math.abs(u) * Math.max(a, 1) < 0.02) {
    let term = (a * (a - 1) * u * u) / 2;
    let sum = term;
    for (let k = 3; k <= 12; k += 1) {
      term *= ((a - k + 1) * u) / k;
      sum += term;
    }
    return Math.log(Math.abs(sum));
  }
  if (power > 30) return power + Math.log1p(-(1 + a * u) * Math.exp(-power));
  return Math.log(Math.max(Math.expm1(power) - a * u, 0));
};

/** Nodes at most; a run that needs more (sigma under about 0.02 at high order) is bounded by its whole neighbours instead. */
const NODES_MAX = 40_000;
/** Half width of the integral beyond its outermost peak, in sigmas: what is left out is under e^−90 of it. */
const REACH = 13.5;
/** ln of the relative error of the trapezoid rule. */
const PRECISION = 42;

/**
 * Step of the trapezoid rule. The integrand is analytic up to the branch points at distance πs² from the real line, and on a strip
 * of half width d the rule errs by e^(−2πd/step), times e^(d²/(2s²)) for the growth of the density (Trefethen, Weideman 2014).
 */
const stepOf = (sigma: number): number => {
  const strip = Math.min(0.9 * Math.PI * sigma * sigma, 6 * sigma);
  return (2 * Math.PI * strip) / (PRECISION + strip ** 2 / (2 * sigma * sigma));
};

/** ln(A − 1) at any order, by quadrature; undefined when that would take too many nodes. */
const logExcessQuadrature = (q: number, sigma: number, order: number): number | undefined => {
  const step = stepOf(sigma);
  const low = -REACH * sigma;
  const nodes = Math.ceil((order + 2 * REACH * sigma) / step);
  if (nodes > NODES_MAX) return undefined;
  const logQ = Math.log(q);
  const logRest = Math.log1p(-q);
  const sum = logSum();
  for (let at = 0; at <= nodes; at += 1) {
    const x = low + at * step;
    const w = (2 * x - 1) / (2 * sigma * sigma);
    const u = w < 700 ? q * Math.expm1(w) : Infinity;
    const logOnePlus = Math.abs(u) < 0.5 ? Math.log1p(u) : logAdd(logRest, logQ + w);
    const convexity = u === Infinity ? order * logOnePlus : logConvexity(u, logOnePlus, order);
    sum.add(convexity - (x * x) / (2 * sigma * sigma));
  }
  return sum.value() + Math.log(step / (sigma * Math.sqrt(2 * Math.PI)));
};

const divergence = (logExcess: number): number =>
  logExcess > 0 ? logExcess + Math.log1p(Math.exp(-logExcess)) : Math.log1p(Math.exp(logExcess));

/** ln A at a whole order. */
const cumulantWhole = (q: number, sigma: number, order: number): number =>
  order <= 1 ? 0 : divergence(logExcessWhole(q, sigma, order));

const cumulant = (q: number, sigma: number, order: number): number => {
  if (Number.isInteger(order)) return cumulantWhole(q, sigma, order);
  const excess = logExcessQuadrature(q, sigma, order);
  if (excess !== undefined) return divergence(excess);
  // ln A is convex in the order (Wang, Balle, Kasiviswanathan 2019, Corollary 10), so the chord lies above it.
  const below = Math.floor(order);
  const part = order - below;
  return (1 - part) * cumulantWhole(q, sigma, below) + part * cumulantWhole(q, sigma, below + 1);
};

/**
 * Nats at order a > 1; sigma per unit of sensitivity. Relative error under 1e-10.
 * Takes microseconds to a few milliseconds.
 */
export const subsampledGaussianRdp = (q: number, sigma: number, order: number): number => {
  if (q === 0) return 0;
  if (q === 1) return order / (2 * sigma * sigma);
  return cumulant(q, sigma, order) / (order - 1);
};
