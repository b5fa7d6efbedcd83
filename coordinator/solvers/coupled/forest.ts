/** Tasks of two sites whose couplings with each other close no cycle: a forest, on which sums over all choices are exact and quick. */
import type { Replica, SmallInstance } from './replica.ts';

/** Tasks freed at once: tables over them grow with its square. */
export const FREE_MAX = 64;
export const NONE = -1;

/** Free tasks are named by position, in the order in which they were freed. */
export class Forest {
  readonly #small: SmallInstance;
  /** By task: its position, or NONE. */
  readonly position: Int32Array;
  readonly task = new Int32Array(FREE_MAX);
  count = 0;
  /** Half-edges, listed by the position they leave from. */
  readonly #firstEdge = new Int32Array(FREE_MAX);
  readonly #nextEdge = new Int32Array(2 * FREE_MAX);
  readonly #end = new Int32Array(2 * FREE_MAX);
  readonly #tie = new Float64Array(2 * FREE_MAX);
  /** Union-find over the trees. */
  readonly #leader = new Int32Array(FREE_MAX);
  /** After `root`: positions, parents before children; the parent of each, NONE for a root, and the weight of their coupling. */
  readonly order = new Int32Array(FREE_MAX);
  readonly parent = new Int32Array(FREE_MAX);
  readonly parentTie = new Float64Array(FREE_MAX);

  constructor(small: SmallInstance) {
    this.#small = small;
    this.position = new Int32Array(small.instance.tasks).fill(NONE);
  }

  /**
   * Frees tasks of two sites, all but those that would close a cycle. Any two numbers in [0, 1) make an order: members are shuffled by their moves.
   * @param from where it begins @param order how long its steps are
   */
  grow({ load, members, stride }: Replica, first: number, second: number, from: number, order: number): void {
    const atFirst = load[first]!;
    const all = atFirst + load[second]!;
    this.count = 0;
    let edges = 0;
    let place = Math.floor(from * all);
    const pace = coprime(1 + Math.floor(order * all), all);
    for (let step = 0; step < all && this.count < FREE_MAX; step += 1) {
      place += pace;
      if (place >= all) place -= all;
      const task =
        place < atFirst ? members[first * stride + place]! : members[second * stride + place - atFirst]!;
      if (this.#mayChoose(task, first, second)) edges = this.#join(task, edges);
    }
  }

  #mayChoose(task: number, first: number, second: number): boolean {
    const { sites, costs } = this.#small.instance;
    return costs[task * sites + first]! < Infinity && costs[task * sites + second]! < Infinity;
  }

  /** Adds the task and its couplings with free ones, unless two of these are of one tree. @returns half-edges there are */
  #join(task: number, edges: number): number {
    const { start, near, weight } = this.#small;
    const end = this.#end;
    const at = this.count;
    let size = edges;
    for (let entry = start[task]!; entry < start[task + 1]!; entry += 1) {
      const other = this.position[near[entry]!]!;
      if (other === NONE) continue;
      const leader = this.#leaderOf(other);
      for (let edge = edges; edge < size; edge += 2)
        if (this.#leaderOf(end[edge + 1]!) === leader) return edges;
      end[size] = at;
      end[size + 1] = other;
      this.#tie[size] = weight[entry]!;
      this.#tie[size + 1] = weight[entry]!;
      size += 2;
    }
    this.#leader[at] = at;
    this.#firstEdge[at] = NONE;
    for (let edge = edges; edge < size; edge += 2) {
      const other = end[edge + 1]!;
      this.#leader[this.#leaderOf(other)] = at;
      this.#nextEdge[edge] = this.#firstEdge[other]!;
      this.#firstEdge[other] = edge;
      this.#nextEdge[edge + 1] = this.#firstEdge[at]!;
      this.#firstEdge[at] = edge + 1;
    }
    this.position[task] = at;
    this.task[at] = task;
    this.count += 1;
    return size;
  }

  #leaderOf(position: number): number {
    let at = position;
    while (this.#leader[at] !== at) at = this.#leader[at]!;
    return at;
  }

  root(): void {
    const parent = this.parent.fill(NONE - 1);
    const order = this.order;
    let size = 0;
    for (let root = 0; root < this.count; root += 1) {
      if (parent[root]! >= NONE) continue;
      parent[root] = NONE;
      this.parentTie[root] = 0;
      let read = size;
      order[size] = root;
      size += 1;
      for (; read < size; read += 1) {
        const at = order[read]!;
        for (let edge = this.#firstEdge[at]!; edge !== NONE; edge = this.#nextEdge[edge]!) {
          const child = this.#end[edge]!;
          if (child === parent[at]) continue;
          parent[child] = at;
          this.parentTie[child] = this.#tie[edge]!;
          order[size] = child;
          size += 1;
        }
      }
    }
  }

  release(): void {
    for (let at = 0; at < this.count; at += 1) this.position[this.task[at]!] = NONE;
    this.count = 0;
  }
}

/** The first from `value` on, around at `of`, that has no factor in common with it: steps of it pass every place. */
const coprime = (value: number, of: number): number => {
  let found = value;
  while (greatestDivisor(found, of) !== 1) found = (found % of) + 1;
  return found;
};

const greatestDivisor = (left: number, right: number): number => {
  let a = left;
  let b = right;
  while (b !== 0) {
    const rest = a % b;
    a = b;
    b = rest;
  }
  return a;
};
