/**
 * One plan for requests that are open together: the problem they are, and the portfolio's plan of it under the names that the desk uses.
 */
import type { Clock } from '../../shared/clock.ts';
import type { SiteId } from '../../shared/ids.ts';
import { seeded } from '../../shared/seeded.ts';
import {
  APART_SHARE,
  buildProblem,
  type CandidateOptions,
  type CandidateSite,
  type PlanRequest,
} from './candidates.ts';
import {
  type Coupling,
  type CouplingTokens,
  couplingsOf,
  GROUP_LIMITS,
  type GroupLimits,
} from './couplings.ts';
import type { Forecaster } from './predictor.ts';
import { type PortfolioPlan, solvePortfolio } from './portfolio.ts';
import { optionCost, type Problem } from './problem.ts';

export interface BatchPlan extends PortfolioPlan {
  readonly problem: Problem;
  readonly couplings: readonly Coupling[];
  /** Of each request; null waits. */
  readonly sites: readonly (SiteId | null)[];
  readonly sitePrices: ReadonlyMap<SiteId, number>;
}

export interface BatchInput {
  readonly requests: readonly (PlanRequest & CouplingTokens)[];
  readonly sites: readonly CandidateSite[];
  readonly predictor: Forecaster;
  readonly options: CandidateOptions;
  readonly seed: number;
  /** False leaves couplings out. */
  readonly coupled?: boolean;
  readonly groups?: GroupLimits;
}

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

export const batchProblem = (input: BatchInput): Problem => {
  const { requests, sites, predictor, options, seed, coupled = true, groups = GROUP_LIMITS } = input;
  const problem = buildProblem(requests, shuffled(sites, seed), predictor, options);
  if (!coupled || requests.length < 2) return problem;
  const couplings = couplingsOf(requests, couplingWeights(problem, options.affinityShare), groups);
  return couplings.length === 0 ? problem : { ...problem, couplings };
};

export const batchPlan = (problem: Problem, plan: PortfolioPlan): BatchPlan => ({
  ...plan,
  problem,
  couplings: problem.couplings ?? [],
  sites: plan.assignments.map(({ siteId }) => siteId),
  sitePrices: new Map(problem.sites.map(({ siteId }) => [siteId, plan.certificate?.sitePrices[siteId] ?? 0])),
});

/** Problem and plan in one, without a look at a clock: the same seed gives the same plan. @throws QflError `invalid_request` */
export const planBatch = (input: BatchInput & { readonly clock?: Clock }): BatchPlan => {
  const problem = batchProblem(input);
  const { seed, clock } = input;
  return batchPlan(
    problem,
    solvePortfolio(problem, { seed, timeMs: 0, ...(clock === undefined ? {} : { clock }) }),
  );
};
