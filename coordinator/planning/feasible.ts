/**
 * Any plan made to fit, then better: tasks leave sites whose tokens, budget or slots are overdrawn by the moves that cost least, and shifts and ejections
 * follow while they pay. Works on the true objective with couplings and convex load; the waiting place takes whoever fits nowhere, so there is
 * always a plan.
 */
import { assert } from '../../shared/errors.ts';
import { neighboursOf } from '../solvers/coupled/instance.ts';
import type { PlanningInstance } from './instance.ts';

/** Rounds over all tasks without which a plan may be left: each costs tasks × sites². */
const ROUNDS_MAX = 6;
/** Above it only shifts are tried: ejections look at every task of a site. */
const EJECTING_TASKS_MAX = 400;

const createState = ({ instance, knapsacks }: PlanningInstance, start: ArrayLike<number>) => {
  const { tasks, sites, costs, slotCosts } = instance;
  const near = neighboursOf(instance);
  const siteOf = Int32Array.from(start);
  const load = new Int32Array(sites);
  const used = knapsacks.map(() => new Float64Array(sites));
  const add = (task: number, site: number, by: 1 | -1): void => {
    load[site]! += by;
    knapsacks.forEach(({ needs }, at) => (used[at]![site]! += by * needs[task * sites + site]!));
  };
  siteOf.forEach((site, task) => add(task, site, 1));

  const coupling = (task: number, site: number, without: number): number => {
    let sum = 0;
    for (let at = near.start[task]!; at < near.start[task + 1]!; at += 1)
      if (near.task[at]! !== without && siteOf[near.task[at]!] === site) sum += near.weight[at]!;
    return sum;
  };
  /** Cost of a task at its site beside the others there: what taking it away saves. */
  const ownCost = (task: number): number => {
    const site = siteOf[task]!;
    return (
      costs[task * sites + site]! + (slotCosts[site]![load[site]! - 1] ?? 0) + coupling(task, site, task)
    );
  };
  /** With `without` gone from there. */
  const costAt = (task: number, site: number, without = -1): number => {
    const here = load[site]! - (without >= 0 && siteOf[without] === site ? 1 : 0);
    return costs[task * sites + site]! + (slotCosts[site]![here] ?? Infinity) + coupling(task, site, without);
  };
  const fits = (task: number, site: number): boolean =>
    knapsacks.every(({ needs, rooms }, at) => used[at]![site]! + needs[task * sites + site]! <= rooms[site]!);
  return {
    siteOf,
    tasks,
    sites,
    ownCost,
    costAt,
    fits,
    isOver: (site: number): boolean =>
      load[site]! > slotCosts[site]!.length ||
      knapsacks.some(({ rooms }, at) => used[at]![site]! > rooms[site]!),
    move(task: number, site: number): void {
      add(task, siteOf[task]!, -1);
      siteOf[task] = site;
      add(task, site, 1);
    },
  };
};
type State = ReturnType<typeof createState>;

/** Cheapest other site that takes it. */
const bestOther = (state: State, task: number): { site: number; cost: number } => {
  let best = { site: -1, cost: Infinity };
  for (let site = 0; site < state.sites; site += 1) {
    if (site === state.siteOf[task]) continue;
    const cost = state.costAt(task, site);
    if (cost < best.cost && state.fits(task, site)) best = { site, cost };
  }
  return best;
};

const relieve = (state: State, site: number): void => {
  while (state.isOver(site)) {
    let [leaver, to, least] = [-1, -1, Infinity];
    for (let task = 0; task < state.tasks; task += 1) {
      if (state.siteOf[task] !== site) continue;
      const other = bestOther(state, task);
      const rise = other.cost - state.ownCost(task);
      if (rise < least) [leaver, to, least] = [task, other.site, rise];
    }
    assert(leaver >= 0, 'whoever fits nowhere can wait');
    state.move(leaver, to);
  }
};

/** A task takes the place of another that finds its best one elsewhere, if both together gain. Every step is a move whose cost is exact. */
const eject = (state: State, task: number): boolean => {
  const waiting = state.sites - 1;
  const from = state.siteOf[task]!;
  const leaving = from === waiting ? 0 : state.costAt(task, waiting) - state.ownCost(task);
  state.move(task, waiting);
  for (let other = 0; other < state.tasks; other += 1) {
    const site = state.siteOf[other]!;
    if (other === task || site === waiting || site === from) continue;
    if (leaving + state.costAt(task, site, other) >= state.ownCost(task)) continue;
    const away = bestOther(state, other);
    const moved = away.cost - state.ownCost(other);
    if (away.site < 0) continue;
    state.move(other, away.site);
    const entered = state.costAt(task, site) - state.ownCost(task);
    if (state.fits(task, site) && leaving + moved + entered < 0) {
      state.move(task, site);
      return true;
    }
    state.move(other, site);
  }
  state.move(task, from);
  return false;
};

const improveOnce = (state: State): boolean => {
  let improved = false;
  for (let task = 0; task < state.tasks; task += 1) {
    const { site, cost } = bestOther(state, task);
    if (site >= 0 && cost < state.ownCost(task)) {
      state.move(task, site);
      improved = true;
    } else if (state.tasks <= EJECTING_TASKS_MAX) improved = eject(state, task) || improved;
  }
  return improved;
};

/** @returns site of each task, within slots, tokens and budget */
export const makeFeasible = (planning: PlanningInstance, start: ArrayLike<number>): Int32Array => {
  const state = createState(planning, start);
  for (let site = 0; site < state.sites - 1; site += 1) relieve(state, site);
  for (let round = 0; round < ROUNDS_MAX && improveOnce(state); round += 1);
  return state.siteOf;
};

/** Do sites keep within what they have? */
export const keepsKnapsacks = (
  { instance, knapsacks }: PlanningInstance,
  siteOf: ArrayLike<number>,
): boolean =>
  knapsacks.every(({ needs, rooms }) => {
    const used = new Float64Array(instance.sites);
    for (let task = 0; task < instance.tasks; task += 1)
      used[siteOf[task]!]! += needs[task * instance.sites + siteOf[task]!]!;
    return used.every((sum, site) => sum <= rooms[site]!);
  });
