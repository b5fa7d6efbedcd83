/**
 * A problem whose tokens or budget bind, as generalized assignment: slots are priced by the flow's duals, one resource keeps its knapsacks, waiting is
 * one more agent with room for everyone. The solver's multipliers, carried back, prove a bound of the whole problem (`verify-plan.ts`).
 */
import { MULTIPLIER_SCALE } from '../solvers/gap/lagrangian.ts';
import { CAPACITY_MAX, type GapInstance, VALUE_MAX } from '../solvers/gap/instance.ts';
import { solveGap } from '../solvers/gap/solve.ts';
import type { Knapsack, PlanningInstance } from './instance.ts';
import type { Certificate } from './plan.ts';

export interface KnapsackOptions {
  readonly seed: number;
  readonly timeMs: number;
  readonly nowMs: () => number;
  /** In cost units, one per site without the waiting place. */
  readonly sitePrices: Readonly<Record<string, number>>;
}

export interface KnapsackPlan {
  /** Site of each task; null when none was found. Slots and other resources are not kept. */
  readonly siteOf: Int32Array | null;
  readonly certificate: Certificate;
}

/** A knapsack is a table over its room: as many columns as this. */
const ROOM_UNITS_MAX = 2_000;

const greatestDivisor = (a: number, b: number): number => {
  while (b > 0) [a, b] = [b, a % b];
  return a;
};

/** Amounts of one unit: exact where the needs share a divisor (sizes come in powers of two), otherwise needs down and rooms up, which only relaxes. */
const unitOf = ({ needs, rooms }: Knapsack): { readonly unit: number; readonly isExact: boolean } => {
  const divisor = needs.reduce(greatestDivisor, 0);
  const widest = rooms.reduce((most, room) => (room === Infinity ? most : Math.max(most, room)), 0);
  const exact = Math.max(1, divisor);
  const isExact = widest / exact <= ROOM_UNITS_MAX;
  return { isExact, unit: isExact ? exact : Math.ceil(widest / ROOM_UNITS_MAX) };
};

interface View {
  readonly instance: GapInstance;
  /** What was taken from each task's costs, and the unit of what is left. */
  readonly bases: Float64Array;
  readonly costUnit: number;
}

const viewOf = (
  { instance, siteIds }: PlanningInstance,
  knapsack: Knapsack,
  { sitePrices }: KnapsackOptions,
): View => {
  const { tasks, sites, costs } = instance;
  const { unit, isExact } = unitOf(knapsack);
  // Sums of needs are whole units where the unit is theirs: what is left of a room below one serves nobody.
  const roomUnits = (room: number): number => (isExact ? Math.floor(room / unit) : Math.ceil(room / unit));
  const priced = (task: number, site: number): number =>
    costs[task * sites + site]! + (site < siteIds.length ? (sitePrices[siteIds[site]!] ?? 0) : 0);
  const bases = new Float64Array(tasks).fill(Infinity);
  let spread = 1;
  for (let task = 0; task < tasks; task += 1) {
    let most = 0;
    for (let site = 0; site < sites; site += 1) {
      const cost = priced(task, site);
      if (cost === Infinity) continue;
      bases[task] = Math.min(bases[task]!, cost);
      most = Math.max(most, cost);
    }
    spread = Math.max(spread, most - bases[task]!);
  }
  const costUnit = Math.ceil(spread / VALUE_MAX);
  const values = new Int32Array(sites * tasks);
  const weights = new Int32Array(sites * tasks);
  // Where a task may not go, it is heavier than any room.
  const rooms = Int32Array.from(knapsack.rooms, (room) =>
    Math.min(CAPACITY_MAX - 1, room === Infinity ? ROOM_UNITS_MAX * 4 : roomUnits(room)),
  );
  for (let site = 0; site < sites; site += 1)
    for (let task = 0; task < tasks; task += 1) {
      const cost = priced(task, site);
      const at = site * tasks + task;
      const isFree = knapsack.rooms[site] === Infinity;
      const need = Math.floor(knapsack.needs[task * sites + site]! / unit);
      weights[at] = cost === Infinity ? CAPACITY_MAX : isFree ? 0 : Math.min(CAPACITY_MAX, need);
      values[at] = cost === Infinity ? VALUE_MAX : Math.floor((cost - bases[task]!) / costUnit);
    }
  return {
    bases,
    costUnit,
    instance: { agents: sites, jobs: tasks, costs: values, weights, capacities: rooms },
  };
};

/** @returns within a search step of `timeMs` */
export const planKnapsack = (
  planning: PlanningInstance,
  knapsack: Knapsack,
  options: KnapsackOptions,
): KnapsackPlan => {
  const { instance, bases, costUnit } = viewOf(planning, knapsack, options);
  const { assignment, multipliers } = solveGap(instance, options);
  return {
    siteOf: assignment,
    certificate: {
      kind: 'multipliers',
      sitePrices: options.sitePrices,
      resource: knapsack.resource,
      scale: MULTIPLIER_SCALE,
      multipliers: Float64Array.from(
        bases,
        (base, task) => base * MULTIPLIER_SCALE + (multipliers[task] ?? 0) * costUnit,
      ),
    },
  };
};
