/**
 * One plan for the requests that are open now: the exact flow where nothing couples them, the coupled solver where something does. Whatever solved
 * it, the answer is checked by code that shares nothing with it, and stands beside what everyone for himself would cost.
 */
import { type Clock, systemClock } from '../../shared/clock.ts';
import { assert } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import { seeded } from '../../shared/seeded.ts';
import { coupledBound, SHARE_SCALE } from '../solvers/coupled/bound.ts';
import { buildProblem, type CandidateOptions, type CandidateSite, type PlanRequest } from './candidates.ts';
import { type Coupling, type CouplingTokens, couplingsOf } from './couplings.ts';
import { contendersFlow } from './contenders.ts';
import { planGroups } from './groups.ts';
import { independentCost, type InterferenceReport } from './interference.ts';
import { toInstance } from './instance.ts';
import { makePlan } from './plan.ts';
import type { Predictor } from './predictor.ts';
import { optionCost, type Problem } from './problem.ts';
import { verifyCoupled } from './verify-coupled.ts';

export interface BatchPlan {
  readonly solver: string;
  readonly seed: number;
  readonly problem: Problem;
  readonly couplings: readonly Coupling[];
  /** Of each request; null waits. */
  readonly sites: readonly (SiteId | null)[];
  readonly sitePrices: ReadonlyMap<SiteId, number>;
  readonly interference: InterferenceReport;
  readonly solveMs: number;
}

export interface BatchInput {
  readonly requests: readonly (PlanRequest & CouplingTokens)[];
  readonly sites: readonly CandidateSite[];
  readonly predictor: Predictor;
  readonly options: CandidateOptions;
  readonly seed: number;
  readonly clock?: Clock;
  /** False leaves couplings out. */
  readonly coupled?: boolean;
}

/** Of the event loop's 20 ms. */
const BOUND_MS = 4;
const BOUND_ITERATIONS = 40;
/** Price of keeping two of one conversation apart, and of putting two together that should not meet, as a share of a typical service. */
const APART_SHARE = 0.5;

/** Equal sites are taken in an order drawn for this plan, so that ties spread. */
const shuffled = <T>(values: readonly T[], seed: number): T[] => {
  const random = seeded(seed);
  const copy = [...values];
  for (let at = copy.length - 1; at > 0; at -= 1) {
    const other = random.below(at + 1);
    [copy[at], copy[other]] = [copy[other]!, copy[at]!];
  }
  return copy;
};

/** What a coupling is worth: a share of what the tasks cost on average, so that it fits fast and slow sites alike. */
export const couplingWeights = ({ tasks }: Problem, affinityShare: number) => {
  const costs = tasks.flatMap(({ options }) => options.map(optionCost));
  const mean = costs.reduce((sum, cost) => sum + Math.max(0, cost), 0) / Math.max(1, costs.length);
  return { affinity: -Math.round(affinityShare * mean), apart: Math.round(APART_SHARE * mean) };
};

type Solved = Pick<BatchPlan, 'solver' | 'sites' | 'sitePrices' | 'interference' | 'solveMs'>;

const solveLinear = (problem: Problem, clock: Clock): Solved => {
  const plan = makePlan(problem, contendersFlow, clock);
  assert(plan.bound !== null, 'the exact solver proves its plans');
  const cost = plan.cost.total;
  return {
    solver: plan.solver,
    sites: plan.assignments.map(({ siteId }) => siteId),
    sitePrices: new Map(
      problem.sites.map(({ siteId }) => [siteId, plan.certificate?.sitePrices[siteId] ?? 0]),
    ),
    interference: {
      planCost: cost,
      flowCost: cost,
      bound: plan.bound,
      independentCost: problem.tasks.length === 1 ? cost : independentCost(toInstance(problem, []).instance),
    },
    solveMs: plan.solveMs,
  };
};

const solveTogether = (
  problem: Problem,
  couplings: readonly Coupling[],
  seed: number,
  clock: Clock,
): Solved => {
  const { instance, siteIds } = toInstance(problem, couplings);
  const begunMs = clock.monotonicMs();
  const solution = planGroups(instance, seed);
  // Real time, whatever clock the caller lives on: the bound may take what is left, the plan does not depend on it.
  const bound = coupledBound(instance, {
    iterationsMax: BOUND_ITERATIONS,
    deadlineMs: systemClock.monotonicMs() + BOUND_MS,
    nowMs: () => systemClock.monotonicMs(),
    target: solution.cost,
  });
  const { shares, prices } = bound;
  const check = verifyCoupled({ ...instance, couplings }, solution.siteOf, {
    scale: SHARE_SCALE,
    shares,
    prices,
  });
  assert(
    check.faults.length === 0 && check.cost === solution.cost,
    `coupled plan: ${check.faults.join('; ')}`,
  );
  return {
    solver: 'coupled',
    sites: Array.from(solution.siteOf, (site) => siteIds[site] ?? null),
    sitePrices: new Map(siteIds.map((siteId, at) => [siteId, Math.round((prices[at] ?? 0) / SHARE_SCALE)])),
    interference: {
      planCost: solution.cost,
      flowCost: solution.flowCost,
      bound: check.bound,
      independentCost: independentCost(instance),
    },
    solveMs: clock.monotonicMs() - begunMs,
  };
};

/** @throws QflError `invalid_request` for requests that are no planning problem */
export const planBatch = ({
  requests,
  sites,
  predictor,
  options,
  seed,
  clock = systemClock,
  coupled = true,
}: BatchInput): BatchPlan => {
  const problem = buildProblem(requests, shuffled(sites, seed), predictor, options);
  const couplings =
    coupled && requests.length > 1
      ? couplingsOf(requests, couplingWeights(problem, options.affinityShare))
      : [];
  const solved =
    couplings.length === 0 ? solveLinear(problem, clock) : solveTogether(problem, couplings, seed, clock);
  return { ...solved, problem, couplings, seed };
};
