/**
 * The generalized assignment problem: every job goes to one agent, within each agent's capacity, at the least cost. In the planner a job is a
 * task, an agent a site, and a weight the tokens or budget that the task takes there.
 */
import { QflError } from '../../../shared/errors.ts';

export interface GapInstance {
  readonly agents: number;
  readonly jobs: number;
  /** Agent-major: cost of job j at agent i at i·jobs + j. Integers from 0 to `VALUE_MAX`. */
  readonly costs: Int32Array;
  readonly weights: Int32Array;
  /** One per agent. */
  readonly capacities: Int32Array;
}

/** Sums over 65,536 jobs, times the scale of the multipliers, stay exact in doubles. */
export const VALUE_MAX = 1_000_000_000;
export const CAPACITY_MAX = 1_000_000;

const refuse = (detail: string): never => {
  throw new QflError('invalid_request', { detail: `not a generalized assignment problem: ${detail}` });
};

/** @throws QflError `invalid_request` for sizes that do not agree, and for values that are no integers in range */
export const checkGap = ({ agents, jobs, costs, weights, capacities }: GapInstance): void => {
  if (!(agents >= 1 && jobs >= 0)) refuse('it needs at least one agent');
  if (costs.length !== agents * jobs || weights.length !== agents * jobs || capacities.length !== agents)
    refuse('its parts are not of one size');
  const inRange = (values: Int32Array, most: number): boolean =>
    values.every((value) => value >= 0 && value <= most);
  if (!inRange(costs, VALUE_MAX)) refuse('a cost is negative or above a thousand million');
  if (!inRange(weights, CAPACITY_MAX) || !inRange(capacities, CAPACITY_MAX))
    refuse('a weight or a capacity is negative or above a million');
};

/** Cost of an assignment (agent of each job); NaN when it breaks a capacity or leaves a job out. */
export const gapCost = (
  { agents, jobs, costs, weights, capacities }: GapInstance,
  assignment: ArrayLike<number>,
): number => {
  const load = new Float64Array(agents);
  let cost = 0;
  for (let job = 0; job < jobs; job += 1) {
    const agent = assignment[job];
    if (agent === undefined || !(agent >= 0 && agent < agents)) return Number.NaN;
    cost += costs[agent * jobs + job]!;
    load[agent]! += weights[agent * jobs + job]!;
  }
  return load.every((used, agent) => used <= capacities[agent]!) ? cost : Number.NaN;
};
