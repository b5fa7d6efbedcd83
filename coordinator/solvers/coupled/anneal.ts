/**
 * Monte Carlo in assignment space: every state is a plan that fits; moves are a shift into a free slot, a swap, a cluster of coupled tasks at once,
 * and an exact choice for a small group. Targets are the sites that the prices make cheap and those where coupled tasks are. One walker cools
 * (annealing, Kirkpatrick, Gelatt, Vecchi 1983); `tempering.ts` holds several at fixed temperatures.
 */
import type { Seeded } from '../../../shared/seeded.ts';
import { type CoupledInstance, coupledCost, type Neighbours, neighboursOf } from './instance.ts';

export interface WalkerOptions {
  readonly random: Seeded;
  /** Price of a place at each site, in cost units, from the flow plan. */
  readonly prices: ArrayLike<number>;
}

/** Sites a task considers besides those of its neighbours. */
const CANDIDATES = 8;
const MOVES_PER_LOOK = 2_000;
/** Of the moves, those that take a whole cluster of coupled tasks along: alone, each of them would pay before it gains. */
const CLUSTER_SHARE = 0.02;
const CLUSTER_MAX = 40;
const GROUP_MAX = 5;
const GROUP_STATES_MAX = 4_096;

/** The cheapest sites of each task at these prices, task-major. */
const candidatesOf = (
  { tasks, sites, costs }: CoupledInstance,
  prices: ArrayLike<number>,
): { readonly width: number; readonly table: Int32Array } => {
  const width = Math.min(CANDIDATES, sites);
  const table = new Int32Array(tasks * width);
  const priced = new Float64Array(width);
  for (let task = 0; task < tasks; task += 1) {
    priced.fill(Infinity);
    const row = task * width;
    for (let site = 0; site < sites; site += 1) {
      const cost = costs[task * sites + site]! + (prices[site] ?? 0);
      // Insertion into the few cheapest so far.
      let at = width;
      while (at > 0 && priced[at - 1]! > cost) at -= 1;
      if (at === width) continue;
      for (let moved = width - 1; moved > at; moved -= 1) {
        priced[moved] = priced[moved - 1]!;
        table[row + moved] = table[row + moved - 1]!;
      }
      priced[at] = cost;
      table[row + at] = site;
    }
  }
  return { width, table };
};

export class Walker {
  readonly #instance: CoupledInstance;
  readonly #near: Neighbours;
  readonly #random: Seeded;
  readonly #candidates: ReturnType<typeof candidatesOf>;
  readonly siteOf: Int32Array;
  readonly #members: number[][];
  readonly #place: Int32Array;
  readonly #sites: number;
  /** Task-major: what couplings add when the task stands at the site, its neighbours where they are. */
  readonly #pull: Float64Array;
  readonly #mark: Uint8Array;
  readonly #going = new Int32Array(CLUSTER_MAX);
  readonly #coming: Int32Array;
  #cost: number;
  best: Int32Array;
  bestCost: number;

  constructor(instance: CoupledInstance, start: Int32Array, options: WalkerOptions) {
    this.#instance = instance;
    this.#near = neighboursOf(instance);
    this.#random = options.random;
    this.#candidates = candidatesOf(instance, options.prices);
    this.siteOf = Int32Array.from(start);
    this.#place = new Int32Array(instance.tasks);
    this.#members = Array.from({ length: instance.sites }, () => []);
    this.#sites = instance.sites;
    this.#pull = new Float64Array(instance.tasks * instance.sites);
    this.#mark = new Uint8Array(instance.tasks);
    this.#coming = new Int32Array(instance.tasks);
    this.#cost = 0;
    this.best = Int32Array.from(start);
    this.bestCost = Infinity;
    this.reset(start);
  }

  get cost(): number {
    return this.#cost;
  }

  reset(start: Int32Array): void {
    this.siteOf.set(start);
    for (const members of this.#members) members.length = 0;
    this.siteOf.forEach((site, task) => {
      this.#place[task] = this.#members[site]!.length;
      this.#members[site]!.push(task);
    });
    this.#pull.fill(0);
    const { start: from, task: near, weight } = this.#near;
    for (let task = 0; task < this.siteOf.length; task += 1)
      for (let at = from[task]!; at < from[task + 1]!; at += 1)
        this.#pull[task * this.#sites + this.siteOf[near[at]!]!]! += weight[at]!;
    this.#cost = coupledCost(this.#instance, this.siteOf);
    this.#keep();
  }

  /** One run from hot to cold. @returns moves tried */
  run(hot: number, cold: number, moves: number, deadlineMs: number, nowMs: () => number): number {
    const random = this.#random;
    const { tasks } = this.#instance;
    const factor = Math.pow(cold / hot, 1 / moves);
    let temperature = hot;
    for (let move = 0; move < moves; move += 1) {
      if (move % MOVES_PER_LOOK === 0 && nowMs() >= deadlineMs) return move;
      const task = random.below(tasks);
      const to = this.#target(task);
      if (to !== this.siteOf[task]) {
        if (random.uniform() < CLUSTER_SHARE) this.#tryCluster(task, to, temperature);
        else this.#try(task, to, temperature);
      }
      temperature *= factor;
    }
    return moves;
  }

  #target(task: number): number {
    const { start, task: near } = this.#near;
    const degree = start[task + 1]! - start[task]!;
    if (degree > 0 && this.#random.uniform() < 0.5)
      return this.siteOf[near[start[task]! + this.#random.below(degree)]!]!;
    const { width, table } = this.#candidates;
    return table[task * width + this.#random.below(width)]!;
  }

  /** What couplings add when the task stands at the site, its neighbours where they are. */
  #coupled(task: number, site: number): number {
    return this.#pull[task * this.#sites + site]!;
  }

  #between(task: number, other: number): number {
    const { start, task: near, weight } = this.#near;
    let sum = 0;
    for (let at = start[task]!; at < start[task + 1]!; at += 1) if (near[at] === other) sum += weight[at]!;
    return sum;
  }

  #accepts(delta: number, temperature: number): boolean {
    return delta <= 0 || this.#random.uniform() < Math.exp(-delta / temperature);
  }

  #try(task: number, to: number, temperature: number): void {
    const { sites, costs, slotCosts } = this.#instance;
    const from = this.siteOf[task]!;
    const entering = costs[task * sites + to]!;
    if (entering === Infinity) return;
    const own = entering - costs[task * sites + from]! + this.#coupled(task, to) - this.#coupled(task, from);
    const toMembers = this.#members[to]!;
    const free = slotCosts[to]![toMembers.length];
    // With the site full, or half of the time, somebody comes back in exchange.
    if (free !== undefined && (toMembers.length === 0 || this.#random.uniform() < 0.5)) {
      const delta = own + free - slotCosts[from]![this.#members[from]!.length - 1]!;
      if (!this.#accepts(delta, temperature)) return;
      this.#move(task, to);
      this.#cost += delta;
    } else {
      if (toMembers.length === 0) return;
      const other = toMembers[this.#random.below(toMembers.length)]!;
      const back = costs[other * sites + from]!;
      if (back === Infinity) return;
      // Their own coupling was counted once for each as if the other had stayed.
      const delta =
        own +
        back -
        costs[other * sites + to]! +
        this.#coupled(other, from) -
        this.#coupled(other, to) -
        2 * this.#between(task, other);
      if (!this.#accepts(delta, temperature)) return;
      this.#move(task, to);
      this.#move(other, from);
      this.#cost += delta;
    }
    this.#keep();
  }

  /** A task and those at its site that rewards tie to it, each tie followed by chance; in the buffer, how many. */
  #growCluster(seed: number, buffer: Int32Array): number {
    const { start, task: near, weight } = this.#near;
    const site = this.siteOf[seed];
    const follow = 0.3 + 0.7 * this.#random.uniform();
    const most = 2 + this.#random.below(CLUSTER_MAX - 1);
    buffer[0] = seed;
    this.#mark[seed] = 1;
    let size = 1;
    for (let read = 0; read < size && size < most; read += 1) {
      const task = buffer[read]!;
      for (let at = start[task]!; at < start[task + 1]! && size < most; at += 1) {
        const other = near[at]!;
        if (weight[at]! >= 0 || this.siteOf[other] !== site || this.#mark[other] === 1) continue;
        if (this.#random.uniform() >= follow) continue;
        this.#mark[other] = 1;
        buffer[size] = other;
        size += 1;
      }
    }
    for (let at = 0; at < size; at += 1) this.#mark[buffer[at]!] = 0;
    return size;
  }

  /** Moves one task whatever the slots say; returns the change without slot costs. */
  #carry(task: number, to: number): number {
    const { sites, costs } = this.#instance;
    const from = this.siteOf[task]!;
    const delta =
      costs[task * sites + to]! -
      costs[task * sites + from]! +
      this.#coupled(task, to) -
      this.#coupled(task, from);
    this.#move(task, to);
    return delta;
  }

  #slotSum(site: number): number {
    const slots = this.#instance.slotCosts[site]!;
    let sum = 0;
    for (let at = 0; at < this.#members[site]!.length; at += 1) sum += slots[at] ?? Infinity;
    return sum;
  }

  /** A cluster to another site; where its slots are taken, clusters of that site come back in exchange. */
  #tryCluster(seed: number, to: number, temperature: number): void {
    const from = this.siteOf[seed]!;
    const room = this.#instance.slotCosts[to]!.length;
    const roomBack = this.#instance.slotCosts[from]!.length;
    const slotsBefore = this.#slotSum(from) + this.#slotSum(to);
    const going = this.#growCluster(seed, this.#going);
    let delta = 0;
    for (let at = 0; at < going; at += 1) delta += this.#carry(this.#going[at]!, to);
    let coming = 0;
    while (this.#members[to]!.length > room && this.#members[from]!.length < roomBack && delta < Infinity) {
      const members = this.#members[to]!;
      const other = members[this.#random.below(members.length)]!;
      // Only the cluster itself is left there: the site is too small for it.
      if (members.length <= going) delta = Infinity;
      if (members.length <= going || this.#isGoing(other, going)) continue;
      this.#coming[coming] = other;
      coming += 1;
      delta += this.#carry(other, from);
    }
    delta += this.#slotSum(from) + this.#slotSum(to) - slotsBefore;
    if (delta < Infinity && this.#accepts(delta, temperature)) {
      this.#cost += delta;
      return this.#keep();
    }
    for (let at = 0; at < coming; at += 1) this.#move(this.#coming[at]!, to);
    for (let at = 0; at < going; at += 1) this.#move(this.#going[at]!, from);
  }

  #isGoing(task: number, going: number): boolean {
    for (let at = 0; at < going; at += 1) if (this.#going[at] === task) return true;
    return false;
  }

  #keep(): void {
    if (this.#cost >= this.bestCost) return;
    this.bestCost = this.#cost;
    this.best.set(this.siteOf);
  }

  #move(task: number, to: number): void {
    const members = this.#members[this.siteOf[task]!]!;
    const last = members.pop()!;
    if (last !== task) {
      members[this.#place[task]!] = last;
      this.#place[last] = this.#place[task]!;
    }
    const from = this.siteOf[task]!;
    this.siteOf[task] = to;
    this.#place[task] = this.#members[to]!.length;
    this.#members[to]!.push(task);
    const { start, task: near, weight } = this.#near;
    for (let at = start[task]!; at < start[task + 1]!; at += 1) {
      const row = near[at]! * this.#sites;
      this.#pull[row + from]! -= weight[at]!;
      this.#pull[row + to]! += weight[at]!;
    }
  }

  /** The best joint choice for a task and its most strongly coupled neighbours, everyone else where they are. */
  chooseGroup(task: number): boolean {
    const group = this.#groupOf(task);
    const { sites } = this.#instance;
    const { width, table } = this.#candidates;
    let per = Math.min(width, Math.floor(GROUP_STATES_MAX ** (1 / group.length)));
    per = Math.max(2, per);
    const options = group.map((one) => {
      const set = new Set<number>(group.map((other) => this.siteOf[other]!));
      for (let at = 0; at < width && set.size < per + 2; at += 1) set.add(table[one * width + at]!);
      return [...set]
        .filter((site) => this.#instance.costs[one * sites + site]! < Infinity)
        .slice(0, per + 1);
    });
    const before = group.map((one) => this.siteOf[one]!);
    const costBefore = this.#cost;
    let [best, bestChoice] = [costBefore, before];
    const choice = Array.from(before);
    const descend = (at: number): void => {
      if (at === group.length) {
        const cost = this.#costOfChoice(group, before, choice, costBefore);
        if (cost < best) [best, bestChoice] = [cost, Array.from(choice)];
        return;
      }
      for (const site of options[at]!) {
        choice[at] = site;
        descend(at + 1);
      }
    };
    descend(0);
    if (best >= costBefore) return false;
    group.forEach((one, at) => this.#move(one, bestChoice[at]!));
    this.#cost = best;
    this.#keep();
    return true;
  }

  #groupOf(task: number): number[] {
    const { start, task: near, weight } = this.#near;
    const order = Array.from({ length: start[task + 1]! - start[task]! }, (_, at) => start[task]! + at)
      .toSorted((left, right) => Math.abs(weight[right]!) - Math.abs(weight[left]!))
      .map((at) => near[at]!);
    return [...new Set([task, ...order])].slice(0, GROUP_MAX);
  }

  #costOfChoice(
    group: readonly number[],
    before: readonly number[],
    choice: readonly number[],
    cost: number,
  ): number {
    const { sites, costs, slotCosts } = this.#instance;
    const { start, task: near, weight } = this.#near;
    let total = cost;
    const load = new Map<number, number>();
    const loadOf = (site: number): number => load.get(site) ?? this.#members[site]!.length;
    group.forEach((_, at) => {
      const site = before[at]!;
      total -= slotCosts[site]![loadOf(site) - 1]!;
      load.set(site, loadOf(site) - 1);
    });
    for (let at = 0; at < group.length; at += 1) {
      const site = choice[at]!;
      const slot = slotCosts[site]![loadOf(site)];
      if (slot === undefined) return Infinity;
      total += slot;
      load.set(site, loadOf(site) + 1);
      const one = group[at]!;
      total += costs[one * sites + site]! - costs[one * sites + before[at]!]!;
      for (let edge = start[one]!; edge < start[one + 1]!; edge += 1) {
        const other = near[edge]!;
        const member = group.indexOf(other);
        // A coupling inside the group is counted from its earlier member.
        if (member >= 0 && member < at) continue;
        const otherBefore = this.siteOf[other]!;
        const otherAfter = member >= 0 ? choice[member]! : otherBefore;
        if (before[at] === otherBefore) total -= weight[edge]!;
        if (site === otherAfter) total += weight[edge]!;
      }
    }
    return total;
  }
}
