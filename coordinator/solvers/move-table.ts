/**
 * The cheapest move of a task from each node to each other, kept as a dense table: what enters a node can only lower entries of its row,
 * what leaves makes those entries stale that it was the cheapest of, and a stale entry is found anew, by a pass over the tasks at the
 * node, when it is next read. A heap for every pair took four times as long: most of what it orders is never asked for.
 */
import { assert } from '../../shared/errors.ts';

const NOBODY = -1;
const ROWS_MIN = 64;

export class MoveTable {
  readonly #nodes: number;
  /** Task-major: cost of task t at node n at t·nodes + n; Infinity where not allowed. */
  #costs: Float64Array;
  #siteOf: Int32Array;
  /** Where each task stands among the members of its node. */
  #place: Int32Array;
  #rows = 0;
  readonly #free: number[] = [];
  readonly #members: number[][];
  readonly #moveCost: Float64Array;
  readonly #moveTask: Int32Array;
  readonly #stale: Uint8Array;
  /** Stale entries of each row. */
  readonly #staleCount: Int32Array;

  constructor(nodes: number) {
    this.#nodes = nodes;
    this.#costs = new Float64Array(ROWS_MIN * nodes);
    this.#siteOf = new Int32Array(ROWS_MIN);
    this.#place = new Int32Array(ROWS_MIN);
    this.#members = Array.from({ length: nodes }, () => []);
    this.#moveCost = new Float64Array(nodes * nodes).fill(Infinity);
    this.#moveTask = new Int32Array(nodes * nodes).fill(NOBODY);
    this.#stale = new Uint8Array(nodes * nodes);
    this.#staleCount = new Int32Array(nodes);
  }

  /** A task that is nowhere yet; its row. @param costs one per node, copied */
  add(costs: Float64Array): number {
    const row = this.#free.pop() ?? this.#rows++;
    if (row >= this.#siteOf.length) this.#grow();
    this.#costs.set(costs, row * this.#nodes);
    this.#siteOf[row] = NOBODY;
    return row;
  }

  siteOf(row: number): number {
    return this.#siteOf[row]!;
  }

  /** Moves a task to a node, from wherever it was. */
  place(row: number, node: number): void {
    if (this.#siteOf[row] !== NOBODY) this.#leave(row);
    this.#siteOf[row] = node;
    this.#place[row] = this.#members[node]!.length;
    this.#members[node]!.push(row);
    const nodes = this.#nodes;
    const costs = this.#costs;
    const here = costs[row * nodes + node]!;
    for (let other = 0; other < nodes; other += 1) {
      const entry = node * nodes + other;
      const cost = costs[row * nodes + other]! - here;
      if (cost >= this.#moveCost[entry]! || other === node) continue;
      // Cheaper than what was cheapest before it went stale, hence than all that stayed.
      this.#moveCost[entry] = cost;
      this.#moveTask[entry] = row;
      this.#refresh(node, entry);
    }
  }

  remove(row: number): void {
    this.#leave(row);
    this.#siteOf[row] = NOBODY;
    this.#free.push(row);
  }

  /** The table; the entries node·nodes + other of this node are exact when it returns. */
  freshRow(node: number): Float64Array {
    if (this.#staleCount[node] !== 0) {
      for (let other = 0; other < this.#nodes; other += 1) {
        const entry = node * this.#nodes + other;
        if (this.#stale[entry] === 1) this.#find(node, other, entry);
      }
    }
    return this.#moveCost;
  }

  /** The task that moves from one node to another at the least cost. */
  cheapestMove(from: number, to: number): number {
    const entry = from * this.#nodes + to;
    if (this.#stale[entry] === 1) this.#find(from, to, entry);
    const row = this.#moveTask[entry]!;
    assert(row !== NOBODY, 'an edge of the path has its task');
    return row;
  }

  #leave(row: number): void {
    const nodes = this.#nodes;
    const node = this.#siteOf[row]!;
    const members = this.#members[node]!;
    const last = members.pop()!;
    if (last !== row) {
      members[this.#place[row]!] = last;
      this.#place[last] = this.#place[row]!;
    }
    for (let entry = node * nodes; entry < (node + 1) * nodes; entry += 1) {
      if (this.#moveTask[entry] !== row || this.#stale[entry] === 1) continue;
      this.#stale[entry] = 1;
      this.#staleCount[node]! += 1;
    }
  }

  #refresh(node: number, entry: number): void {
    if (this.#stale[entry] === 0) return;
    this.#stale[entry] = 0;
    this.#staleCount[node]! -= 1;
  }

  #find(node: number, other: number, entry: number): void {
    const nodes = this.#nodes;
    const costs = this.#costs;
    let least = Infinity;
    let task = NOBODY;
    for (const row of this.#members[node]!) {
      const cost = costs[row * nodes + other]! - costs[row * nodes + node]!;
      if (cost >= least) continue;
      least = cost;
      task = row;
    }
    this.#moveCost[entry] = least;
    this.#moveTask[entry] = task;
    this.#refresh(node, entry);
  }

  #grow(): void {
    const rows = this.#siteOf.length * 2;
    const grown = <Kind extends Float64Array | Int32Array>(into: Kind, from: Kind): Kind => {
      into.set(from);
      return into;
    };
    this.#costs = grown(new Float64Array(rows * this.#nodes), this.#costs);
    this.#siteOf = grown(new Int32Array(rows), this.#siteOf);
    this.#place = grown(new Int32Array(rows), this.#place);
  }
}
