/**
 * A lower bound for coupled assignment, with its certificate. Each coupling is shared out between its two tasks, per site: with y = [both at s],
 *   w·y ≥ w·(θ·x_a + (1 − θ)·x_b)     for a reward (w < 0), θ in [0, 1]
 *   w·y ≥ w·θ·(x_a + x_b − 1)         for a punishment (w > 0), θ in [0, 1]
 * which leaves a linear assignment, bounded by any prices: for the best of both, by the linear relaxation. `dual.ts` finds them; here they become
 * integers of 1/SHARE_SCALE, so that everything sums exactly.
 */
import { assert } from '../../../shared/errors.ts';
import { FlowCore } from '../flow-core.ts';
import { SmoothDual } from './dual.ts';
import type { CoupledInstance } from './instance.ts';

/** Shares are integers of one over this; costs are multiplied by it. */
export const SHARE_SCALE = 256;

export interface CoupledBound {
  /** Rounded up to an integer. */
  readonly bound: number;
  /** One per coupling and site, from 0 to SHARE_SCALE; coupling-major. */
  readonly shares: Int32Array;
  /** Of a place at each site, in costs times SHARE_SCALE. */
  readonly prices: Float64Array;
}

/** Costs times SHARE_SCALE with the couplings shared out, and the constant that punishments leave. */
export const sharedCosts = (
  { sites, costs, first, second, weights }: CoupledInstance,
  shares: ArrayLike<number>,
): { readonly scaled: Float64Array; readonly constant: number } => {
  const scaled = costs.map((cost) => cost * SHARE_SCALE);
  let constant = 0;
  for (let at = 0; at < weights.length; at += 1) {
    const weight = weights[at]!;
    for (let site = 0; site < sites; site += 1) {
      const share = shares[at * sites + site]!;
      scaled[first[at]! * sites + site]! += weight * share;
      scaled[second[at]! * sites + site]! += weight * (weight < 0 ? SHARE_SCALE - share : share);
      if (weight > 0) constant -= weight * share;
    }
  }
  return { scaled, constant };
};

interface FlowResult {
  readonly value: number;
  readonly prices: Float64Array;
  readonly siteOf: Int32Array;
}

/** Exact plan of a linear instance. A task that fits nowhere is at −1, and the value is Infinity. */
export const solveLinear = (
  tasks: number,
  slotCosts: readonly (readonly number[])[],
  costs: Float64Array,
): FlowResult => {
  const sites = slotCosts.length;
  const finite = costs.reduce((most, cost) => (cost < Infinity ? Math.max(most, Math.abs(cost)) : most), 1);
  // More than any chain of moves that makes room: at most one a site, each of them twice the dearest.
  const waitingCost =
    2 * (sites + 2) * (finite + Math.max(1, ...slotCosts.map((slots) => Math.abs(slots.at(-1) ?? 0))));
  const flow = new FlowCore(slotCosts);
  const own = new Float64Array(flow.nodes);
  for (let task = 0; task < tasks; task += 1) {
    own.set(costs.subarray(task * sites, (task + 1) * sites));
    own[sites] = waitingCost;
    const row = flow.insert(own);
    assert(row === task, 'rows are given in order');
  }
  const siteOf = Int32Array.from({ length: tasks }, (_, task) => {
    const site = flow.siteOf(task);
    return site === sites ? -1 : site;
  });
  const load = new Int32Array(sites);
  let value = 0;
  siteOf.forEach((site, task) => {
    value += site < 0 ? Infinity : costs[task * sites + site]! + slotCosts[site]![load[site]!]!;
    if (site >= 0) load[site]! += 1;
  });
  return { value, prices: Float64Array.from({ length: sites }, (_, site) => flow.priceOf(site)), siteOf };
};

export interface BoundOptions {
  readonly iterationsMax: number;
  readonly deadlineMs: number;
  readonly nowMs: () => number;
  /** Cost of the best plan known: a bound that reaches it is not improved. */
  readonly target: number;
  /** Prices to start from, in cost units; those of the linear plan are good. */
  readonly prices?: ArrayLike<number>;
}

/** Above it, tasks × sites, the last word on prices is the ascent's: an exact flow for them would take as long as all of it. */
const EXACT_PRICES_MAX = 60_000;
const STEPS_BETWEEN_LOOKS = 25;

/** Shares and prices of the ascent as integers, and what they prove. */
const roundedBound = (
  instance: CoupledInstance,
  parts: Float32Array,
  ascentPrices: Float64Array,
): CoupledBound => {
  const { tasks, sites, slotCosts, weights } = instance;
  const shares = new Int32Array(parts.length);
  for (let at = 0; at < parts.length; at += 1) {
    const weight = weights[Math.floor(at / sites)]!;
    shares[at] = weight === 0 ? 0 : Math.round((parts[at]! / weight) * SHARE_SCALE);
  }
  const { scaled, constant } = sharedCosts(instance, shares);
  const scaledSlots = slotCosts.map((slots) => slots.map((cost) => cost * SHARE_SCALE));
  const prices =
    tasks * sites <= EXACT_PRICES_MAX
      ? solveLinear(tasks, scaledSlots, scaled).prices
      : ascentPrices.map((price) => Math.round(price * SHARE_SCALE));
  const value = pricedValue(scaled, scaledSlots, prices) + constant;
  return { bound: Math.ceil(value / SHARE_SCALE), shares, prices };
};

/** Weak duality: every task where it is cheapest at these prices, less what the slots worth their price give back. */
const pricedValue = (
  costs: Float64Array,
  slotCosts: readonly (readonly number[])[],
  prices: Float64Array,
): number => {
  const sites = prices.length;
  let value = 0;
  for (let row = 0; row < costs.length; row += sites) {
    let least = Infinity;
    for (let site = 0; site < sites; site += 1) least = Math.min(least, costs[row + site]! + prices[site]!);
    value += least;
  }
  slotCosts.forEach((slots, site) => {
    for (const slot of slots) value += Math.min(0, slot - prices[site]!);
  });
  return value;
};

/** At least one step, however late it is; past the deadline by no more than a step and the rounding. */
export const coupledBound = (instance: CoupledInstance, options: BoundOptions): CoupledBound => {
  const { iterationsMax, deadlineMs, nowMs, target } = options;
  const begunMs = nowMs();
  const lateness = (): number => (deadlineMs > begunMs ? (nowMs() - begunMs) / (deadlineMs - begunMs) : 1);
  const ascent = new SmoothDual(instance, options.prices ?? new Float64Array(instance.sites));
  for (let step = 0; step < iterationsMax; step += 1) {
    const late = lateness();
    if (step > 0 && late >= 1) break;
    ascent.step(Math.min(1, Math.max(late, step / Math.max(1, iterationsMax - 1))));
    // Rounded up, it may be there already.
    if (ascent.bestValue > target - 0.5 && step % STEPS_BETWEEN_LOOKS === 0) {
      const bound = roundedBound(instance, ascent.bestParts, ascent.bestPrices);
      if (bound.bound >= target) return bound;
    }
  }
  return roundedBound(instance, ascent.bestParts, ascent.bestPrices);
};
