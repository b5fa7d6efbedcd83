/** A planning problem as arrays: sites by index, waiting as one more site (the last) with room for everyone. */
import type { SiteId } from '../../shared/ids.ts';
import type { CoupledInstance } from '../solvers/coupled/instance.ts';
import type { Coupling } from './couplings.ts';
import { optionCost, type Problem } from './problem.ts';

export interface PlanningInstance {
  readonly instance: CoupledInstance;
  /** Site at each index; the index after the last one waits. */
  readonly siteIds: readonly SiteId[];
}

export const toInstance = ({ tasks, sites }: Problem, couplings: readonly Coupling[]): PlanningInstance => {
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
