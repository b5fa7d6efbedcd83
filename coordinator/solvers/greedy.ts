/** The yardstick: every task takes its own cheapest free place in arrival order. Proves nothing. */
import { optionCost, type PlanningTask, type Problem } from '../planning/problem.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Solution, Solver } from './port.ts';

const choose = (task: PlanningTask, slotOf: (siteId: SiteId) => number): SiteId | null => {
  let best: SiteId | null = null;
  let cost = task.waitingCost;
  for (const option of task.options) {
    const total = optionCost(option) + slotOf(option.siteId);
    if (total < cost) [best, cost] = [option.siteId, total];
  }
  return best;
};

export const greedySolver: Solver = {
  name: 'greedy',
  solve({ tasks, sites }: Problem): Solution {
    const slots = new Map(sites.map(({ siteId, slotCosts }) => [siteId, slotCosts]));
    const used = new Map<SiteId, number>();
    const slotOf = (siteId: SiteId): number => slots.get(siteId)?.[used.get(siteId) ?? 0] ?? Infinity;
    const placed = tasks.map((task) => {
      const siteId = choose(task, slotOf);
      if (siteId !== null) used.set(siteId, (used.get(siteId) ?? 0) + 1);
      return siteId;
    });
    return { sites: placed, sitePrices: null };
  },
};
