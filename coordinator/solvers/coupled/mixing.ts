/**
 * The best mixture of two plans. Tasks that stand differently fall into components that no coupling joins; each can be taken from either plan, and
 * only slots tie them. All choices of up to twelve components are tried (after partition crossover: Whitley, Hains, Howe 2009).
 */
import type { SmallInstance } from './replica.ts';

const COMPONENTS_MAX = 12;
const NONE = -1;

export class Mixer {
  readonly #small: SmallInstance;
  readonly #componentOf: Int32Array;
  readonly #queue: Int32Array;
  /** By component: what taking it from the other plan changes, slots apart. */
  readonly #gain: Float64Array;
  /** Component-major: how the load of each site changes. */
  readonly #change: Int32Array;
  readonly #load: Int32Array;
  readonly #capacity: Int32Array;
  /** Site-major, a row of tasks + 1: cost of the first slots together; no more is added above the capacity. */
  readonly #slotSum: Float64Array;
  /** The mixture found last. */
  readonly mixed: Int32Array;

  constructor(small: SmallInstance) {
    const { tasks, sites, slotCosts } = small.instance;
    this.#small = small;
    this.#componentOf = new Int32Array(tasks);
    this.#queue = new Int32Array(tasks);
    this.#gain = new Float64Array(tasks);
    this.#change = new Int32Array(tasks * sites);
    this.#load = new Int32Array(sites);
    this.mixed = new Int32Array(tasks);
    this.#capacity = Int32Array.from(slotCosts, (slots) => slots.length);
    this.#slotSum = new Float64Array(sites * (tasks + 1));
    slotCosts.forEach((slots, site) => {
      for (let load = 0; load < tasks; load += 1) {
        const at = site * (tasks + 1) + load;
        this.#slotSum[at + 1] = this.#slotSum[at]! + (slots[load] ?? 0);
      }
    });
  }

  /** Change of cost of the best mixture against `base`, which is in `mixed` when it is below 0. */
  mix(base: Int32Array, other: Int32Array): number {
    const count = Math.min(COMPONENTS_MAX, this.#split(base, other));
    if (count < 2) return 0;
    this.#load.fill(0);
    for (const site of base) this.#load[site]! += 1;
    let taken = 0;
    let [cost, over] = [0, 0];
    let [best, bestTaken] = [0, 0];
    // In the order of Gray's code one component changes at a time.
    for (let step = 1; step < 1 << count; step += 1) {
      const component = 31 - Math.clz32(step & -step);
      const sign = ((taken >> component) & 1) === 1 ? -1 : 1;
      taken ^= 1 << component;
      cost += sign * this.#gain[component]!;
      const row = component * this.#load.length;
      for (let site = 0; site < this.#load.length; site += 1) {
        const change = sign * this.#change[row + site]!;
        if (change === 0) continue;
        const before = this.#load[site]!;
        const slots = site * (this.#componentOf.length + 1) + before;
        this.#load[site] = before + change;
        cost += this.#slotSum[slots + change]! - this.#slotSum[slots]!;
        over += (before + change > this.#capacity[site]! ? 1 : 0) - (before > this.#capacity[site]! ? 1 : 0);
      }
      if (over === 0 && cost < best) [best, bestTaken] = [cost, taken];
    }
    if (best < 0) this.#take(base, other, bestTaken);
    return best;
  }

  #take(base: Int32Array, other: Int32Array, taken: number): void {
    for (let task = 0; task < base.length; task += 1) {
      const component = this.#componentOf[task]!;
      const changes = component >= 0 && component < COMPONENTS_MAX && ((taken >> component) & 1) === 1;
      this.mixed[task] = (changes ? other : base)[task]!;
    }
  }

  /** Finds the components of the tasks that differ; how many. */
  #split(base: Int32Array, other: Int32Array): number {
    this.#componentOf.fill(NONE);
    let count = 0;
    for (let task = 0; task < base.length; task += 1) {
      if (base[task] === other[task] || this.#componentOf[task] !== NONE) continue;
      this.#fill(task, count, base, other);
      count += 1;
    }
    return count;
  }

  #fill(seed: number, component: number, base: Int32Array, other: Int32Array): void {
    const { start, near, weight, instance } = this.#small;
    const { sites, costs } = instance;
    const componentOf = this.#componentOf;
    const queue = this.#queue;
    const row = component * sites;
    this.#change.fill(0, row, row + sites);
    queue[0] = seed;
    componentOf[seed] = component;
    // Twice the change: couplings inside the component are met from both ends.
    let twice = 0;
    for (let read = 0, size = 1; read < size; read += 1) {
      const task = queue[read]!;
      const [from, to] = [base[task]!, other[task]!];
      twice += 2 * (costs[task * sites + to]! - costs[task * sites + from]!);
      this.#change[row + from]! -= 1;
      this.#change[row + to]! += 1;
      for (let at = start[task]!; at < start[task + 1]!; at += 1) {
        const one = near[at]!;
        const change = (other[one] === to ? weight[at]! : 0) - (base[one] === from ? weight[at]! : 0);
        const inside = base[one] !== other[one];
        twice += inside ? change : 2 * change;
        if (!inside || componentOf[one] !== NONE) continue;
        componentOf[one] = component;
        queue[size] = one;
        size += 1;
      }
    }
    this.#gain[component] = twice / 2;
  }
}
