/**
 * One problem, one portfolio: the exact flow first; where its plan keeps within tokens and budget and nothing couples the tasks, it is the optimum and done.
 * Knapsacks that bind go to the generalized-assignment solver with slots priced by the flow, couplings to the coupled one. Whatever they
 * propose is made to fit and scored on the true objective; the best is taken, with the best bound that a certificate proves. Nothing here
 * waits: it runs inline for few tasks and in a worker thread for more (`threads.ts`).
 */
import { type Clock, systemClock } from '../../shared/clock.ts';
import { assert } from '../../shared/errors.ts';
import { coupledBound, SHARE_SCALE } from '../solvers/coupled/bound.ts';
import { coupledCost } from '../solvers/coupled/instance.ts';
import { solveCoupled } from '../solvers/coupled/solve.ts';
import { contendersFlow } from './contenders.ts';
import { keepsKnapsacks, makeFeasible } from './feasible.ts';
import { planGroups } from './groups.ts';
import { independentCost, independentPlan } from './interference.ts';
import { type Knapsack, type PlanningInstance, toInstance } from './instance.ts';
import { planKnapsack } from './knapsack-plan.ts';
import { type Certificate, checkedPlan, type Plan, pricesCertificate, type Proposal } from './plan.ts';
import { checkProblem, type Problem } from './problem.ts';

export interface PortfolioOptions {
  readonly seed: number;
  /** For what is searched: knapsacks and couplings. The flow takes what it takes. 0 searches little, and counts its looks at the clock instead of the time, so that a seed repeats. */
  readonly timeMs: number;
  readonly clock?: Clock;
}

/** A plan with its proof, beside what it has to beat. */
export interface PortfolioPlan extends Plan {
  readonly bound: number;
  /** Everyone for himself (`interference.ts`). */
  readonly independentCost: number;
}

/** Larger instances keep the flow's bound: their knapsack tables would cost seconds. */
const KNAPSACK_TASKS_MAX = 250;
const KNAPSACK_ITERATION_MS = 10;
const BOUND_ITERATIONS = 40;
const BOUND_MS = 4;
/** What a look at the clock counts as where none is looked at. */
const LOOK_MS = 0.02;

const countedMs = (): (() => number) => {
  let looks = 0;
  return () => (looks += 1) * LOOK_MS;
};
const timeOf = ({ timeMs, clock = systemClock }: PortfolioOptions): (() => number) =>
  timeMs === 0 ? countedMs() : () => clock.monotonicMs();

interface Found {
  readonly solver: string;
  readonly siteOf: Int32Array;
  readonly certificates: readonly Certificate[];
}

const scoreOf = ({ instance }: PlanningInstance, siteOf: ArrayLike<number>): number =>
  coupledCost(instance, siteOf);

const best = (planning: PlanningInstance, found: readonly Found[]): Found =>
  found.reduce((least, one) =>
    scoreOf(planning, one.siteOf) < scoreOf(planning, least.siteOf) ? one : least,
  );

/** The knapsack that the flow's plan overdraws most, as a share of its room. */
const tightest = (
  { instance, knapsacks }: PlanningInstance,
  siteOf: ArrayLike<number>,
): Knapsack | undefined => {
  const overdraft = ({ needs, rooms }: Knapsack): number => {
    const used = new Float64Array(instance.sites);
    for (let task = 0; task < instance.tasks; task += 1)
      used[siteOf[task]!]! += needs[task * instance.sites + siteOf[task]!]!;
    return Math.max(
      ...used.map((sum, site) => (rooms[site] === Infinity ? 0 : sum / Math.max(1, rooms[site]!))),
    );
  };
  return knapsacks.toSorted((a, b) => overdraft(b) - overdraft(a))[0];
};

const withKnapsacks = (
  planning: PlanningInstance,
  flow: Found,
  sitePrices: Readonly<Record<string, number>>,
  options: PortfolioOptions,
): Found => {
  const { seed, timeMs } = options;
  const fitted: Found = { ...flow, solver: 'flow, made to fit', siteOf: makeFeasible(planning, flow.siteOf) };
  const knapsack = tightest(planning, flow.siteOf);
  if (knapsack === undefined || planning.instance.tasks > KNAPSACK_TASKS_MAX) return fitted;
  const made = planKnapsack(planning, knapsack, {
    seed,
    timeMs: Math.max(KNAPSACK_ITERATION_MS, timeMs),
    nowMs: timeOf(options),
    sitePrices,
  });
  const certificates = [...flow.certificates, made.certificate];
  const gap: Found[] =
    made.siteOf === null
      ? []
      : [{ solver: 'generalized assignment', siteOf: makeFeasible(planning, made.siteOf), certificates }];
  return { ...best(planning, [fitted, ...gap]), certificates };
};

const sharesCertificate = (
  { siteIds }: PlanningInstance,
  { shares, prices }: { readonly shares: Int32Array; readonly prices: Float64Array },
): Certificate => ({
  kind: 'shares',
  scale: SHARE_SCALE,
  shares,
  prices,
  sitePrices: Object.fromEntries(
    siteIds.map((siteId, at) => [siteId, Math.round((prices[at] ?? 0) / SHARE_SCALE)]),
  ),
});

/** Groups chosen exactly first, which repeats for a seed; then, if there is time and the bound leaves room, the annealing portfolio. */
const withCouplings = (planning: PlanningInstance, options: PortfolioOptions): Found => {
  const { instance } = planning;
  const { seed, timeMs } = options;
  const nowMs = timeOf(options);
  const groups = planGroups(instance, seed);
  const bound = coupledBound(instance, {
    iterationsMax: BOUND_ITERATIONS,
    deadlineMs: nowMs() + BOUND_MS,
    nowMs,
    target: groups.cost,
  });
  const quick: Found = {
    solver: 'coupled',
    siteOf: groups.siteOf,
    certificates: [sharesCertificate(planning, bound)],
  };
  if (timeMs <= 0 || groups.cost <= bound.bound) return quick;
  const solution = solveCoupled(instance, { timeMs, seed, nowMs });
  const certificates = [...quick.certificates, sharesCertificate(planning, solution.bound)];
  return { ...best(planning, [quick, { ...quick, siteOf: solution.siteOf }]), certificates };
};

const search = (problem: Problem, planning: PlanningInstance, options: PortfolioOptions): Found => {
  const { sites, sitePrices } = contendersFlow.solve(problem);
  const prices = pricesCertificate(sitePrices ?? new Map());
  const indexOf = new Map(planning.siteIds.map((siteId, at) => [siteId, at]));
  const flow: Found = {
    solver: 'flow',
    siteOf: Int32Array.from(sites, (siteId) =>
      siteId === null ? planning.siteIds.length : (indexOf.get(siteId) ?? planning.siteIds.length),
    ),
    certificates: [prices],
  };
  const isCoupled = planning.instance.weights.length > 0;
  // A relaxation whose plan keeps the rules is the optimum of what it relaxed.
  if (!isCoupled && keepsKnapsacks(planning, flow.siteOf)) return flow;
  if (!isCoupled) return withKnapsacks(planning, flow, prices.sitePrices, options);
  const coupled = withCouplings(planning, options);
  if (keepsKnapsacks(planning, coupled.siteOf)) return coupled;
  const fitted: Found = {
    ...coupled,
    solver: 'coupled, made to fit',
    siteOf: makeFeasible(planning, coupled.siteOf),
  };
  const knapsacks = withKnapsacks(planning, flow, prices.sitePrices, options);
  return {
    ...best(planning, [fitted, knapsacks]),
    certificates: [...coupled.certificates, ...knapsacks.certificates],
  };
};

const proven = ({ bound, ...plan }: Plan, independent: number): PortfolioPlan => {
  assert(bound !== null, 'the portfolio proves a bound of every plan');
  return { ...plan, bound, independentCost: independent };
};

/**
 * The best plan found, within every limit, and its proven bound.
 * @throws QflError `invalid_request` for a malformed problem
 */
export const solvePortfolio = (problem: Problem, options: PortfolioOptions): PortfolioPlan => {
  checkProblem(problem);
  const planning = toInstance(problem);
  const plan = checkedPlan(problem, options.seed, options.clock ?? systemClock, (): Proposal => {
    const { solver, siteOf, certificates } = search(problem, planning, options);
    return {
      solver,
      sites: Array.from(siteOf, (site) => planning.siteIds[site] ?? null),
      certificates,
    };
  });
  return proven(
    plan,
    problem.tasks.length === 1 ? plan.cost.total : independentCost(planning.instance, planning.knapsacks),
  );
};

/** In arrival order, everyone to his best place that is left: what stands in when nothing better can be had in time. It fits, and says how far off it may be. */
export const standInPlan = (
  problem: Problem,
  { seed, clock = systemClock }: Pick<PortfolioOptions, 'seed' | 'clock'>,
): PortfolioPlan => {
  checkProblem(problem);
  const { instance, knapsacks, siteIds } = toInstance(problem);
  const plan = checkedPlan(problem, seed, clock, () => ({
    solver: 'greedy',
    sites: Array.from(independentPlan(instance, knapsacks), (site) => siteIds[site] ?? null),
    certificates: [pricesCertificate(new Map())],
  }));
  return proven(plan, plan.cost.total);
};
