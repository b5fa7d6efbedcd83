/**
 * Local search for generalized assignment: shifts, and ejection chains of two (a job enters an agent and pushes another out, swaps among them;
 * Yagiura, Ibaraki, Glover 2004), on cost plus a price for overload that rises while the plan is too full and falls while it fits.
 */
import type { Seeded } from '../../../shared/seeded.ts';
import type { GapInstance } from './instance.ts';

const PENALTY_UP = 1.25;
const PENALTY_DOWN = 0.9;
const KICKED_MIN = 2;
const KICKED_SPREAD = 5;

export class GapSearch {
  readonly #instance: GapInstance;
  readonly #random: Seeded;
  readonly #agentOf: Int32Array;
  readonly #load: Float64Array;
  /** Jobs of each agent, and where each job stands among them. */
  readonly #members: number[][];
  readonly #place: Int32Array;
  readonly #order: Int32Array;
  #penalty: number;
  #cost = 0;
  #overload = 0;
  #best: Int32Array | undefined;
  #bestCost = Infinity;

  constructor(instance: GapInstance, random: Seeded) {
    this.#instance = instance;
    this.#random = random;
    this.#agentOf = new Int32Array(instance.jobs).fill(-1);
    this.#load = new Float64Array(instance.agents);
    this.#members = Array.from({ length: instance.agents }, () => []);
    this.#place = new Int32Array(instance.jobs);
    this.#order = Int32Array.from({ length: instance.jobs }, (_, at) => at);
    const mean = instance.costs.reduce((sum, cost) => sum + cost, 0) / Math.max(1, instance.costs.length);
    const weight = instance.weights.reduce((sum, one) => sum + one, 0) / Math.max(1, instance.weights.length);
    this.#penalty = Math.max(1, mean / Math.max(1, weight));
  }

  /** Of the best plan that fits; Infinity before there is one. */
  get bestCost(): number {
    return this.#bestCost;
  }
  get best(): Int32Array | undefined {
    return this.#best;
  }

  /** Starts from a relaxed plan: each job at its cheapest taker, or where it costs and fits best. */
  startFrom(chosen: Uint8Array, multipliers: Float64Array): void {
    const { agents, jobs, costs, weights, capacities } = this.#instance;
    this.#clear();
    const waiting: number[] = [];
    for (let job = 0; job < jobs; job += 1) {
      let taker = -1;
      for (let agent = 0; agent < agents; agent += 1) {
        if (chosen[agent * jobs + job] === 0) continue;
        if (taker < 0 || costs[agent * jobs + job]! < costs[taker * jobs + job]!) taker = agent;
      }
      if (taker < 0) waiting.push(job);
      else this.#put(job, taker);
    }
    // Dear jobs first: they have the most to lose.
    waiting.sort((left, right) => multipliers[right]! - multipliers[left]!);
    for (const job of waiting) {
      let target = 0;
      let least = Infinity;
      for (let agent = 0; agent < agents; agent += 1) {
        const over = Math.max(0, this.#load[agent]! + weights[agent * jobs + job]! - capacities[agent]!);
        const price = costs[agent * jobs + job]! + this.#penalty * 4 * over;
        if (price < least) {
          least = price;
          target = agent;
        }
      }
      this.#put(job, target);
    }
    this.#descend();
  }

  /** Back to the best plan, a few jobs thrown at random, and down again. */
  step(): void {
    if (this.#best !== undefined && this.#random.uniform() < 0.3) this.#restore(this.#best);
    const { agents, jobs } = this.#instance;
    const kicked = KICKED_MIN + this.#random.below(KICKED_SPREAD);
    for (let kick = 0; kick < kicked; kick += 1)
      this.#move(this.#random.below(jobs), this.#random.below(agents));
    this.#descend();
    this.#penalty = Math.max(
      0.01,
      Math.min(1e9, this.#penalty * (this.#overload > 0 ? PENALTY_UP : PENALTY_DOWN)),
    );
  }

  #clear(): void {
    this.#agentOf.fill(-1);
    this.#load.fill(0);
    for (const members of this.#members) members.length = 0;
    this.#cost = 0;
    this.#overload = 0;
  }

  #restore(assignment: Int32Array): void {
    this.#clear();
    assignment.forEach((agent, job) => this.#put(job, agent));
  }

  #over(agent: number, load: number): number {
    const over = load - this.#instance.capacities[agent]!;
    return over > 0 ? over : 0;
  }

  #put(job: number, agent: number): void {
    const at = agent * this.#instance.jobs + job;
    this.#overload -= this.#over(agent, this.#load[agent]!);
    this.#load[agent]! += this.#instance.weights[at]!;
    this.#overload += this.#over(agent, this.#load[agent]!);
    this.#cost += this.#instance.costs[at]!;
    this.#agentOf[job] = agent;
    this.#place[job] = this.#members[agent]!.length;
    this.#members[agent]!.push(job);
  }

  #take(job: number): void {
    const agent = this.#agentOf[job]!;
    const at = agent * this.#instance.jobs + job;
    this.#overload -= this.#over(agent, this.#load[agent]!);
    this.#load[agent]! -= this.#instance.weights[at]!;
    this.#overload += this.#over(agent, this.#load[agent]!);
    this.#cost -= this.#instance.costs[at]!;
    const members = this.#members[agent]!;
    const last = members.pop()!;
    if (last !== job) {
      members[this.#place[job]!] = last;
      this.#place[last] = this.#place[job]!;
    }
  }

  #move(job: number, agent: number): void {
    if (this.#agentOf[job] === agent) return;
    this.#take(job);
    this.#put(job, agent);
  }

  #keep(): void {
    if (this.#overload > 0 || this.#cost >= this.#bestCost) return;
    this.#bestCost = this.#cost;
    this.#best = Int32Array.from(this.#agentOf);
  }

  /** Until no shift and no chain of two lowers the priced cost. */
  #descend(): void {
    this.#keep();
    let improved = true;
    while (improved) {
      improved = false;
      this.#shuffle();
      for (const job of this.#order) {
        while (this.#improve(job)) {
          improved = true;
          this.#keep();
        }
      }
    }
  }

  #shuffle(): void {
    const order = this.#order;
    for (let at = order.length - 1; at > 0; at -= 1) {
      const other = this.#random.below(at + 1);
      const kept = order[at]!;
      order[at] = order[other]!;
      order[other] = kept;
    }
  }

  /** The best shift of a job, or the best chain it begins; false when none lowers the priced cost. */
  #improve(job: number): boolean {
    const { agents, jobs, costs, weights } = this.#instance;
    const from = this.#agentOf[job]!;
    const cost = costs[from * jobs + job]!;
    const fromLoad = this.#load[from]! - weights[from * jobs + job]!;
    const relief = this.#over(from, fromLoad) - this.#over(from, this.#load[from]!);
    const penalty = this.#penalty;
    let best = -1e-9;
    let target = -1;
    let pushed = -1;
    let pushedTo = -1;
    for (let to = 0; to < agents; to += 1) {
      if (to === from) continue;
      const entering = weights[to * jobs + job]!;
      const toLoad = this.#load[to]! + entering;
      const toOver = this.#over(to, this.#load[to]!);
      const base = costs[to * jobs + job]! - cost + penalty * relief;
      const shift = base + penalty * (this.#over(to, toLoad) - toOver);
      if (shift < best) {
        best = shift;
        target = to;
        pushed = -1;
      }
      for (const other of this.#members[to]!) {
        const otherWeight = weights[to * jobs + other]!;
        const partial =
          base - costs[to * jobs + other]! + penalty * (this.#over(to, toLoad - otherWeight) - toOver);
        if (partial >= best) continue;
        for (let last = 0; last < agents; last += 1) {
          if (last === to) continue;
          const load = last === from ? fromLoad : this.#load[last]!;
          const over = this.#over(last, load + weights[last * jobs + other]!) - this.#over(last, load);
          const total = partial + costs[last * jobs + other]! + penalty * over;
          if (total >= best) continue;
          best = total;
          target = to;
          pushed = other;
          pushedTo = last;
        }
      }
    }
    if (target < 0) return false;
    this.#move(job, target);
    if (pushed >= 0) this.#move(pushed, pushedTo);
    return true;
  }
}
