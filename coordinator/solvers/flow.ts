/**
 * Exact assignment by successive shortest paths (Ahuja, Magnanti, Orlin, Network Flows, §9.7) on the condensed graph whose
 * nodes are the sites: an edge a → b is the cheapest move of a task from a to b, an edge a → sink is a's next slot. One task is inserted,
 * deleted or re-priced at a time, each by one Dijkstra over the sites with potentials kept from before; the plan is optimal
 * after every step, and the potentials are its proof. The last node is a site without limits where tasks wait.
 */
import { assert, QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import {
  checkProblem,
  checkTask,
  optionCost,
  type PlanningSite,
  type PlanningTask,
  type Problem,
} from '../planning/problem.ts';
import { MoveHeap } from './move-heap.ts';
import type { Solution, Solver } from './port.ts';

interface FlowTask {
  site: number;
  /** Cost at each node; Infinity where not allowed. */
  readonly costs: Float64Array;
}

const NOWHERE = -1;
const SINK = -2;

export class FlowPlan {
  readonly #sites: readonly PlanningSite[];
  readonly #nodes: number;
  readonly #indexOf: ReadonlyMap<SiteId, number>;
  readonly #tasks = new Map<string, FlowTask>();
  readonly #used: Int32Array;
  readonly #potential: Float64Array;
  #sinkPotential = 0;
  readonly #moves: readonly (readonly MoveHeap<FlowTask>[])[];
  readonly #label: Float64Array;
  readonly #parent: Int32Array;
  readonly #done: Uint8Array;

  constructor(sites: readonly PlanningSite[]) {
    checkProblem({ tasks: [], sites });
    this.#sites = sites;
    this.#nodes = sites.length + 1;
    this.#indexOf = new Map(sites.map(({ siteId }, at) => [siteId, at]));
    this.#used = new Int32Array(this.#nodes);
    // Feasible from the start: no potential of a node is below the sink's by more than its first slot costs.
    this.#potential = Float64Array.from({ length: this.#nodes }, (_, at) => {
      const first = this.#slotCost(at, 0);
      return first === Infinity ? 0 : -first;
    });
    this.#moves = Array.from({ length: this.#nodes }, (_, from) =>
      Array.from({ length: this.#nodes }, () => new MoveHeap<FlowTask>(from)),
    );
    this.#label = new Float64Array(this.#nodes);
    this.#parent = new Int32Array(this.#nodes);
    this.#done = new Uint8Array(this.#nodes);
  }

  /** Adds a task and re-plans exactly. @throws QflError `conflict` when its id is there already, `invalid_request` */
  insert(task: PlanningTask): void {
    if (this.#tasks.has(task.taskId))
      throw new QflError('conflict', { detail: 'the task is in the plan already' });
    checkTask(task, this.#indexOf);
    const flow: FlowTask = { site: NOWHERE, costs: this.#costsOf(task) };
    this.#tasks.set(task.taskId, flow);
    // The task's own potential, so that no label is negative; the same for all, it changes no comparison.
    let own = -Infinity;
    for (let node = 0; node < this.#nodes; node += 1) {
      own = Math.max(own, this.#potential[node]! - flow.costs[node]!);
    }
    for (let node = 0; node < this.#nodes; node += 1) {
      this.#label[node] = flow.costs[node]! + own - this.#potential[node]!;
    }
    const end = this.#search(SINK);
    this.#used[end]! += 1;
    this.#shift(end, flow);
  }

  /** Takes a task out and re-plans exactly. @throws QflError `not_found` */
  remove(taskId: string): void {
    const flow = this.#tasks.get(taskId);
    if (flow === undefined) throw new QflError('not_found', { detail: 'the task is not in the plan' });
    this.#tasks.delete(taskId);
    const freed = flow.site;
    flow.site = NOWHERE;
    for (let node = 0; node < this.#nodes; node += 1) {
      const used = this.#used[node]!;
      const refund = used === 0 ? Infinity : -this.#slotCost(node, used - 1);
      this.#label[node] =
        refund === Infinity ? Infinity : refund + this.#sinkPotential - this.#potential[node]!;
    }
    this.#search(freed);
    const begin = this.#shift(freed, undefined);
    this.#used[begin]! -= 1;
  }

  /** The same task with other costs. */
  reprice(task: PlanningTask): void {
    this.remove(task.taskId);
    this.insert(task);
  }

  /** Where a task is planned; null waits. @throws QflError `not_found` */
  siteOf(taskId: string): SiteId | null {
    const flow = this.#tasks.get(taskId);
    if (flow === undefined) throw new QflError('not_found', { detail: 'the task is not in the plan' });
    return this.#sites[flow.site]?.siteId ?? null;
  }

  /** The price of a place at each site: the dual solution, in cost units. */
  sitePrices(): ReadonlyMap<SiteId, number> {
    return new Map(this.#sites.map(({ siteId }, at) => [siteId, this.#sinkPotential - this.#potential[at]!]));
  }

  #costsOf({ options, waitingCost }: PlanningTask): Float64Array {
    const costs = new Float64Array(this.#nodes).fill(Infinity);
    for (const option of options) costs[this.#indexOf.get(option.siteId)!] = optionCost(option);
    costs[this.#nodes - 1] = waitingCost;
    return costs;
  }

  #slotCost(node: number, slot: number): number {
    const site = this.#sites[node];
    return site === undefined ? 0 : (site.slotCosts[slot] ?? Infinity);
  }

  /**
   * Dijkstra from the labels that stand, until `target` is settled; then moves the potentials. Returns the last node before the
   * sink, or the target. Dense, because nearly every pair of sites has an edge.
   */
  #search(target: number): number {
    this.#done.fill(0);
    this.#parent.fill(NOWHERE);
    let best = Infinity;
    let last = NOWHERE;
    for (;;) {
      const node = this.#nearest();
      if (node === NOWHERE || this.#label[node]! >= best) break;
      this.#done[node] = 1;
      if (node === target) {
        [best, last] = [this.#label[node]!, node];
        break;
      }
      if (target === SINK) {
        const through =
          this.#label[node]! +
          this.#slotCost(node, this.#used[node]!) +
          this.#potential[node]! -
          this.#sinkPotential;
        if (through < best) [best, last] = [through, node];
      }
      this.#relax(node);
    }
    assert(last !== NOWHERE, 'a task can always wait, so a path always exists');
    this.#raisePotentials(best, target === SINK ? best : 0);
    return last;
  }

  #nearest(): number {
    let node = NOWHERE;
    let label = Infinity;
    for (let at = 0; at < this.#nodes; at += 1) {
      if (this.#done[at] === 0 && this.#label[at]! < label) [node, label] = [at, this.#label[at]!];
    }
    return node;
  }

  #relax(node: number): void {
    const base = this.#label[node]! + this.#potential[node]!;
    const moves = this.#moves[node]!;
    for (let next = 0; next < this.#nodes; next += 1) {
      if (this.#done[next] === 1) continue;
      const label = base + moves[next]!.minCost() - this.#potential[next]!;
      if (label >= this.#label[next]!) continue;
      this.#label[next] = label;
      this.#parent[next] = node;
    }
  }

  #raisePotentials(limit: number, sink: number): void {
    for (let node = 0; node < this.#nodes; node += 1) {
      this.#potential[node]! += Math.min(this.#label[node]!, limit);
    }
    this.#sinkPotential += sink;
  }

  /** Moves one task along every edge of the path that ends in `end`; `first` enters at its start, which is returned. */
  #shift(end: number, first: FlowTask | undefined): number {
    let node = end;
    while (this.#parent[node] !== NOWHERE) {
      const from = this.#parent[node]!;
      const task = this.#moves[from]![node]!.minTask();
      assert(task !== undefined, 'an edge of the path has its task');
      this.#place(task, node);
      node = from;
    }
    if (first !== undefined) this.#place(first, node);
    return node;
  }

  #place(task: FlowTask, site: number): void {
    task.site = site;
    const here = task.costs[site]!;
    for (let other = 0; other < this.#nodes; other += 1) {
      if (other !== site && task.costs[other]! < Infinity) {
        this.#moves[site]![other]!.push(task.costs[other]! - here, task);
      }
    }
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
