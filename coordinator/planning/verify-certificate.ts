/**
 * Checks a plan against nothing but the problem: is every task where it may be, within the slots, and do the prices prove the
 * bound? Weak duality of the assignment problem: for any prices p, no plan costs less than
 *   Σ_tasks min(waiting, min_sites(cost + p)) + Σ_slots min(0, slot cost − p).
 * A plan whose cost equals the bound is optimal. Shares no code with any solver.
 */
import type { SiteId } from '../../shared/ids.ts';
import { optionCost, type Problem } from './problem.ts';

export interface CertificateCheck {
  readonly faults: readonly string[];
  /** True cost of the assignment; meaningful without faults. */
  readonly cost: number;
  /** What the prices prove; null without prices. */
  readonly bound: number | null;
}

export const lowerBound = ({ tasks, sites }: Problem, prices: ReadonlyMap<SiteId, number>): number => {
  let bound = 0;
  for (const { options, waitingCost } of tasks) {
    let cheapest = waitingCost;
    for (const option of options) {
      cheapest = Math.min(cheapest, optionCost(option) + (prices.get(option.siteId) ?? 0));
    }
    bound += cheapest;
  }
  for (const { siteId, slotCosts } of sites) {
    const price = prices.get(siteId) ?? 0;
    for (const slotCost of slotCosts) bound += Math.min(0, slotCost - price);
  }
  return bound;
};

/** Never throws: what is wrong is in `faults`. */
export const verifyCertificate = (
  problem: Problem,
  assigned: readonly (SiteId | null)[],
  prices: ReadonlyMap<SiteId, number> | null,
): CertificateCheck => {
  const faults: string[] = [];
  if (assigned.length !== problem.tasks.length) faults.push('not one place per task');
  const load = new Map<SiteId, number>();
  let cost = 0;
  problem.tasks.forEach((task, at) => {
    const siteId = assigned[at] ?? null;
    if (siteId === null) {
      cost += task.waitingCost;
      return;
    }
    const option = task.options.find((candidate) => candidate.siteId === siteId);
    if (option === undefined) faults.push(`${task.taskId} is at a site that is not allowed`);
    else cost += optionCost(option);
    load.set(siteId, (load.get(siteId) ?? 0) + 1);
  });
  for (const { siteId, slotCosts } of problem.sites) {
    const used = load.get(siteId) ?? 0;
    if (used > slotCosts.length) faults.push(`${siteId} has ${used} tasks in ${slotCosts.length} slots`);
    for (const slotCost of slotCosts.slice(0, used)) cost += slotCost;
  }
  const bound = prices === null ? null : lowerBound(problem, prices);
  if (bound !== null && !Number.isSafeInteger(bound)) faults.push('the prices are not integers');
  if (bound !== null && bound > cost) faults.push('the bound is above the cost');
  return { faults, cost, bound };
};
