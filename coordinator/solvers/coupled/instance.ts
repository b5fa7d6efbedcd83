/**
 * Assignment with couplings: every task at one site, slots whose cost rises with the load, and pairs of tasks that cost more or less when they
 * share a site (a session or a prefix rewards it, redundancy and anti-affinity punish it). A quadratic generalized assignment problem.
 */
import { QflError } from '../../../shared/errors.ts';

export interface CoupledInstance {
  readonly tasks: number;
  readonly sites: number;
  /** Task-major: cost of task t at site s at t·sites + s; Infinity where it may not go. Otherwise integers. */
  readonly costs: Float64Array;
  /** Per site, the cost of each slot in order; never falls. */
  readonly slotCosts: readonly (readonly number[])[];
  /** Couplings: both tasks, and what is added when they share a site. */
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly weights: Float64Array;
}

/** Sums of costs below it stay exact, 256 times as large and with prices on top: 2^41. */
const COST_SUM_MAX = 2 ** 41;

/** The largest cost of every task, every coupling and every slot that could be taken. */
const costSum = ({ tasks, sites, costs, slotCosts, weights }: CoupledInstance): number => {
  let sum = weights.reduce((total, weight) => total + Math.abs(weight), 0);
  for (const slots of slotCosts) for (const slot of slots.slice(0, tasks)) sum += Math.abs(slot);
  for (let row = 0; row < tasks * sites; row += sites) {
    let most = 0;
    for (let at = row; at < row + sites; at += 1)
      if (costs[at]! < Infinity) most = Math.max(most, Math.abs(costs[at]!));
    sum += most;
  }
  return sum;
};

const refuse = (detail: string): never => {
  throw new QflError('invalid_request', { detail: `not a coupled assignment problem: ${detail}` });
};

/** @throws QflError `invalid_request` */
export const checkCoupled = (instance: CoupledInstance): void => {
  const { tasks, sites, costs, slotCosts, first, second, weights } = instance;
  if (sites < 1) refuse('it has no site');
  if (costs.length !== tasks * sites || slotCosts.length !== sites) refuse('its parts are not of one size');
  if (first.length !== second.length || first.length !== weights.length) refuse('a coupling is not whole');
  for (let at = 0; at < first.length; at += 1) {
    const [a, b] = [first[at] ?? -1, second[at] ?? -1];
    if (a < 0 || b < 0 || a >= tasks || b >= tasks) refuse('a coupling names a task that is not there');
    if (a === b) refuse('a task is coupled to itself');
  }
  if (!weights.every(Number.isSafeInteger)) refuse('a coupling is not an integer');
  if (!costs.every((cost) => cost === Infinity || Number.isSafeInteger(cost)))
    refuse('a cost is not an integer');
  for (const slots of slotCosts) {
    if (!slots.every(Number.isSafeInteger)) refuse('a slot cost is not an integer');
    if (slots.some((cost, at) => at > 0 && cost < slots[at - 1]!)) refuse('slot costs fall');
  }
  if (costSum(instance) > COST_SUM_MAX) refuse('its costs are too large to be added exactly');
};

/** Cost of an assignment (site of each task); Infinity when it breaks a rule. */
export const coupledCost = (instance: CoupledInstance, siteOf: ArrayLike<number>): number => {
  const { tasks, sites, costs, slotCosts, first, second, weights } = instance;
  const load = new Int32Array(sites);
  let cost = 0;
  for (let task = 0; task < tasks; task += 1) {
    const site = siteOf[task]!;
    cost += costs[task * sites + site]! + (slotCosts[site]![load[site]!] ?? Infinity);
    load[site]! += 1;
  }
  for (let at = 0; at < weights.length; at += 1)
    if (siteOf[first[at]!] === siteOf[second[at]!]) cost += weights[at]!;
  return cost;
};

/** Neighbours of every task in one array: those of task t lie from `start[t]` to `start[t + 1]`. */
export interface Neighbours {
  readonly start: Int32Array;
  readonly task: Int32Array;
  readonly weight: Float64Array;
}

export const neighboursOf = ({ tasks, first, second, weights }: CoupledInstance): Neighbours => {
  const start = new Int32Array(tasks + 1);
  for (let at = 0; at < weights.length; at += 1) {
    start[first[at]! + 1]! += 1;
    start[second[at]! + 1]! += 1;
  }
  for (let task = 0; task < tasks; task += 1) start[task + 1]! += start[task]!;
  const fill = Int32Array.from(start);
  const task = new Int32Array(2 * weights.length);
  const weight = new Float64Array(2 * weights.length);
  for (let at = 0; at < weights.length; at += 1) {
    for (const [one, other] of [
      [first[at]!, second[at]!],
      [second[at]!, first[at]!],
    ] as const) {
      task[fill[one]!] = other;
      weight[fill[one]!] = weights[at]!;
      fill[one]! += 1;
    }
  }
  return { start, task, weight };
};
