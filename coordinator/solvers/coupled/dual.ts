/**
 * Ascent on the dual of the linear relaxation: how each coupling is shared out between its two tasks, site by site, and the price of a place at
 * each site. The dual is a sum of minima, one per task; minima are smoothed at a temperature (Nesterov 2005) that falls as the ascent goes on, and the
 * gradient, a difference of Gibbs marginals, is followed with momentum that starts anew when it points downhill (O'Donoghue, Candès 2015).
 * Whatever it returns only has to be rounded: any shares and prices prove a bound, see `bound.ts`.
 */
import type { CoupledInstance } from './instance.ts';

/** Smoothing at the end, as a share of that at the start. */
const COOLING = 1 / 150;
/**
 * Steps as a share of the temperature, the inverse of the smoothed dual's curvature: at the end what is safe everywhere; at the start more, and the more
 * the more sites there are, for marginals spread over many sites bend it less. At 10,000 x 100 eighteen steps so climb further than fifty did.
 */
const STEP_AT_END = 0.5;
const STEP_PER_SITE = 0.16;
const STEP_LEAST = 2;
const STEP_MOST = 16;
const PRICE_STEP = 0.5;
/** Below e^−CUT a site takes no part in a task's smoothed minimum. */
const CUT = 9;
/** Least rise, as a share of the value, for which a point is kept. */
const KEPT = 2e-5;
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
  /** Task-major: cost with its parts of couplings, kept up as these move. */
  readonly #own: Float64Array;
  /** What punishments take off: the sum of their parts. */
  #constant = 0;
  /** Task-major: the Gibbs marginal, and at which sites it is above 0. */
  readonly #marginal: Float32Array;
  readonly #active: Uint16Array;
  readonly #activeCount: Int32Array;
  readonly #touched: Uint16Array;
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
    const { tasks, sites, first, second, weights } = instance;
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
    this.#own = Float64Array.from(instance.costs);
    for (let at = 0; at < weights.length; at += 1)
      for (let site = 0; weights[at]! < 0 && site < sites; site += 1) {
        this.#own[first[at]! * sites + site]! += weights[at]! / 2;
        this.#own[second[at]! * sites + site]! += weights[at]! / 2;
      }
    this.#marginal = new Float32Array(tasks * sites);
    this.#active = new Uint16Array(tasks * sites);
    this.#activeCount = new Int32Array(tasks);
    this.#touched = new Uint16Array(2 * sites);
    this.#load = new Float64Array(sites);
    this.#spread = new Float64Array(sites);
    this.#hot = Math.max(0.5, size / Math.max(1, weights.length));
    this.bestParts = Float32Array.from(this.#parts);
    this.bestPrices = Float64Array.from(prices);
  }

  /** One step. @param progress from 0 to 1: how far the smoothing has fallen @returns the dual's value where it was */
  step(progress: number): number {
    const temperature = this.#hot * COOLING ** progress;
    const value = this.#constant + this.#minima(temperature) + this.#slotsBack();
    // A copy of everything for every hair's breadth would take a third of a large ascent.
    if (value > this.bestValue + KEPT * Math.abs(this.bestValue) || this.bestValue === -Infinity) {
      this.bestValue = value;
      this.bestParts.set(this.#ahead);
      this.bestPrices.set(this.#pricesAhead);
    }
    const next = (1 + Math.sqrt(1 + 4 * this.#momentum * this.#momentum)) / 2;
    const push = (this.#momentum - 1) / next;
    const rise =
      this.#moveParts(temperature * this.#stepShare(progress), push) + this.#movePrices(temperature, push);
    this.#momentum = rise < 0 ? 1 : next;
    return value;
  }

  #stepShare(progress: number): number {
    const start = Math.min(STEP_MOST, Math.max(STEP_LEAST, STEP_PER_SITE * this.#load.length));
    return start * (STEP_AT_END / start) ** progress;
  }

  /** Sum of the tasks' minima; leaves their marginals, where these are above 0, the load they make and how undecided it is. */
  #minima(temperature: number): number {
    const { tasks, sites } = this.#instance;
    const own = this.#own;
    const marginal = this.#marginal;
    const active = this.#active;
    const prices = this.#pricesAhead;
    const load = this.#load.fill(0);
    const spread = this.#spread.fill(0);
    const scale = 1 / temperature;
    const reach = CUT * temperature;
    let sum = 0;
    for (let task = 0, row = 0; task < tasks; task += 1, row += sites) {
      for (let at = row; at < row + this.#activeCount[task]!; at += 1) marginal[row + active[at]!] = 0;
      let least = Infinity;
      for (let site = 0; site < sites; site += 1) {
        const cost = own[row + site]! + prices[site]!;
        if (cost < least) least = cost;
      }
      sum += least;
      let total = 0;
      let count = 0;
      for (let site = 0; site < sites; site += 1) {
        const above = own[row + site]! + prices[site]! - least;
        // Also false for a task that may go nowhere.
        if (!(above < reach)) continue;
        const share = DECAY[(above * scale * DECAY_STEPS) | 0]!;
        marginal[row + site] = share;
        active[row + count] = site;
        count += 1;
        total += share;
      }
      this.#activeCount[task] = count;
      const inverse = 1 / total;
      for (let at = row; at < row + count; at += 1) {
        const site = active[at]!;
        const share = marginal[row + site]! * inverse;
        marginal[row + site] = share;
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

  /**
   * Moves the parts where they have a slope, and both tasks' costs with them. One long loop: a call for each of a million parts took most of the time.
   * @returns the gradient times the way gone
   */
  #moveParts(step: number, push: number): number {
    const { sites, first, second, weights } = this.#instance;
    const own = this.#own;
    const marginal = this.#marginal;
    const parts = this.#parts;
    const ahead = this.#ahead;
    const touched = this.#touched;
    let rise = 0;
    let constant = this.#constant;
    for (let coupling = 0; coupling < weights.length; coupling += 1) {
      const weight = weights[coupling]!;
      const a = first[coupling]! * sites;
      const b = second[coupling]! * sites;
      const row = coupling * sites;
      const sign = weight < 0 ? -1 : 1;
      const base = weight < 0 ? 0 : 1;
      const low = weight < 0 ? weight : 0;
      const high = weight < 0 ? 0 : weight;
      const count = weight < 0 ? this.#touchReward(coupling) : this.#touchPunishment(coupling);
      for (let entry = 0; entry < count; entry += 1) {
        const site = touched[entry]!;
        const slope = marginal[a + site]! + sign * marginal[b + site]! - base;
        const from = ahead[row + site]!;
        const before = parts[row + site]!;
        let after = from + step * slope;
        if (after < low) after = low;
        else if (after > high) after = high;
        parts[row + site] = after;
        const gone = after - before;
        let further = after + push * gone;
        if (further < low) further = low;
        else if (further > high) further = high;
        ahead[row + site] = further;
        const change = further - from;
        own[a + site]! += change;
        own[b + site]! += sign * change;
        constant -= base * change;
        rise += slope * gone;
      }
    }
    this.#constant = constant;
    return rise;
  }

  /** Sites where a reward's part has a slope, the difference of its tasks' marginals, into `#touched`; how many. */
  #touchReward(coupling: number): number {
    const { sites, first, second } = this.#instance;
    const touched = this.#touched;
    const active = this.#active;
    const marginal = this.#marginal;
    const one = first[coupling]!;
    const other = second[coupling]!;
    const a = one * sites;
    const b = other * sites;
    let count = 0;
    for (let at = a; at < a + this.#activeCount[one]!; at += 1) {
      touched[count] = active[at]!;
      count += 1;
    }
    for (let at = b; at < b + this.#activeCount[other]!; at += 1) {
      if (marginal[a + active[at]!] !== 0) continue;
      touched[count] = active[at]!;
      count += 1;
    }
    return count;
  }

  /** Sites where a punishment's part may move: up where the marginals sum to more than 1, down where it is above 0. */
  #touchPunishment(coupling: number): number {
    const { sites, first, second } = this.#instance;
    const touched = this.#touched;
    const marginal = this.#marginal;
    const a = first[coupling]! * sites;
    const b = second[coupling]! * sites;
    const row = coupling * sites;
    let count = 0;
    for (let site = 0; site < sites; site += 1) {
      const still = this.#ahead[row + site] === 0 && this.#parts[row + site] === 0;
      if (still && marginal[a + site]! + marginal[b + site]! <= 1) continue;
      touched[count] = site;
      count += 1;
    }
    return count;
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
