/** Coupled assignment, anytime: the exact flow plan first, then annealing runs from it with groups chosen exactly, and a bound with its certificate. */
import { assert, QflError } from '../../../shared/errors.ts';
import { seeded } from '../../../shared/seeded.ts';
import { Walker } from './anneal.ts';
import { type CoupledBound, coupledBound, solveLinear } from './bound.ts';
import { checkCoupled, coupledCost, type CoupledInstance } from './instance.ts';
import { temper } from './tempering.ts';

export interface CoupledOptions {
  readonly timeMs: number;
  readonly seed: number;
  readonly nowMs: () => number;
  /** Share of the time for the bound. */
  readonly boundShare?: number;
}

export interface CoupledSolution {
  readonly siteOf: Int32Array;
  readonly cost: number;
  /** Cost of the flow plan, couplings counted but not considered. */
  readonly flowCost: number;
  readonly bound: CoupledBound;
}

const BOUND_SHARE_DEFAULT = 0.3;
/** Above it a walker needs all the time there is to cool once. */
const TEMPERED_TASKS_MAX = 400;
const WALKERS = 5;
const PROBE_MOVES = 20_000;

const meanCoupling = ({ weights }: CoupledInstance): number =>
  weights.reduce((sum, weight) => sum + Math.abs(weight), 0) / Math.max(1, weights.length);

/** Spread of a task's costs over its sites: what a move can change. */
const costSpread = ({ tasks, sites, costs }: CoupledInstance): number => {
  let sum = 0;
  const sampled = Math.min(tasks, 500);
  for (let task = 0; task < sampled; task += 1) {
    let [least, most] = [Infinity, 0];
    for (let site = 0; site < sites; site += 1) {
      const cost = costs[task * sites + site]!;
      if (cost === Infinity) continue;
      least = Math.min(least, cost);
      most = Math.max(most, cost);
    }
    sum += most - least;
  }
  return sum / Math.max(1, sampled);
};

/**
 * @returns within one flow solve of `timeMs`; never worse than the flow plan
 * @throws QflError `invalid_request` for a malformed instance, `site_unavailable` when not every task finds a slot
 */
export const solveCoupled = (
  instance: CoupledInstance,
  { timeMs, seed, nowMs, boundShare = BOUND_SHARE_DEFAULT }: CoupledOptions,
): CoupledSolution => {
  checkCoupled(instance);
  const deadlineMs = nowMs() + timeMs;
  const flow = solveLinear(instance.tasks, instance.slotCosts, instance.costs);
  if (flow.siteOf.includes(-1))
    throw new QflError('site_unavailable', {
      detail: 'there are fewer slots than tasks, or a task may go nowhere',
    });
  const flowCost = coupledCost(instance, flow.siteOf);
  const random = seeded(seed);
  const early = coupledBound(instance, {
    iterationsMax: 100,
    deadlineMs: nowMs() + (timeMs * boundShare) / 2,
    nowMs,
    target: flowCost,
  });
  const searchEndMs = deadlineMs - (timeMs * boundShare) / 2;
  const starts = early.siteOf.includes(-1) ? [flow.siteOf] : [flow.siteOf, early.siteOf];
  const walkers = Array.from(
    { length: instance.tasks <= TEMPERED_TASKS_MAX ? WALKERS : 1 },
    (_, at) => new Walker(instance, starts[at % starts.length]!, { random, prices: flow.prices }),
  );
  const scale = Math.max(meanCoupling(instance), costSpread(instance) / 4, 1);
  const [first] = walkers;
  assert(first !== undefined, 'there is a walker');
  if (walkers.length > 1) polish(first, instance.tasks, searchEndMs, nowMs);
  if (walkers.length > 1)
    temper(walkers, { random, cold: scale / 7, hot: scale * 0.55, deadlineMs: searchEndMs, nowMs });
  else cool(first, scale / 2, searchEndMs, nowMs);
  const best = walkers.reduce((least, one) => (one.bestCost < least.bestCost ? one : least));
  best.reset(best.best);
  polish(best, instance.tasks, searchEndMs + 20, nowMs);
  const late = coupledBound(instance, {
    iterationsMax: 400,
    deadlineMs,
    nowMs,
    target: best.bestCost,
    from: early,
  });
  return { siteOf: best.best, cost: best.bestCost, flowCost, bound: late.bound > early.bound ? late : early };
};

/** One run that fits into the time whole: annealing that is cut off has not cooled. */
const cool = (walker: Walker, hot: number, deadlineMs: number, nowMs: () => number): void => {
  const cold = hot / 40;
  const probeMs = nowMs();
  walker.run(cold, cold, PROBE_MOVES, deadlineMs, nowMs);
  const movesPerMs = PROBE_MOVES / Math.max(0.05, nowMs() - probeMs);
  walker.run(
    hot,
    cold,
    Math.max(1_000, Math.floor((deadlineMs - nowMs()) * movesPerMs * 0.9)),
    deadlineMs,
    nowMs,
  );
};

/** Groups chosen exactly until none improves, or time is up. */
const polish = (walker: Walker, tasks: number, deadlineMs: number, nowMs: () => number): void => {
  for (let improved = true; improved && nowMs() < deadlineMs;) {
    improved = false;
    for (let task = 0; task < tasks; task += 1) {
      if (task % 64 === 0 && nowMs() >= deadlineMs) return;
      improved = walker.chooseGroup(task) || improved;
    }
  }
};
