/**
 * What the planner decides: which site serves which task. Linear costs per pair, slots per site whose costs rise with the load
 * (convex), pairs that are not allowed, and a price for making a task wait. All costs are integers; the unit is the
 * weighted millisecond, so that sums are exact and a proof of optimality is an equality.
 */
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';

/** What one task at one site costs, by cause; the sum counts. */
export interface CostParts {
  /** Predicted time to answer × weight. */
  readonly latency: number;
  /** What affinity saves (negative) or distance costs. */
  readonly preference: number;
}

export interface TaskOption {
  readonly siteId: SiteId;
  readonly cost: CostParts;
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
}

export interface Problem {
  readonly tasks: readonly PlanningTask[];
  readonly sites: readonly PlanningSite[];
}

export const optionCost = ({ cost }: TaskOption): number => cost.latency + cost.preference;

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

const checkUnique = (ids: readonly string[], what: string): void => {
  if (new Set(ids).size !== ids.length) refuse(`${what} is there twice`);
};

const checkSite = ({ siteId, slotCosts }: PlanningSite): void => {
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
    checkCost(optionCost(option), `a cost of ${taskId}`);
  }
};

/** @throws QflError `invalid_request` */
export const checkProblem = ({ tasks, sites }: Problem): void => {
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
};
