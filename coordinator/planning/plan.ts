/**
 * A plan as everyone sees it, whichever solver made it: who serves what, what it costs by cause, how far from the best it can be at most, the proof
 * of that, and what it took.
 */
import type { Clock } from '../../shared/clock.ts';
import { assert } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Solver } from '../solvers/port.ts';
import { threadCpuMs } from './cpu.ts';
import { checkProblem, type Problem, type Resource } from './problem.ts';
import { proofOf, verifyPlan } from './verify-plan.ts';

export interface Assignment {
  readonly taskId: string;
  /** null: no allowed site has a place worth its price now. */
  readonly siteId: SiteId | null;
}

/** Weighted milliseconds by cause. */
export interface PlanCost {
  readonly latency: number;
  readonly preference: number;
  readonly load: number;
  readonly money: number;
  readonly privacy: number;
  readonly coupling: number;
  readonly waiting: number;
  readonly total: number;
}

/** The price of a place at each site, in cost units. */
type SitePrices = Readonly<Record<string, number>>;

/** What proves a bound: anyone can recompute it from this and the problem (`verify-plan.ts`). Integers throughout. */
export type Certificate =
  /** Duals of the flow. */
  | { readonly kind: 'prices'; readonly sitePrices: SitePrices }
  /** Couplings shared out between their tasks, and prices in costs times scale; coupling-major, sites in the problem's order, waiting last. */
  | {
      readonly kind: 'shares';
      readonly sitePrices: SitePrices;
      readonly scale: number;
      readonly shares: Int32Array;
      readonly prices: Float64Array;
    }
  /** One multiplier a task, of one over scale, with slots priced and the knapsacks of a resource kept. */
  | {
      readonly kind: 'multipliers';
      readonly sitePrices: SitePrices;
      readonly resource: Resource;
      readonly scale: number;
      readonly multipliers: Float64Array;
    };

export interface Plan {
  readonly solver: string;
  readonly seed: number;
  readonly assignments: readonly Assignment[];
  readonly cost: PlanCost;
  /** No plan costs less; null when the solver proves nothing. */
  readonly bound: number | null;
  /** cost.total − bound; 0 is proven optimal. */
  readonly gap: number | null;
  readonly certificate: Certificate | null;
  readonly createdMs: number;
  readonly wallMs: number;
  /** Of the thread that solved; null where the system does not tell. */
  readonly cpuMs: number | null;
}

export interface Proposal {
  readonly solver: string;
  /** Site of each task, in the problem's order. */
  readonly sites: readonly (SiteId | null)[];
  /** Any number of proofs: the one that proves most is kept. */
  readonly certificates: readonly Certificate[];
}

/** Runs and checks. @throws InvariantError when the proposal breaks the problem or its proof does not hold: a bug of the solver */
export const checkedPlan = (problem: Problem, seed: number, clock: Clock, solve: () => Proposal): Plan => {
  const begunMs = clock.monotonicMs();
  const begunCpuMs = threadCpuMs();
  const { solver, sites, certificates } = solve();
  const wallMs = clock.monotonicMs() - begunMs;
  const endCpuMs = threadCpuMs();
  const { faults, cost } = verifyPlan(problem, sites, null);
  const proofs = certificates.map((certificate) => ({ certificate, ...proofOf(problem, certificate) }));
  const broken = [...faults, ...proofs.flatMap((proof) => proof.faults)];
  assert(broken.length === 0, `solver ${solver}: ${broken.join('; ')}`);
  const { certificate = null, bound = null } =
    proofs.toSorted((left, right) => right.bound - left.bound)[0] ?? {};
  assert(bound === null || bound <= cost.total, `solver ${solver}: the bound is above the cost`);
  return {
    solver,
    seed,
    assignments: problem.tasks.map(({ taskId }, at) => ({ taskId, siteId: sites[at] ?? null })),
    cost,
    bound,
    gap: bound === null ? null : cost.total - bound,
    certificate,
    createdMs: clock.nowMs(),
    wallMs,
    cpuMs: begunCpuMs === null || endCpuMs === null ? null : endCpuMs - begunCpuMs,
  };
};

export const pricesCertificate = (prices: ReadonlyMap<SiteId, number>): Certificate => ({
  kind: 'prices',
  sitePrices: Object.fromEntries(prices),
});

/** One solver alone. @throws QflError `invalid_request` for a malformed problem */
export const makePlan = (problem: Problem, solver: Solver, clock: Clock): Plan => {
  checkProblem(problem);
  return checkedPlan(problem, 0, clock, () => {
    const { sites, sitePrices } = solver.solve(problem);
    return {
      solver: solver.name,
      sites,
      certificates: sitePrices === null ? [] : [pricesCertificate(sitePrices)],
    };
  });
};
