/** From a sampler's bits to a plan that keeps every rule; what it says is followed where it can be. */
import type { CoupledInstance } from '../coupled/instance.ts';
import type { QuboView } from './qubo.ts';

export interface Repaired {
  /** Site of each task. */
  readonly siteOf: Int32Array;
  /** The proposal kept every rule by itself. */
  readonly wasFeasible: boolean;
}

/** The cheapest of the sites given that has room; −1 when none has. */
const cheapest = (
  { sites, costs, slotCosts }: CoupledInstance,
  task: number,
  among: readonly number[],
  load: Int32Array,
): number => {
  let best = -1;
  let least = Infinity;
  for (const site of among) {
    const cost = costs[task * sites + site]! + (slotCosts[site]![load[site]!] ?? Infinity);
    if (cost < least) {
      least = cost;
      best = site;
    }
  }
  return best;
};

/** Undefined when not every task can be placed after the proposal's own choices. */
export const repair = (
  instance: CoupledInstance,
  { taskOf, siteOf: bitSite }: QuboView,
  bits: ArrayLike<number>,
): Repaired | undefined => {
  const { tasks, sites } = instance;
  const proposed = Array.from({ length: tasks }, (): number[] => []);
  for (let bit = 0; bit < taskOf.length; bit += 1)
    if (bits[bit] === 1) proposed[taskOf[bit]!]!.push(bitSite[bit]!);
  const load = new Int32Array(sites);
  const siteOf = new Int32Array(tasks).fill(-1);
  let wasFeasible = true;
  const place = (task: number, among: readonly number[]): boolean => {
    const site = cheapest(instance, task, among, load);
    if (site < 0) return false;
    siteOf[task] = site;
    load[site]! += 1;
    return true;
  };
  // Tasks of which the proposal is sure come first; the others find what is left.
  for (let task = 0; task < tasks; task += 1)
    if (proposed[task]!.length !== 1 || !place(task, proposed[task]!)) wasFeasible = false;
  const everywhere = Array.from({ length: sites }, (_, site) => site);
  for (let task = 0; task < tasks; task += 1) {
    if (siteOf[task]! >= 0 || place(task, proposed[task]!)) continue;
    if (!place(task, everywhere)) return undefined;
  }
  return { siteOf, wasFeasible };
};
