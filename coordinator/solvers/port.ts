/** A solver as the planner knows it. */
import type { SiteId } from '../../shared/ids.ts';
import type { Problem } from '../planning/problem.ts';

export interface Solution {
  /** Site of each task, in the order of the problem's tasks; null waits. */
  readonly sites: readonly (SiteId | null)[];
  /** A price per site (dual) that proves a lower bound; null when the solver proves nothing. */
  readonly sitePrices: ReadonlyMap<SiteId, number> | null;
}

export interface Solver {
  readonly name: string;
  solve(problem: Problem): Solution;
}
