/**
 * Coupled assignment as a quadratic function of bits, for samplers that know nothing else: one bit per task and allowed site, a penalty where a task is
 * not at exactly one site, and slack bits that fill each site up to its slots, with a penalty where they do not. Slots cost their mean here; what comes
 * back is repaired and scored on the true objective, so nothing of this view decides alone.
 */
import type { Qubo } from '../../../shared/quantum/ising.ts';
import type { CoupledInstance } from '../coupled/instance.ts';

export interface QuboView {
  readonly qubo: Qubo;
  /** Task and site of each of the first bits; slack bits follow. */
  readonly taskOf: Int32Array;
  readonly siteOf: Int32Array;
  /** One-hot groups: the bits of each task. */
  readonly groups: readonly (readonly number[])[];
}

export interface QuboPenalties {
  /** For a task at no site or at several. */
  readonly once: number;
  /** For a site over its slots; 0 leaves them out, and repair sees to them. */
  readonly capacity: number;
}

/** Above the most that leaving a task out, or squeezing it in, can save: breaking a rule once never pays, and a larger penalty only blinds the search. */
export const defaultPenalties = ({
  tasks,
  sites,
  costs,
  first,
  second,
  weights,
}: CoupledInstance): QuboPenalties => {
  const coupled = new Float64Array(tasks);
  weights.forEach((weight, at) => {
    coupled[first[at]!]! += Math.abs(weight);
    coupled[second[at]!]! += Math.abs(weight);
  });
  let most = 0;
  for (let task = 0; task < tasks; task += 1) {
    const own = costs.subarray(task * sites, (task + 1) * sites).filter((cost) => cost < Infinity);
    most = Math.max(most, Math.max(...own) - Math.min(...own) + coupled[task]!);
  }
  return { once: most + 1, capacity: most + 1 };
};

/** Powers of two, the last cut so that the sum is exactly `total`. */
const slackSizes = (total: number): number[] => {
  const sizes: number[] = [];
  let left = total;
  for (let size = 1; left > 0; size *= 2) {
    sizes.push(Math.min(size, left));
    left -= size;
  }
  return sizes;
};

class Builder {
  readonly linear: number[] = [];
  readonly #pairs = new Map<number, number>();
  offset = 0;

  bit(): number {
    return this.linear.push(0) - 1;
  }
  pair(first: number, second: number, weight: number): void {
    if (weight === 0) return;
    const key = Math.min(first, second) * 2 ** 24 + Math.max(first, second);
    this.#pairs.set(key, (this.#pairs.get(key) ?? 0) + weight);
  }
  /** penalty·(Σ size·bit − total)². */
  square(terms: readonly (readonly [bit: number, size: number])[], total: number, penalty: number): void {
    this.offset += penalty * total * total;
    terms.forEach(([bit, size], at) => {
      this.linear[bit]! += penalty * size * (size - 2 * total);
      for (const [other, otherSize] of terms.slice(at + 1))
        this.pair(bit, other, 2 * penalty * size * otherSize);
    });
  }
  build(): Qubo {
    return {
      bits: this.linear.length,
      linear: this.linear,
      quadratic: [...this.#pairs].map(
        ([key, weight]) => [Math.floor(key / 2 ** 24), key % 2 ** 24, weight] as const,
      ),
      offset: this.offset,
    };
  }
}

export const quboOf = (instance: CoupledInstance, penalties = defaultPenalties(instance)): QuboView => {
  const { tasks, sites, costs, slotCosts, first, second, weights } = instance;
  const builder = new Builder();
  const taskOf: number[] = [];
  const siteOf: number[] = [];
  const bitOf = new Int32Array(tasks * sites).fill(-1);
  const groups = Array.from({ length: tasks }, (): number[] => []);
  for (let task = 0; task < tasks; task += 1) {
    // Every plan pays a task's cheapest cost, so only what is above it is left to the bits.
    const least = costs.subarray(task * sites, (task + 1) * sites).reduce((low, cost) => Math.min(low, cost));
    builder.offset += least;
    for (let site = 0; site < sites; site += 1) {
      const cost = costs[task * sites + site]!;
      if (cost === Infinity) continue;
      const bit = builder.bit();
      const slots = slotCosts[site]!;
      const mean = slots.reduce((sum, slot) => sum + slot, 0) / Math.max(1, slots.length);
      builder.linear[bit]! += cost - least + mean;
      bitOf[task * sites + site] = bit;
      groups[task]!.push(bit);
      taskOf.push(task);
      siteOf.push(site);
    }
  }
  for (const group of groups)
    builder.square(
      group.map((bit) => [bit, 1] as const),
      1,
      penalties.once,
    );
  for (let at = 0; at < weights.length; at += 1)
    for (let site = 0; site < sites; site += 1) {
      const [a, b] = [bitOf[first[at]! * sites + site]!, bitOf[second[at]! * sites + site]!];
      if (a >= 0 && b >= 0) builder.pair(a, b, weights[at]!);
    }
  for (let site = 0; site < sites; site += 1) {
    const slots = slotCosts[site]!.length;
    const here = Array.from({ length: tasks }, (_, task) => bitOf[task * sites + site]!).filter(
      (bit) => bit >= 0,
    );
    // A site with a slot for every task needs no rule.
    if (here.length <= slots || penalties.capacity === 0) continue;
    const slack = slackSizes(slots).map((size) => [builder.bit(), size] as const);
    builder.square([...here.map((bit) => [bit, 1] as const), ...slack], slots, penalties.capacity);
  }
  return { qubo: builder.build(), taskOf: Int32Array.from(taskOf), siteOf: Int32Array.from(siteOf), groups };
};
