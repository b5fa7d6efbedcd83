/**
 * Exact assignment by successive shortest paths (Ahuja, Magnanti, Orlin, Network Flows, §9.7) on the condensed graph whose
 * nodes are the sites: an edge a → b is the cheapest move of a task from a to b, an edge a → sink is a's next slot. One task is inserted
 * or deleted at a time, each by one Dijkstra over the sites with potentials kept from before; the plan is optimal after every step, and the
 * potentials are its proof. The last node is a site without limits where tasks wait. Numbers only; `flow.ts` gives it names.
 */
import { assert } from '../../shared/errors.ts';
import { MoveTable } from './move-table.ts';

const NOWHERE = -1;
const SINK = -2;

export class FlowCore {
  readonly #slotCosts: readonly (readonly number[])[];
  /** Sites and the place where tasks wait. */
  readonly nodes: number;
  readonly #table: MoveTable;
  readonly #used: Int32Array;
  /** Cost of each node's next slot, kept beside `#used`. */
  readonly #nextSlot: Float64Array;
  readonly #potential: Float64Array;
  #sinkPotential = 0;
  readonly #label: Float64Array;
  readonly #parent: Int32Array;
  readonly #done: Uint8Array;

  /** @param slotCosts per site, the cost of each slot in order; never falls */
  constructor(slotCosts: readonly (readonly number[])[]) {
    this.#slotCosts = slotCosts;
    this.nodes = slotCosts.length + 1;
    this.#table = new MoveTable(this.nodes);
    this.#used = new Int32Array(this.nodes);
    this.#nextSlot = Float64Array.from({ length: this.nodes }, (_, at) => this.#slotCost(at, 0));
    // Feasible from the start: no potential of a node is below the sink's by more than its first slot costs.
    this.#potential = this.#nextSlot.map((first) => (first === Infinity ? 0 : -first));
    this.#label = new Float64Array(this.nodes);
    this.#parent = new Int32Array(this.nodes);
    this.#done = new Uint8Array(this.nodes);
  }

  /**
   * Adds a task and re-plans exactly; its row.
   * @param costs one per node, the last for waiting (finite); Infinity where not allowed; copied
   */
  insert(costs: Float64Array): number {
    const row = this.#table.add(costs);
    // The task's own potential, so that no label is negative; the same for all, it changes no comparison.
    let own = -Infinity;
    for (let node = 0; node < this.nodes; node += 1)
      own = Math.max(own, this.#potential[node]! - costs[node]!);
    for (let node = 0; node < this.nodes; node += 1)
      this.#label[node] = costs[node]! + own - this.#potential[node]!;
    const end = this.#search(SINK);
    this.#use(end, 1);
    this.#table.place(row, this.#shift(end));
    return row;
  }

  /** Takes a task out and re-plans exactly; its row is free for another. */
  remove(row: number): void {
    const freed = this.#table.siteOf(row);
    this.#table.remove(row);
    for (let node = 0; node < this.nodes; node += 1) {
      const used = this.#used[node]!;
      this.#label[node] =
        used === 0 ? Infinity : this.#sinkPotential - this.#slotCost(node, used - 1) - this.#potential[node]!;
    }
    this.#search(freed);
    this.#use(this.#shift(freed), -1);
  }

  /** Index of the site where a task is planned; `nodes − 1` waits. */
  siteOf(row: number): number {
    return this.#table.siteOf(row);
  }

  /** The price of a place at a site: the dual solution, in cost units. */
  priceOf(site: number): number {
    return this.#sinkPotential - this.#potential[site]!;
  }

  #slotCost(node: number, slot: number): number {
    const slots = this.#slotCosts[node];
    return slots === undefined ? 0 : (slots[slot] ?? Infinity);
  }

  #use(node: number, change: 1 | -1): void {
    this.#used[node]! += change;
    this.#nextSlot[node] = this.#slotCost(node, this.#used[node]!);
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
        best = this.#label[node]!;
        last = node;
        break;
      }
      if (target === SINK) {
        const through =
          this.#label[node]! + this.#nextSlot[node]! + this.#potential[node]! - this.#sinkPotential;
        if (through < best) {
          best = through;
          last = node;
        }
      }
      this.#relax(node, best);
    }
    assert(last !== NOWHERE, 'a task can always wait, so a path always exists');
    this.#raisePotentials(best, target === SINK ? best : 0);
    return last;
  }

  #nearest(): number {
    const label = this.#label;
    const done = this.#done;
    let node = NOWHERE;
    let least = Infinity;
    for (let at = 0; at < this.nodes; at += 1) {
      if (label[at]! < least && done[at] === 0) {
        least = label[at]!;
        node = at;
      }
    }
    return node;
  }

  /** Labels at or above `limit` are never settled, so they need not be exact. */
  #relax(node: number, limit: number): void {
    const label = this.#label;
    const potential = this.#potential;
    const done = this.#done;
    const costs = this.#table.freshRow(node);
    const base = label[node]! + potential[node]!;
    const offset = node * this.nodes;
    for (let next = 0; next < this.nodes; next += 1) {
      const reached = base + costs[offset + next]! - potential[next]!;
      if (reached >= label[next]! || reached >= limit || done[next] === 1) continue;
      label[next] = reached;
      this.#parent[next] = node;
    }
  }

  #raisePotentials(limit: number, sink: number): void {
    for (let node = 0; node < this.nodes; node += 1)
      this.#potential[node]! += Math.min(this.#label[node]!, limit);
    this.#sinkPotential += sink;
  }

  /** Moves one task along every edge of the path that ends in `end`; returns its first node, where a place is free now. */
  #shift(end: number): number {
    let node = end;
    while (this.#parent[node] !== NOWHERE) {
      const from = this.#parent[node]!;
      this.#table.place(this.#table.cheapestMove(from, node), node);
      node = from;
    }
    return node;
  }
}
