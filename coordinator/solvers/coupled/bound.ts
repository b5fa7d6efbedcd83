/**
 * A lower bound for coupled assignment, with its certificate. Each coupling is shared out between its two tasks, per site: with y = [both at s],
 *   w·y ≥ w·(θ·x_a + (1 − θ)·x_b)     for a reward (w < 0), θ in [0, 1]
 *   w·y ≥ w·θ·(x_a + x_b − 1)         for a punishment (w > 0), θ in [0, 1]
 * which leaves a linear assignment whose exact flow plan is the bound: for the best shares, that of the linear relaxation. Shares are moved by
 * subgradients and kept as integers of 1/SHARE_SCALE, so that everything sums exactly.
 */
import { assert } from '../../../shared/errors.ts';
import { FlowCore } from '../flow-core.ts';
import type { CoupledInstance } from './instance.ts';

/** Shares are integers of one over this; costs are multiplied by it. */
export const SHARE_SCALE = 64;

export interface CoupledBound {
  /** Rounded up to an integer. */
  readonly bound: number;
  /** One per coupling and site, from 0 to SHARE_SCALE; coupling-major. */
  readonly shares: Int32Array;
  /** Of a place at each site, in costs times SHARE_SCALE. */
  readonly prices: Float64Array;
  /** The site of each task in the plan that proves it. */
  readonly siteOf: Int32Array;
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
  const waitingCost = 4 * (finite + Math.max(1, ...slotCosts.map((slots) => Math.abs(slots.at(-1) ?? 0))));
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
  /** Cost of the best plan known: sets the length of the steps. */
  readonly target: number;
  /** Shares to go on from. */
  readonly from?: CoupledBound;
}

/** At least one iteration, however late it is. */
export const coupledBound = (instance: CoupledInstance, options: BoundOptions): CoupledBound => {
  const { tasks, sites, slotCosts, first, second, weights } = instance;
  const scaledSlots = slotCosts.map((slots) => slots.map((cost) => cost * SHARE_SCALE));
  const exact = new Float64Array(weights.length * sites);
  if (options.from !== undefined) exact.set(options.from.shares);
  for (let at = 0; at < weights.length && options.from === undefined; at += 1)
    exact.fill(weights[at]! < 0 ? SHARE_SCALE / 2 : 0, at * sites, (at + 1) * sites);
  let best: CoupledBound | undefined;
  let step = 1.2;
  let since = 0;
  for (let iteration = 0; iteration < options.iterationsMax; iteration += 1) {
    const shares = Int32Array.from(exact, Math.round);
    const { scaled, constant } = sharedCosts(instance, shares);
    const { value, prices, siteOf } = solveLinear(tasks, scaledSlots, scaled);
    const bound = Math.ceil((value + constant) / SHARE_SCALE);
    since += 1;
    if (best === undefined || bound > best.bound) {
      best = { bound, shares, prices, siteOf };
      since = 0;
    }
    if (options.nowMs() >= options.deadlineMs || best.bound >= options.target) break;
    if (since >= 6) {
      step /= 2;
      since = 0;
    }
    let length = 0;
    const slope = (at: number, site: number): number => {
      const inFirst = siteOf[first[at]!] === site ? 1 : 0;
      const inSecond = siteOf[second[at]!] === site ? 1 : 0;
      return weights[at]! * (weights[at]! < 0 ? inFirst - inSecond : inFirst + inSecond - 1);
    };
    for (let at = 0; at < weights.length; at += 1)
      for (let site = 0; site < sites; site += 1) {
        const one = slope(at, site);
        // At its limit a share cannot move outwards.
        const share = exact[at * sites + site]!;
        if ((share <= 0 && one < 0) || (share >= SHARE_SCALE && one > 0)) continue;
        length += one * one;
      }
    if (length === 0) break;
    const size = (step * Math.max(1, options.target - bound) * SHARE_SCALE) / length;
    for (let at = 0; at < weights.length; at += 1)
      for (let site = 0; site < sites; site += 1) {
        const index = at * sites + site;
        exact[index] = Math.min(SHARE_SCALE, Math.max(0, exact[index]! + size * slope(at, site)));
      }
  }
  return best!;
};
