/**
 * Coupled plans small enough for the event loop: the exact linear plan, groups chosen exactly until none improves, a fixed number of annealing moves, and
 * groups again. The same seed gives the same plan on any machine, however busy: nothing here looks at a clock.
 */
import { seeded } from '../../shared/seeded.ts';
import { Walker } from '../solvers/coupled/anneal.ts';
import { solveLinear } from '../solvers/coupled/bound.ts';
import { coupledCost, type CoupledInstance } from '../solvers/coupled/instance.ts';

export interface GroupPlan {
  readonly siteOf: Int32Array;
  readonly cost: number;
}

/** About a millisecond. */
const MOVES = 2_000;
const ROUNDS_MAX = 6;

const polish = (walker: Walker, coupled: Iterable<number>): void => {
  const tasks = [...coupled];
  for (let round = 0, improved = true; improved && round < ROUNDS_MAX; round += 1) {
    improved = false;
    for (const task of tasks) improved = walker.chooseGroup(task) || improved;
  }
};

export const planGroups = (instance: CoupledInstance, seed: number, moves = MOVES): GroupPlan => {
  const { siteOf, prices } = solveLinear(instance.tasks, instance.slotCosts, instance.costs);
  const { weights } = instance;
  if (weights.length === 0) return { siteOf, cost: coupledCost(instance, siteOf) };
  const walker = new Walker(instance, siteOf, { random: seeded(seed), prices });
  const coupled = new Set([...instance.first, ...instance.second]);
  polish(walker, coupled);
  if (moves > 0) {
    const hot = Math.max(1, weights.reduce((sum, weight) => sum + Math.abs(weight), 0) / weights.length / 2);
    walker.run(hot, hot / 40, moves, Infinity, () => 0);
    walker.reset(walker.best);
    polish(walker, coupled);
  }
  return { siteOf: walker.best, cost: walker.bestCost };
};
