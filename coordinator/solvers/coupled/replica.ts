/**
 * One plan in the heat, made for small instances and many moves: shifts, swaps and ejections (a task goes to a site, one of that site goes on to a
 * third) proposed blindly and judged by Metropolis at one temperature. What a task costs at every site, couplings included, is kept up to date, so
 * that a proposal reads four numbers: about 25 ns. Always a plan that fits.
 */
import type { CoupledInstance } from './instance.ts';

/** What all replicas of an instance share: couplings of a pair summed, as neighbour lists and as a matrix. */
export interface SmallInstance {
  readonly instance: CoupledInstance;
  /** Neighbours of task t from `start[t]` to `start[t + 1]`. */
  readonly start: Int32Array;
  readonly near: Int32Array;
  readonly weight: Float64Array;
  /** tasks × tasks. */
  readonly between: Float64Array;
  /** Task-major, `sites` to a row: where a task may go, `allowedCount` of them. */
  readonly allowed: Int32Array;
  readonly allowedCount: Int32Array;
  /** Of these, where it has been seen of late: most proposals go there. Written by the search. */
  readonly likely: Int32Array;
  readonly likelyCount: Int32Array;
  readonly isLikely: Uint8Array;
}

export const smallInstanceOf = (instance: CoupledInstance): SmallInstance => {
  const { tasks, sites, costs, first, second, weights } = instance;
  const between = new Float64Array(tasks * tasks);
  for (let at = 0; at < weights.length; at += 1) {
    between[first[at]! * tasks + second[at]!]! += weights[at]!;
    between[second[at]! * tasks + first[at]!]! += weights[at]!;
  }
  const start = new Int32Array(tasks + 1);
  const near: number[] = [];
  for (let task = 0; task < tasks; task += 1) {
    for (let other = 0; other < tasks; other += 1) if (between[task * tasks + other] !== 0) near.push(other);
    start[task + 1] = near.length;
  }
  const weight = new Float64Array(near.length);
  const allowed = new Int32Array(tasks * sites);
  const allowedCount = new Int32Array(tasks);
  for (let task = 0; task < tasks; task += 1) {
    for (let at = start[task]!; at < start[task + 1]!; at += 1)
      weight[at] = between[task * tasks + near[at]!]!;
    for (let site = 0; site < sites; site += 1) {
      if (costs[task * sites + site] === Infinity) continue;
      allowed[task * sites + allowedCount[task]!] = site;
      allowedCount[task]! += 1;
    }
  }
  return {
    instance,
    start,
    near: Int32Array.from(near),
    weight,
    between,
    allowed,
    allowedCount,
    likely: Int32Array.from(allowed),
    likelyCount: Int32Array.from(allowedCount),
    isLikely: new Uint8Array(tasks * sites).fill(1),
  };
};

/** −ln u for u in the middle of each 65,536th: what Metropolis compares a change over the temperature with. */
const PATIENCE = Float64Array.from({ length: 65_536 }, (_, at) => -Math.log((at + 0.5) / 65_536));

export class Replica {
  readonly #small: SmallInstance;
  readonly #tasks: number;
  readonly #sites: number;
  readonly siteOf: Int32Array;
  readonly load: Int32Array;
  /** Task-major: its own cost there, and what couplings add with its neighbours where they are. */
  readonly field: Float64Array;
  /** Tasks at each site, `stride` to a row, and each task's place in its row. */
  readonly members: Int32Array;
  readonly stride: number;
  readonly #place: Int32Array;
  /** Cost of the next slot (Infinity when full) and of the last one taken. */
  readonly #nextSlot: Float64Array;
  readonly #lastSlot: Float64Array;
  cost = 0;
  bestCost = Infinity;
  readonly best: Int32Array;

  constructor(small: SmallInstance, start: ArrayLike<number>) {
    const { tasks, sites } = small.instance;
    this.#small = small;
    this.#tasks = tasks;
    this.#sites = sites;
    this.siteOf = new Int32Array(tasks);
    this.best = new Int32Array(tasks);
    this.load = new Int32Array(sites);
    this.field = new Float64Array(tasks * sites);
    this.stride = tasks + 1;
    this.members = new Int32Array(sites * this.stride);
    this.#place = new Int32Array(tasks);
    this.#nextSlot = new Float64Array(sites);
    this.#lastSlot = new Float64Array(sites);
    this.reset(start);
  }

  /** @param start a plan that fits */
  reset(start: ArrayLike<number>): void {
    const { instance, start: from, near, weight } = this.#small;
    const sites = this.#sites;
    this.field.set(instance.costs);
    this.load.fill(0);
    let cost = 0;
    for (let task = 0; task < this.#tasks; task += 1) {
      const site = start[task]!;
      this.siteOf[task] = site;
      this.#place[task] = this.load[site]!;
      this.members[site * this.stride + this.load[site]!] = task;
      cost +=
        instance.costs[task * sites + site]! + (instance.slotCosts[site]![this.load[site]!] ?? Infinity);
      this.load[site]! += 1;
    }
    for (let task = 0; task < this.#tasks; task += 1)
      for (let at = from[task]!; at < from[task + 1]!; at += 1) {
        const other = near[at]!;
        this.field[task * sites + this.siteOf[other]!]! += weight[at]!;
        if (other > task && this.siteOf[other] === this.siteOf[task]) cost += weight[at]!;
      }
    for (let site = 0; site < sites; site += 1) this.#readSlots(site);
    this.cost = cost;
    this.keep();
  }

  #readSlots(site: number): void {
    const slots = this.#small.instance.slotCosts[site]!;
    const load = this.load[site]!;
    this.#nextSlot[site] = slots[load] ?? Infinity;
    this.#lastSlot[site] = slots[load - 1] ?? 0;
  }

  keep(): void {
    if (this.cost >= this.bestCost) return;
    this.bestCost = this.cost;
    this.best.set(this.siteOf);
  }

  move(task: number, to: number): void {
    const { start, near, weight } = this.#small;
    const field = this.field;
    const sites = this.#sites;
    const from = this.siteOf[task]!;
    const row = from * this.stride;
    this.load[from]! -= 1;
    const last = this.members[row + this.load[from]!]!;
    this.members[row + this.#place[task]!] = last;
    this.#place[last] = this.#place[task]!;
    this.siteOf[task] = to;
    this.#place[task] = this.load[to]!;
    this.members[to * this.stride + this.load[to]!] = task;
    this.load[to]! += 1;
    this.#readSlots(from);
    this.#readSlots(to);
    for (let at = start[task]!; at < start[task + 1]!; at += 1) {
      const other = near[at]! * sites;
      field[other + from]! -= weight[at]!;
      field[other + to]! += weight[at]!;
    }
  }

  /**
   * Proposals at one temperature. Longer than a function should be: the inner loop of the search, with its generator (xorshift32, Marsaglia 2003) in it.
   * @param noise state of the generator, not zero @returns its state after
   */
  run(temperature: number, proposals: number, noise: number): number {
    const tasks = this.#tasks;
    const sites = this.#sites;
    const stride = this.stride;
    const { between, allowed, allowedCount, likely, likelyCount, isLikely } = this.#small;
    const field = this.field;
    const { siteOf, load } = this;
    const members = this.members;
    const nextSlot = this.#nextSlot;
    const lastSlot = this.#lastSlot;
    let x = noise;
    for (let proposal = 0; proposal < proposals; proposal += 1) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      const task = ((x >>> 0) * tasks * 2.3283064365386963e-10) | 0;
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      const row = task * sites;
      const anywhere = (x & 7) === 0;
      const to = anywhere
        ? allowed[row + ((((x >>> 3) & 0x1fff) * allowedCount[task]!) >>> 13)]!
        : likely[row + ((((x >>> 3) & 0x1fff) * likelyCount[task]!) >>> 13)]!;
      const from = siteOf[task]!;
      if (to === from) continue;
      const patience = temperature * PATIENCE[x >>> 16]!;
      const own = field[row + to]! - field[row + from]!;
      const shift = own + nextSlot[to]! - lastSlot[from]!;
      if (shift <= patience) {
        this.move(task, to);
        this.cost += shift;
        if (this.cost < this.bestCost) this.keep();
        continue;
      }
      const there = load[to]!;
      if (there === 0) continue;
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      let other = members[to * stride + (((x & 0x3ff) * there) >>> 10)]!;
      if (isLikely[other * sites + from] === 0) {
        other = members[to * stride + ((((x >>> 10) & 0x3ff) * there) >>> 10)]!;
        if (isLikely[other * sites + from] === 0)
          other = members[to * stride + ((((x >>> 20) & 0x3ff) * there) >>> 10)]!;
      }
      const otherRow = other * sites;
      let then = from;
      let slots = 0;
      if (x < 0) {
        const third = likely[otherRow + ((((x >>> 16) & 0x7fff) * likelyCount[other]!) >>> 15)]!;
        if (third !== to && third !== from && nextSlot[third]! < Infinity) {
          then = third;
          slots = nextSlot[third]! - lastSlot[from]!;
        }
      }
      // Their own coupling was counted as if the other had stayed: once for an ejection, for each of them in a swap.
      const tie = between[task * tasks + other]!;
      const change =
        own + slots + field[otherRow + then]! - field[otherRow + to]! - (then === from ? 2 * tie : tie);
      if (change > patience) continue;
      // The other first: there may be no slot for both.
      this.move(other, then);
      this.move(task, to);
      this.cost += change;
      if (this.cost < this.bestCost) this.keep();
    }
    return x;
  }
}
