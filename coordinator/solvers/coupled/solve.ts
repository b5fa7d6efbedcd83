/** Coupled assignment, anytime: the exact flow plan first, then tempering (small) or annealing (large) from it, and a bound with its certificate. */
import { QflError } from '../../../shared/errors.ts';
import { seeded } from '../../../shared/seeded.ts';
import { Walker } from './anneal.ts';
import { type CoupledBound, coupledBound, solveLinear } from './bound.ts';
import { checkCoupled, coupledCost, type CoupledInstance } from './instance.ts';
import { smallInstanceOf } from './replica.ts';
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
  /** The bound reaches the cost: no plan is better. */
  readonly proven: boolean;
}

/** Of the time of a small instance, for the bound before the search: the search ends early where it is reached. */
const BOUND_SHARE_SMALL = 0.12;
const BOUND_SHARE_LARGE = 0.25;
const BOUND_STEPS_SMALL = 400;
const BOUND_STEPS_LARGE = 3_000;
/** Above it a walker needs all the time there is to cool once. */
const TEMPERED_TASKS_MAX = 400;
/** Ends of the ladder as shares of the scale: hot moves one proposal in fifteen, cold one in three hundred. */
const COLD_SHARE = 1 / 7;
const HOT_SHARE = 1 / 2;
const COOLED_TO = 1 / 40;
const MOVES_AT_ONE_TEMPERATURE = 10_000;

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
    sum += Math.max(0, most - least);
  }
  return sum / Math.max(1, sampled);
};

/**
 * @returns within one flow solve of `timeMs`, sooner when the plan is proven; never worse than the flow plan
 * @throws QflError `invalid_request` for a malformed instance, `site_unavailable` when not every task finds a slot
 */
export const solveCoupled = (
  instance: CoupledInstance,
  { timeMs, seed, nowMs, boundShare }: CoupledOptions,
): CoupledSolution => {
  checkCoupled(instance);
  const deadlineMs = nowMs() + timeMs;
  const flow = solveLinear(instance.tasks, instance.slotCosts, instance.costs);
  if (flow.siteOf.includes(-1))
    throw new QflError('site_unavailable', {
      detail: 'there are fewer slots than tasks, or a task may go nowhere',
    });
  const flowCost = coupledCost(instance, flow.siteOf);
  const search = instance.tasks <= TEMPERED_TASKS_MAX ? searchSmall : searchLarge;
  const { siteOf, cost, bound } = search(instance, {
    flow,
    flowCost,
    timeMs,
    deadlineMs,
    seed,
    nowMs,
    boundShare,
  });
  return { siteOf, cost, flowCost, bound, proven: bound.bound === cost };
};

interface Search {
  readonly flow: { readonly siteOf: Int32Array; readonly prices: Float64Array };
  readonly flowCost: number;
  readonly timeMs: number;
  readonly deadlineMs: number;
  readonly seed: number;
  readonly nowMs: () => number;
  readonly boundShare: number | undefined;
}

type Found = Pick<CoupledSolution, 'siteOf' | 'cost' | 'bound'>;

/** The bound first, then tempering until it is reached or time is up. */
const searchSmall = (instance: CoupledInstance, search: Search): Found => {
  const { flow, flowCost, timeMs, deadlineMs, seed, nowMs, boundShare = BOUND_SHARE_SMALL } = search;
  const bound = coupledBound(instance, {
    iterationsMax: BOUND_STEPS_SMALL,
    deadlineMs: nowMs() + timeMs * boundShare,
    nowMs,
    target: flowCost,
    prices: flow.prices,
  });
  const [couplings, spread] = [meanCoupling(instance), costSpread(instance) / 4];
  const cold = Math.max(1, Math.min(couplings, spread)) * COLD_SHARE;
  const hot = Math.max(1, couplings, spread) * HOT_SHARE;
  const found = temper(smallInstanceOf(instance), [flow.siteOf], {
    random: seeded(seed),
    cold,
    hot,
    deadlineMs,
    nowMs,
    floor: bound.bound,
  });
  return { ...found, bound };
};

/** Annealing that cools once in the time there is, groups chosen exactly, then the bound. */
const searchLarge = (instance: CoupledInstance, search: Search): Found => {
  const { flow, timeMs, deadlineMs, seed, nowMs, boundShare = BOUND_SHARE_LARGE } = search;
  const searchEndMs = deadlineMs - timeMs * boundShare;
  const walker = new Walker(instance, flow.siteOf, { random: seeded(seed), prices: flow.prices });
  cool(walker, Math.max(meanCoupling(instance), costSpread(instance) / 4, 1) / 2, searchEndMs, nowMs);
  walker.reset(walker.best);
  polish(walker, instance.tasks, searchEndMs + timeMs / 150, nowMs);
  const bound = coupledBound(instance, {
    iterationsMax: BOUND_STEPS_LARGE,
    deadlineMs,
    nowMs,
    target: walker.bestCost,
    prices: flow.prices,
  });
  return { siteOf: walker.best, cost: walker.bestCost, bound };
};

/** The temperature follows the clock, not the moves: on a busy machine, too, it has cooled when time is up. */
const cool = (walker: Walker, hot: number, deadlineMs: number, nowMs: () => number): void => {
  const begunMs = nowMs();
  for (let late = 0; late < 1; late = (nowMs() - begunMs) / (deadlineMs - begunMs)) {
    const temperature = hot * COOLED_TO ** Math.max(0, late);
    walker.run(temperature, temperature, MOVES_AT_ONE_TEMPERATURE, deadlineMs, nowMs);
    if (nowMs() >= deadlineMs) return;
  }
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
