/**
 * What the planner decides: which site serves which task. Linear costs per pair, slots per site whose costs rise with the load
 * (convex), tokens and privacy budget per site (knapsacks), pairs of tasks that gain or lose by sharing a site, pairs that are not allowed,
 * and a price for making a task wait. All costs are integers; the unit is the weighted millisecond, so that sums are exact and a proof of
 * optimality is an equality.
 */
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';

/** What one task at one site costs, by cause; the sum counts. */
export interface CostParts {
  /** Predicted time to answer × weight. */
  readonly latency: number;
  /** What affinity saves (negative) or distance costs. */
  readonly preference: number;
  /** What the site's announced price of these tokens is worth. */
  readonly money?: number;
  /** What leaving the asking site, or drawing on a nearly spent budget, is worth. */
  readonly privacy?: number;
}

export interface TaskOption {
  readonly siteId: SiteId;
  readonly cost: CostParts;
  /** Tokens it takes there while it runs: prompt and answer. */
  readonly tokens?: number;
  /** What it would charge there, in millionths of epsilon. */
  readonly microEpsilon?: number;
}

/** What is added to the plan's cost when both tasks (by their index) share a site: negative rewards it (affinity), positive punishes it. */
export interface Coupling {
  readonly first: number;
  readonly second: number;
  readonly weight: number;
}

export interface PlanningTask {
  readonly taskId: string;
  /** Sites that may serve it: they have the model, policy allows them, nothing excludes them. Each at most once. */
  readonly options: readonly TaskOption[];
  /** Price of leaving it unplaced in this plan. */
  readonly waitingCost: number;
}

export interface PlanningSite {
  readonly siteId: SiteId;
  /** Cost of each free slot, in order; never falls. Its length is the number of free slots. */
  readonly slotCosts: readonly number[];
  /** Tokens that still fit, as the site reports them; without it they do not bind. */
  readonly tokensMax?: number | undefined;
  /** Privacy budget that is left, in millionths of epsilon: a hint, the site's ledger has the word; without it the budget does not bind. */
  readonly microEpsilonMax?: number | undefined;
}

export interface Problem {
  readonly tasks: readonly PlanningTask[];
  readonly sites: readonly PlanningSite[];
  readonly couplings?: readonly Coupling[];
}

/** Sites with room for some of a resource, and what a task takes of it. */
export const RESOURCES = ['tokens', 'microEpsilon'] as const;
export type Resource = (typeof RESOURCES)[number];
export const roomOf = (site: PlanningSite, resource: Resource): number =>
  (resource === 'tokens' ? site.tokensMax : site.microEpsilonMax) ?? Infinity;
export const needOf = (option: TaskOption, resource: Resource): number => option[resource] ?? 0;

export const optionCost = ({ cost }: TaskOption): number =>
  cost.latency + cost.preference + (cost.money ?? 0) + (cost.privacy ?? 0);

/** Sums over 10,000 tasks stay exact in a double. */
export const COST_MAX = 2 ** 36;
export const TASKS_MAX = 65_536;

const refuse = (detail: string): never => {
  throw new QflError('invalid_request', { detail: `not a planning problem: ${detail}` });
};

const checkCost = (value: number, what: string): void => {
  if (!Number.isSafeInteger(value) || Math.abs(value) > COST_MAX)
    refuse(`${what} is not an integer within ±2^36`);
};

/** What time, money and waiting cost is never negative; only a preference saves. */
const checkPrice = (value: number, what: string): void => {
  checkCost(value, what);
  if (value < 0) refuse(`${what} is negative`);
};

const checkAmount = (value: number, what: string): void => {
  if (!Number.isSafeInteger(value) || value < 0) refuse(`${what} is not an amount`);
};

const checkUnique = (ids: readonly string[], what: string): void => {
  if (new Set(ids).size !== ids.length) refuse(`${what} is there twice`);
};

const checkSite = ({ siteId, slotCosts, tokensMax, microEpsilonMax }: PlanningSite): void => {
  if (tokensMax !== undefined) checkAmount(tokensMax, `the token capacity of ${siteId}`);
  if (microEpsilonMax !== undefined) checkAmount(microEpsilonMax, `the budget of ${siteId}`);
  slotCosts.forEach((cost, at) => {
    checkCost(cost, `slot ${at} of ${siteId}`);
    if (at > 0 && cost < slotCosts[at - 1]!) refuse(`slot costs of ${siteId} fall`);
  });
};

/** @throws QflError `invalid_request` unless the task's costs are integers and its sites are among `known` */
export const checkTask = (
  { taskId, options, waitingCost }: PlanningTask,
  known: { has(siteId: SiteId): boolean },
): void => {
  checkCost(waitingCost, `the waiting cost of ${taskId}`);
  checkUnique(
    options.map(({ siteId }) => siteId),
    `an option of ${taskId}`,
  );
  for (const option of options) {
    if (!known.has(option.siteId)) refuse(`${taskId} names a site that is not there`);
    const { latency, money = 0, privacy = 0 } = option.cost;
    for (const price of [latency, money, privacy]) checkPrice(price, `a cost of ${taskId}`);
    checkCost(optionCost(option), `a cost of ${taskId}`);
    for (const resource of RESOURCES) checkAmount(needOf(option, resource), `${resource} of ${taskId}`);
  }
};

const checkCoupling = ({ first, second, weight }: Coupling, tasks: number): void => {
  for (const at of [first, second])
    if (!Number.isInteger(at) || at < 0 || at >= tasks) refuse('a coupling names a task that is not there');
  if (first === second) refuse('a task is coupled to itself');
  checkCost(weight, 'a coupling');
};

/** @throws QflError `invalid_request` */
export const checkProblem = ({ tasks, sites, couplings = [] }: Problem): void => {
  if (tasks.length > TASKS_MAX) refuse(`more than ${TASKS_MAX} tasks`);
  const siteIds = sites.map(({ siteId }) => siteId);
  checkUnique(siteIds, 'a site');
  checkUnique(
    tasks.map(({ taskId }) => taskId),
    'a task',
  );
  for (const site of sites) checkSite(site);
  const known = new Set(siteIds);
  for (const task of tasks) checkTask(task, known);
  for (const coupling of couplings) checkCoupling(coupling, tasks.length);
};
