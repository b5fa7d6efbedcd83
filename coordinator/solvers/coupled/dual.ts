/**
 * Ascent on the dual of the linear relaxation: how each coupling is shared out between its two tasks, site by site, and the price of a place at
 * each site. The dual is a sum of minima, one per task; minima are smoothed at a temperature (Nesterov 2005) that falls as the ascent goes on, and the
 * gradient, a difference of Gibbs marginals, is followed with momentum that starts anew when it points downhill (O'Donoghue, Candès 2015).
 * Whatever it returns only has to be rounded: any shares and prices prove a bound, see `bound.ts`.
 */
import type { CoupledInstance } from './instance.ts';

/** Smoothing at the end, as a share of that at the start. */
const COOLING = 1 / 150;
/** Steps as a share of the temperature, the inverse of the smoothed dual's curvature. */
const SHARE_STEP = 0.5;
const PRICE_STEP = 0.5;
/** Below e^−CUT a site takes no part in a task's smoothed minimum. */
const CUT = 20;
/** e^−x in steps: the ascent needs no better, and the exponential itself took a third of its time. */
const DECAY_STEPS = 64;
const DECAY = Float64Array.from({ length: CUT * DECAY_STEPS + 1 }, (_, at) => Math.exp(-at / DECAY_STEPS));

export class SmoothDual {
  readonly #instance: CoupledInstance;
  /** Coupling-major, cost units: what the first task bears at each site; for a punishment both bear it. Where it is, and where momentum has it. */
  readonly #parts: Float32Array;
  readonly #ahead: Float32Array;
  readonly #prices: Float64Array;
  readonly #pricesAhead: Float64Array;
  /** Task-major: cost with its parts of couplings, then the Gibbs marginal. */
  readonly #marginal: Float32Array;
  readonly #load: Float64Array;
  readonly #spread: Float64Array;
  readonly #hot: number;
  #momentum = 1;
  /** The best of the points visited; its value before rounding. */
  readonly bestParts: Float32Array;
  readonly bestPrices: Float64Array;
  bestValue = -Infinity;

  /** @param prices to start from */
  constructor(instance: CoupledInstance, prices: ArrayLike<number>) {
    const { tasks, sites, weights } = instance;
    this.#instance = instance;
    this.#parts = new Float32Array(weights.length * sites);
    let size = 0;
    for (let at = 0; at < weights.length; at += 1) {
      size += Math.abs(weights[at]!);
      this.#parts.fill(Math.min(0, weights[at]! / 2), at * sites, (at + 1) * sites);
    }
    this.#ahead = Float32Array.from(this.#parts);
    this.#prices = Float64Array.from(prices);
    this.#pricesAhead = Float64Array.from(prices);
    this.#marginal = new Float32Array(tasks * sites);
    this.#load = new Float64Array(sites);
    this.#spread = new Float64Array(sites);
    this.#hot = Math.max(0.5, size / Math.max(1, weights.length));
    this.bestParts = Float32Array.from(this.#parts);
    this.bestPrices = Float64Array.from(prices);
  }

  /** One step. @param progress from 0 to 1: how far the smoothing has fallen @returns the dual's value where it was */
  step(progress: number): number {
    const temperature = this.#hot * COOLING ** progress;
    const value = this.#shareOut() + this.#minima(temperature) + this.#slotsBack();
    if (value > this.bestValue) {
      this.bestValue = value;
      this.bestParts.set(this.#ahead);
      this.bestPrices.set(this.#pricesAhead);
    }
    const next = (1 + Math.sqrt(1 + 4 * this.#momentum * this.#momentum)) / 2;
    const push = (this.#momentum - 1) / next;
    const rise = this.#moveParts(temperature, push) + this.#movePrices(temperature, push);
    this.#momentum = rise < 0 ? 1 : next;
    return value;
  }

  /** Costs with the couplings shared out; the constant that punishments leave. */
  #shareOut(): number {
    const { sites, costs, first, second, weights } = this.#instance;
    const own = this.#marginal;
    const ahead = this.#ahead;
    own.set(costs);
    let constant = 0;
    for (let at = 0; at < weights.length; at += 1) {
      const weight = weights[at]!;
      const [a, b, row] = [first[at]! * sites, second[at]! * sites, at * sites];
      const base = weight < 0 ? weight : 0;
      const sign = weight < 0 ? -1 : 1;
      let sum = 0;
      for (let site = 0; site < sites; site += 1) {
        const part = ahead[row + site]!;
        own[a + site]! += part;
        own[b + site]! += base + sign * part;
        sum += part;
      }
      if (weight > 0) constant -= sum;
    }
    return constant;
  }

  /** Sum of the tasks' minima; leaves their marginals, the load they make and how undecided it is. */
  #minima(temperature: number): number {
    const { tasks, sites } = this.#instance;
    const own = this.#marginal;
    const prices = this.#pricesAhead;
    const load = this.#load.fill(0);
    const spread = this.#spread.fill(0);
    const scale = 1 / temperature;
    let sum = 0;
    for (let row = 0; row < tasks * sites; row += sites) {
      let least = Infinity;
      for (let site = 0; site < sites; site += 1) {
        const cost = own[row + site]! + prices[site]!;
        own[row + site] = cost;
        if (cost < least) least = cost;
      }
      sum += least;
      let total = 0;
      for (let site = 0; site < sites; site += 1) {
        const above = (own[row + site]! - least) * scale;
        const share = above < CUT ? DECAY[(above * DECAY_STEPS) | 0]! : 0;
        own[row + site] = share;
        total += share;
      }
      const inverse = 1 / total;
      for (let site = 0; site < sites; site += 1) {
        if (own[row + site] === 0) continue;
        const share = own[row + site]! * inverse;
        own[row + site] = share;
        load[site]! += share;
        spread[site]! += share * (1 - share);
      }
    }
    return sum;
  }

  /** What the slots that are worth their price give back. */
  #slotsBack(): number {
    let back = 0;
    this.#instance.slotCosts.forEach((slots, site) => {
      for (const slot of slots) back += Math.min(0, slot - this.#pricesAhead[site]!);
    });
    return back;
  }

  /** @returns the gradient times the way gone */
  #moveParts(temperature: number, push: number): number {
    const { sites, first, second, weights } = this.#instance;
    const marginal = this.#marginal;
    const parts = this.#parts;
    const ahead = this.#ahead;
    const step = temperature * SHARE_STEP;
    let rise = 0;
    for (let at = 0; at < weights.length; at += 1) {
      const weight = weights[at]!;
      const [a, b, row] = [first[at]! * sites, second[at]! * sites, at * sites];
      const low = weight < 0 ? weight : 0;
      const high = weight < 0 ? 0 : weight;
      const sign = weight < 0 ? -1 : 1;
      const constant = weight < 0 ? 0 : 1;
      for (let site = 0; site < sites; site += 1) {
        const slope = marginal[a + site]! + sign * marginal[b + site]! - constant;
        if (slope === 0) continue;
        const before = parts[row + site]!;
        let after = ahead[row + site]! + step * slope;
        if (after < low) after = low;
        else if (after > high) after = high;
        parts[row + site] = after;
        const gone = after - before;
        rise += slope * gone;
        let further = after + push * gone;
        if (further < low) further = low;
        else if (further > high) further = high;
        ahead[row + site] = further;
      }
    }
    return rise;
  }

  #movePrices(temperature: number, push: number): number {
    let rise = 0;
    this.#instance.slotCosts.forEach((slots, site) => {
      const price = this.#pricesAhead[site]!;
      let taken = 0;
      let undecided = 1 + this.#spread[site]!;
      // Slots at a task's temperature: as sharp steps they would let the price swing.
      for (const slot of slots) {
        const share = 1 / (1 + Math.exp((slot - price) / temperature));
        taken += share;
        undecided += share * (1 - share);
      }
      const slope = this.#load[site]! - taken;
      const before = this.#prices[site]!;
      const after = price + (temperature * PRICE_STEP * slope) / undecided;
      this.#prices[site] = after;
      rise += slope * (after - before);
      this.#pricesAhead[site] = after + push * (after - before);
    });
    return rise;
  }
}
