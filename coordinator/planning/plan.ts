/** A plan as everyone sees it: who serves what, what it costs by cause, and how far from the best it can be at most. */
import type { Clock } from '../../shared/clock.ts';
import { assert } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Solution, Solver } from '../solvers/port.ts';
import { checkProblem, type Problem } from './problem.ts';
import { verifyCertificate } from './verify-certificate.ts';

export interface Assignment {
  readonly taskId: string;
  /** null: no allowed site has a place worth its price now. */
  readonly siteId: SiteId | null;
}

export interface PlanCost {
  readonly latency: number;
  readonly preference: number;
  readonly load: number;
  readonly waiting: number;
  readonly total: number;
}

export interface Plan {
  readonly solver: string;
  readonly assignments: readonly Assignment[];
  /** Weighted milliseconds. */
  readonly cost: PlanCost;
  /** No plan costs less; null when the solver proves nothing. */
  readonly bound: number | null;
  /** cost.total − bound; 0 is proven optimal. */
  readonly gap: number | null;
  /** The proof: anyone can recompute `bound` from it and the problem. */
  readonly certificate: { readonly sitePrices: Readonly<Record<string, number>> } | null;
  readonly createdMs: number;
  readonly solveMs: number;
}

const costOf = (problem: Problem, sites: Solution['sites']): PlanCost => {
  const load = new Map<SiteId, number>();
  let latency = 0;
  let preference = 0;
  let waiting = 0;
  problem.tasks.forEach((task, at) => {
    const option = task.options.find(({ siteId }) => siteId === sites[at]);
    if (option === undefined) {
      waiting += task.waitingCost;
      return;
    }
    latency += option.cost.latency;
    preference += option.cost.preference;
    load.set(option.siteId, (load.get(option.siteId) ?? 0) + 1);
  });
  const slots = problem.sites.flatMap(({ siteId, slotCosts }) => slotCosts.slice(0, load.get(siteId) ?? 0));
  const loadCost = slots.reduce((sum, cost) => sum + cost, 0);
  return { latency, preference, load: loadCost, waiting, total: latency + preference + loadCost + waiting };
};

/**
 * Solves and checks. A solver whose plan breaks the problem or whose proof does not hold is a bug and stops here
 * (`InvariantError`); a plan that is merely not optimal shows as its gap.
 * @throws QflError `invalid_request` for a malformed problem
 */
export const makePlan = (problem: Problem, solver: Solver, clock: Clock): Plan => {
  checkProblem(problem);
  const begunMs = clock.monotonicMs();
  const { sites, sitePrices } = solver.solve(problem);
  const solveMs = clock.monotonicMs() - begunMs;
  const check = verifyCertificate(problem, sites, sitePrices);
  assert(check.faults.length === 0, `solver ${solver.name}: ${check.faults.join('; ')}`);
  const cost = costOf(problem, sites);
  assert(cost.total === check.cost, 'cost and its check agree');
  return {
    solver: solver.name,
    assignments: problem.tasks.map(({ taskId }, at) => ({ taskId, siteId: sites[at] ?? null })),
    cost,
    bound: check.bound,
    gap: check.bound === null ? null : cost.total - check.bound,
    certificate: sitePrices === null ? null : { sitePrices: Object.fromEntries(sitePrices) },
    createdMs: clock.nowMs(),
    solveMs,
  };
};
