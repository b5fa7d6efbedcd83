/** The exact flow solver under the names of a planning problem: tasks come, go and change their costs, and the plan stays optimal. */
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import {
  checkProblem,
  checkTask,
  optionCost,
  type PlanningSite,
  type PlanningTask,
  type Problem,
} from '../planning/problem.ts';
import { FlowCore } from './flow-core.ts';
import type { Solution, Solver } from './port.ts';

export class FlowPlan {
  readonly #sites: readonly PlanningSite[];
  readonly #indexOf: ReadonlyMap<SiteId, number>;
  /** Task id → its row in the core. */
  readonly #rows = new Map<string, number>();
  readonly #core: FlowCore;
  readonly #costs: Float64Array;

  constructor(sites: readonly PlanningSite[]) {
    checkProblem({ tasks: [], sites });
    this.#sites = sites;
    this.#indexOf = new Map(sites.map(({ siteId }, at) => [siteId, at]));
    this.#core = new FlowCore(sites.map(({ slotCosts }) => slotCosts));
    this.#costs = new Float64Array(this.#core.nodes);
  }

  /** Adds a task and re-plans exactly. @throws QflError `conflict` when its id is there already, `invalid_request` */
  insert(task: PlanningTask): void {
    if (this.#rows.has(task.taskId))
      throw new QflError('conflict', { detail: 'the task is in the plan already' });
    checkTask(task, this.#indexOf);
    this.#rows.set(task.taskId, this.#core.insert(this.#costsOf(task)));
  }

  /** Takes a task out and re-plans exactly. @throws QflError `not_found` */
  remove(taskId: string): void {
    const row = this.#rowOf(taskId);
    this.#rows.delete(taskId);
    this.#core.remove(row);
  }

  /** The same task with other costs. */
  reprice(task: PlanningTask): void {
    this.remove(task.taskId);
    this.insert(task);
  }

  /** Where a task is planned; null waits. @throws QflError `not_found` */
  siteOf(taskId: string): SiteId | null {
    return this.#sites[this.#core.siteOf(this.#rowOf(taskId))]?.siteId ?? null;
  }

  /** The price of a place at each site: the dual solution, in cost units. */
  sitePrices(): ReadonlyMap<SiteId, number> {
    return new Map(this.#sites.map(({ siteId }, at) => [siteId, this.#core.priceOf(at)]));
  }

  #rowOf(taskId: string): number {
    const row = this.#rows.get(taskId);
    if (row === undefined) throw new QflError('not_found', { detail: 'the task is not in the plan' });
    return row;
  }

  /** One buffer for all tasks: the core copies it. */
  #costsOf({ options, waitingCost }: PlanningTask): Float64Array {
    this.#costs.fill(Infinity);
    for (const option of options) this.#costs[this.#indexOf.get(option.siteId)!] = optionCost(option);
    this.#costs[this.#costs.length - 1] = waitingCost;
    return this.#costs;
  }
}

/** The exact solver of a whole problem: every task inserted in order. */
export const flowSolver: Solver = {
  name: 'flow',
  solve(problem: Problem): Solution {
    const plan = new FlowPlan(problem.sites);
    for (const task of problem.tasks) plan.insert(task);
    return {
      sites: problem.tasks.map(({ taskId }) => plan.siteOf(taskId)),
      sitePrices: plan.sitePrices(),
    };
  },
};
