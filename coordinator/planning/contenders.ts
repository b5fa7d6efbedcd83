/**
 * The exact flow where many tasks wait for few slots. With F free slots, for every site the F tasks with the most to lose (price of waiting − cost there)
 * suffice: a plan that gives one of the site's slots to another task can give it to one of these, unplaced, without loss, since no
 * more than F tasks are placed. The next one is taken along: unplaced, it sets a price that no task left out would pay, so the prices of the small
 * problem prove the whole one.
 */
import { flowSolver } from '../solvers/flow.ts';
import type { Solution, Solver } from '../solvers/port.ts';
import type { PlanningTask, Problem } from './problem.ts';
import { optionCost } from './problem.ts';

const chooseContenders = ({ tasks, sites }: Problem, slots: number): Set<PlanningTask> => {
  const offers = new Map(sites.map(({ siteId }) => [siteId, [] as { task: PlanningTask; lost: number }[]]));
  for (const task of tasks)
    for (const option of task.options)
      offers.get(option.siteId)?.push({ task, lost: task.waitingCost - optionCost(option) });
  const chosen = new Set<PlanningTask>();
  for (const { siteId } of sites) {
    const best = offers.get(siteId)!.toSorted((a, b) => b.lost - a.lost);
    for (const { task } of best.slice(0, slots + 1)) chosen.add(task);
  }
  return chosen;
};

const solve = (problem: Problem): Solution => {
  const slots = problem.sites.reduce((sum, { slotCosts }) => sum + slotCosts.length, 0);
  if (problem.tasks.length <= 2 * slots) return flowSolver.solve(problem);
  const chosen = chooseContenders(problem, slots);
  const few = problem.tasks.filter((task) => chosen.has(task));
  const { sites, sitePrices } = flowSolver.solve({ ...problem, tasks: few });
  const placed = new Map(few.map((task, at) => [task, sites[at] ?? null]));
  return { sites: problem.tasks.map((task) => placed.get(task) ?? null), sitePrices };
};

export const contendersFlow: Solver = { name: 'flow', solve };
