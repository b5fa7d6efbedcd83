/** A planning problem as arrays: sites by index, waiting as one more site (the last) with room for everyone. */
import type { SiteId } from '../../shared/ids.ts';
import type { CoupledInstance } from '../solvers/coupled/instance.ts';
import { needOf, optionCost, type Problem, type Resource, RESOURCES, roomOf } from './problem.ts';

/** What tasks take of one resource, and what sites have of it. */
export interface Knapsack {
  readonly resource: Resource;
  /** Task-major, as costs; 0 where a task may not go. */
  readonly needs: Float64Array;
  /** One per site, the waiting place last; Infinity where it does not bind. */
  readonly rooms: Float64Array;
}

export interface PlanningInstance {
  readonly instance: CoupledInstance;
  /** Only those that some site has a limit of. */
  readonly knapsacks: readonly Knapsack[];
  /** Site at each index; the index after the last one waits. */
  readonly siteIds: readonly SiteId[];
}

const knapsackOf = (
  { tasks, sites }: Problem,
  resource: Resource,
  indexOf: ReadonlyMap<SiteId, number>,
): Knapsack | undefined => {
  const rooms = Float64Array.from([...sites.map((site) => roomOf(site, resource)), Infinity]);
  if (rooms.every((room) => room === Infinity)) return undefined;
  const needs = new Float64Array(tasks.length * rooms.length);
  tasks.forEach(({ options }, task) => {
    for (const option of options)
      needs[task * rooms.length + indexOf.get(option.siteId)!] = needOf(option, resource);
  });
  return { resource, needs, rooms };
};

export const toInstance = (problem: Problem): PlanningInstance => {
  const { tasks, sites, couplings = [] } = problem;
  const siteIds = sites.map(({ siteId }) => siteId);
  const width = siteIds.length + 1;
  const indexOf = new Map(siteIds.map((siteId, at) => [siteId, at]));
  const costs = new Float64Array(tasks.length * width).fill(Infinity);
  tasks.forEach(({ options, waitingCost }, task) => {
    for (const option of options) costs[task * width + indexOf.get(option.siteId)!] = optionCost(option);
    costs[task * width + width - 1] = waitingCost;
  });
  return {
    siteIds,
    knapsacks: RESOURCES.flatMap((resource) => knapsackOf(problem, resource, indexOf) ?? []),
    instance: {
      tasks: tasks.length,
      sites: width,
      costs,
      slotCosts: [...sites.map(({ slotCosts }) => slotCosts), tasks.map(() => 0)],
      first: Int32Array.from(couplings, ({ first }) => first),
      second: Int32Array.from(couplings, ({ second }) => second),
      weights: Float64Array.from(couplings, ({ weight }) => weight),
    },
  };
};
