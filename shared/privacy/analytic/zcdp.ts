/** Concentrated differential privacy (Bun, Steinke 2016) to (epsilon, delta). */
import { minimise } from '../math/search.ts';

/** Proposition 1.3: rho + 2√(rho·ln(1/delta)). Simple, and never below `zcdpEpsilon`. */
export const zcdpEpsilonSimple = (rho: number, delta: number): number =>
  rho + 2 * Math.sqrt(rho * Math.log(1 / delta));

const LOG_ORDER_MIN = Math.log(1e-9);
const LOG_ORDER_MAX = Math.log(1e12);

/** The order above 1 at which `cost` is least; searched on ln(a − 1), where the costs below have one valley. */
const bestOrder = (cost: (a: number) => number): number =>
  1 + Math.exp(minimise(LOG_ORDER_MIN, LOG_ORDER_MAX, (logarithm) => cost(1 + Math.exp(logarithm)), 1e-9));

/**
 * Canonne, Kamath, Steinke 2020, Proposition 12, minimised over all real orders. Every order gives a true upper bound, so stopping
 * the search early is safe.
 */
export const zcdpEpsilon = (
  rho: number,
  delta: number,
): { readonly epsilon: number; readonly order: number } => {
  if (rho === 0) return { epsilon: 0, order: Infinity };
  if (delta <= 0) return { epsilon: Infinity, order: Infinity };
  const at = (a: number): number => rho * a + Math.log1p(-1 / a) - Math.log(delta * a) / (a - 1);
  const order = bestOrder(at);
  return { epsilon: Math.max(0, at(order)), order };
};

/** The same, for delta: min over a of e^((a−1)(a·rho − epsilon))·(1 − 1/a)^a/(a − 1). */
export const zcdpDelta = (rho: number, epsilon: number): number => {
  if (rho === 0) return 0;
  const at = (a: number): number => (a - 1) * (a * rho - epsilon) + a * Math.log1p(-1 / a) - Math.log(a - 1);
  return Math.min(1, Math.exp(at(bestOrder(at))));
};
