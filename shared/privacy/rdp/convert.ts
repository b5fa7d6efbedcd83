/** From a Renyi curve to (epsilon, delta). */

/** A curve on a grid of orders above 1, and the deltas of its (epsilon, delta) parts, summed. */
export interface RdpCurve {
  readonly orders: readonly number[];
  /** Nats, one per order. */
  readonly rdp: Float64Array;
  readonly delta: number;
}

/** Below this order the conversion is useless and loses digits. */
const ORDER_MIN = 1.01;

/**
 * Epsilon at one order: 0 when delta² ≥ 1 − e^(−rdp), which bounds the total variation by way of the KL divergence
 * (Bretagnolle, Huber 1979), otherwise Canonne, Kamath, Steinke 2020, Proposition 12.
 */
const epsilonAt = (a: number, rdp: number, delta: number): number => {
  if (delta > 0 && delta * delta + Math.expm1(-rdp) > 0) return 0;
  if (rdp === 0) return 0;
  return a > ORDER_MIN ? rdp + Math.log1p(-1 / a) - Math.log(delta * a) / (a - 1) : Infinity;
};

const logDeltaAt = (a: number, rdp: number, epsilon: number): number => {
  const shortcut = rdp === 0 ? -Infinity : 0.5 * Math.log(-Math.expm1(-rdp));
  if (a <= ORDER_MIN) return shortcut;
  return Math.min(shortcut, (a - 1) * (rdp - epsilon + Math.log1p(-1 / a)) - Math.log(a));
};

/** Smallest epsilon over the grid; Infinity when delta is not above the curve's own. `order` is where it is reached. */
export const epsilonOfCurve = (curve: RdpCurve, delta: number): { epsilon: number; order: number } => {
  const left = delta - curve.delta;
  let best = { epsilon: Infinity, order: 0 };
  if (!(left >= 0)) return best;
  curve.orders.forEach((a, at) => {
    const epsilon = Math.max(0, epsilonAt(a, curve.rdp[at]!, left));
    if (epsilon < best.epsilon) best = { epsilon, order: a };
  });
  return best;
};

/** Smallest delta over the grid, the curve's own included; at most 1. */
export const deltaOfCurve = (curve: RdpCurve, epsilon: number): { delta: number; order: number } => {
  let best = { logDelta: 0, order: 0 };
  curve.orders.forEach((a, at) => {
    const logDelta = logDeltaAt(a, curve.rdp[at]!, epsilon);
    if (logDelta < best.logDelta || best.order === 0) best = { logDelta, order: a };
  });
  return { delta: Math.min(1, Math.exp(best.logDelta) + curve.delta), order: best.order };
};
