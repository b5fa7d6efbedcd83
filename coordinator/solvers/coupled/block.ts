/**
 * Two sites dealt anew at one blow. Of the tasks at both, as many are freed as close no cycle of couplings; where each of them goes is drawn from the
 * Gibbs distribution over all ways that fit, by dynamic programming over the trees they form and over how many are at the first site (sampling of trees:
 * Hamze, de Freitas 2004). Single moves would have to climb for what this does in ten microseconds: sites that exchange whole groups.
 */
import { FREE_MAX, Forest, NONE } from './forest.ts';
import type { Replica, SmallInstance } from './replica.ts';

/** Counts less likely than this share of the likeliest are dropped from a table: 1e-10 left no count that fits in one deal of ten. */
const KEPT_LEAST = 1e-60;
/** Where the greatest entry of a table falls below it, the table is scaled. Growing is no danger: at most twice with each of 64 tasks. */
const SCALED_BELOW = 1e-30;
/** Of the range of excesses, for a tilt with as many below as are at the first site. */
const TILT_HALVINGS = 7;
const UNIT = 1 / 2 ** 32;
/** One entry for each label and count of every table a tree can grow through, with a margin for the tables of single tasks. */
const POOL = 4 * (FREE_MAX + 4) * (FREE_MAX + 4);

/**
 * A table holds, for each count of tasks at the first site from `least` to `least + span`, how likely it is when the
 * task itself is at the second site and when it is at the first: two numbers a count.
 */
export class Block {
  readonly #small: SmallInstance;
  readonly #forest: Forest;
  #noise = 1;
  /** Weights of standing with the parent and apart from it. */
  readonly #same = new Float64Array(FREE_MAX);
  readonly #apart = new Float64Array(FREE_MAX);
  /** What the first site costs a task more than the second, free neighbours left out. */
  readonly #excess = new Float64Array(FREE_MAX);
  readonly #pool = new Float64Array(POOL);
  #poolEnd = 0;
  /** The table of a position, or, at FREE_MAX, of all trees together; and by child, that of its parent before the child was merged into it. */
  readonly #table = new Int32Array(FREE_MAX + 1);
  readonly #least = new Int32Array(FREE_MAX + 1);
  readonly #span = new Int32Array(FREE_MAX + 1);
  readonly #tableBefore = new Int32Array(FREE_MAX);
  readonly #leastBefore = new Int32Array(FREE_MAX);
  readonly #spanBefore = new Int32Array(FREE_MAX);
  /** Children in the order opposite to that of merging. */
  readonly #lastChild = new Int32Array(FREE_MAX + 1);
  readonly #earlierChild = new Int32Array(FREE_MAX);
  readonly #odds = new Float64Array(FREE_MAX + 2);
  readonly #drawnCount = new Int32Array(FREE_MAX + 1);
  readonly #drawnLabel = new Uint8Array(FREE_MAX + 1);

  constructor(small: SmallInstance) {
    this.#small = small;
    this.#forest = new Forest(small);
  }

  /** @param noise state of a xorshift generator, not zero @returns its state after */
  deal(replica: Replica, first: number, second: number, temperature: number, noise: number): number {
    this.#noise = noise;
    this.#forest.grow(replica, first, second, this.#uniform(), this.#uniform());
    if (this.#forest.count > 0) {
      const tilt = this.#price(replica, first, second);
      this.#forest.root();
      this.#mergeTrees(tilt, temperature);
      if (this.#drawTotal(replica, first, second, tilt, temperature)) {
        this.#drawDown();
        this.#settle(replica, first, second);
      }
    }
    this.#forest.release();
    return this.#noise;
  }

  #uniform(): number {
    let x = this.#noise;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#noise = x;
    return (x >>> 0) * UNIT;
  }

  /** Each free task's excess, and a price of a place at the first site near which as many as now would choose it: it keeps likely counts in range. */
  #price({ siteOf, field }: Replica, first: number, second: number): number {
    const { start, near, weight, instance } = this.#small;
    const { count, task: tasks, position } = this.#forest;
    let atFirst = 0;
    let low = Infinity;
    let high = -Infinity;
    for (let at = 0; at < count; at += 1) {
      const task = tasks[at]!;
      let excess = field[task * instance.sites + first]! - field[task * instance.sites + second]!;
      if (siteOf[task] === first) atFirst += 1;
      low = Math.min(low, excess);
      high = Math.max(high, excess);
      this.#odds[at] = excess;
      for (let entry = start[task]!; entry < start[task + 1]!; entry += 1) {
        const other = near[entry]!;
        if (position[other] === NONE) continue;
        excess += siteOf[other] === first ? -weight[entry]! : weight[entry]!;
      }
      this.#excess[at] = excess;
    }
    for (let halving = 0; halving < TILT_HALVINGS; halving += 1) {
      const middle = (low + high) / 2;
      let below = 0;
      for (let at = 0; at < count; at += 1) below += this.#odds[at]! < middle ? 1 : 0;
      if (below < atFirst) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  #mergeTrees(tilt: number, temperature: number): void {
    const pool = this.#pool;
    for (let at = 0; at < this.#forest.count; at += 1) {
      const excess = (this.#excess[at]! - tilt) / temperature;
      const table = 4 * at;
      // At the second site it counts 0, at the first 1.
      pool[table] = excess < 0 ? Math.exp(excess) : 1;
      pool[table + 1] = 0;
      pool[table + 2] = 0;
      pool[table + 3] = excess > 0 ? Math.exp(-excess) : 1;
      this.#table[at] = table;
      this.#least[at] = 0;
      this.#span[at] = 1;
      this.#lastChild[at] = NONE;
    }
    // All trees hang on one more position that is always at the second site and counts nothing.
    const table = 4 * this.#forest.count;
    pool[table] = 1;
    pool[table + 1] = 0;
    this.#table[FREE_MAX] = table;
    this.#least[FREE_MAX] = 0;
    this.#span[FREE_MAX] = 0;
    this.#lastChild[FREE_MAX] = NONE;
    this.#poolEnd = table + 2;
    for (let step = this.#forest.count - 1; step >= 0; step -= 1) {
      const child = this.#forest.order[step]!;
      const parent = this.#forest.parent[child]!;
      const tie = this.#forest.parentTie[child]! / temperature;
      // Of the two only the ratio counts.
      this.#same[child] = tie > 0 ? Math.exp(-tie) : 1;
      this.#apart[child] = tie < 0 ? Math.exp(tie) : 1;
      this.#merge(child, parent === NONE ? FREE_MAX : parent);
    }
  }

  /** The parent's table with the child's tree in it: a convolution over counts. Cut short: see KEPT_LEAST. */
  #merge(child: number, parent: number): void {
    const pool = this.#pool;
    const same = this.#same[child]!;
    const apart = this.#apart[child]!;
    const below = this.#table[child]!;
    const span = this.#span[child]!;
    const before = this.#table[parent]!;
    const beforeEnd = before + 2 * this.#span[parent]!;
    const table = this.#poolEnd;
    const tableEnd = table + 2 * (span + this.#span[parent]!);
    for (let at = table; at <= tableEnd + 1; at += 1) pool[at] = 0;
    for (let count = 0; count <= span; count += 1) {
      const second = pool[below + 2 * count]!;
      const first = pool[below + 2 * count + 1]!;
      const withSecond = second * same + first * apart;
      const withFirst = first * same + second * apart;
      let to = table + 2 * count;
      for (let from = before; from <= beforeEnd; from += 2, to += 2) {
        pool[to]! += withSecond * pool[from]!;
        pool[to + 1]! += withFirst * pool[from + 1]!;
      }
    }
    this.#tableBefore[child] = before;
    this.#leastBefore[child] = this.#least[parent]!;
    this.#spanBefore[child] = this.#span[parent]!;
    this.#earlierChild[child] = this.#lastChild[parent]!;
    this.#lastChild[parent] = child;
    this.#least[parent]! += this.#least[child]!;
    this.#keep(parent, table, tableEnd);
  }

  /** Cuts what is too unlikely off the ends of the new table, and scales it where it would leave the range of numbers. */
  #keep(parent: number, table: number, tableEnd: number): void {
    const pool = this.#pool;
    let most = 0;
    for (let at = table; at <= tableEnd + 1; at += 1) if (pool[at]! > most) most = pool[at]!;
    const least = most * KEPT_LEAST;
    let low = table;
    let high = tableEnd;
    while (low < high && pool[low]! < least && pool[low + 1]! < least) low += 2;
    while (low < high && pool[high]! < least && pool[high + 1]! < least) high -= 2;
    if (most < SCALED_BELOW && most > 0) for (let at = low; at <= high + 1; at += 1) pool[at]! /= most;
    this.#least[parent]! += (low - table) >> 1;
    this.#span[parent] = (high - low) >> 1;
    this.#table[parent] = low;
    this.#poolEnd = high + 2;
  }

  /** How many of the free tasks the first site takes, slots and the tilt counted; false where no count in the table fits. */
  #drawTotal(replica: Replica, first: number, second: number, tilt: number, temperature: number): boolean {
    const { slotCosts } = this.#small.instance;
    const [slotsFirst, slotsSecond] = [slotCosts[first]!, slotCosts[second]!];
    let now = 0;
    for (let at = 0; at < this.#forest.count; at += 1)
      if (replica.siteOf[this.#forest.task[at]!] === first) now += 1;
    const fixedFirst = replica.load[first]! - now;
    const bothLoads = replica.load[first]! + replica.load[second]!;
    const most = this.#least[FREE_MAX]! + this.#span[FREE_MAX]!;
    const low = Math.max(this.#least[FREE_MAX]!, bothLoads - fixedFirst - slotsSecond.length);
    const high = Math.min(most, slotsFirst.length - fixedFirst);
    if (low > high) return false;
    const table = this.#table[FREE_MAX]! - 2 * this.#least[FREE_MAX]!;
    let sum = 0;
    let slots = 0;
    for (let count = low; count <= high; count += 1) {
      const odds = this.#pool[table + 2 * count]! * Math.exp(-(slots + tilt * (count - now)) / temperature);
      this.#odds[count] = odds;
      sum += odds;
      if (count === high) break;
      slots += slotsFirst[fixedFirst + count]! - slotsSecond[bothLoads - fixedFirst - count - 1]!;
    }
    if (!(sum > 0 && sum < Infinity)) return false;
    this.#drawnCount[FREE_MAX] = this.#pick(low, high, sum);
    this.#drawnLabel[FREE_MAX] = 0;
    return true;
  }

  /** A count by its odds. */
  #pick(low: number, high: number, sum: number): number {
    let rest = this.#uniform() * sum;
    let count = low;
    for (; count < high; count += 1) {
      rest -= this.#odds[count]!;
      if (rest < 0) break;
    }
    return count;
  }

  /** From the roots down: how many of each subtree are at the first site, and which. */
  #drawDown(): void {
    this.#drawChildren(FREE_MAX);
    for (let step = 0; step < this.#forest.count; step += 1) this.#drawChildren(this.#forest.order[step]!);
  }

  #drawChildren(parent: number): void {
    const pool = this.#pool;
    const label = this.#drawnLabel[parent]!;
    let rest = this.#drawnCount[parent]!;
    for (let child = this.#lastChild[parent]!; child !== NONE; child = this.#earlierChild[child]!) {
      const same = this.#same[child]!;
      const apart = this.#apart[child]!;
      const least = this.#least[child]!;
      const leastBefore = this.#leastBefore[child]!;
      const low = Math.max(least, rest - leastBefore - this.#spanBefore[child]!);
      const high = Math.min(least + this.#span[child]!, rest - leastBefore);
      const below = this.#table[child]! - 2 * least + label;
      const other = 1 - 2 * label;
      const before = this.#tableBefore[child]! - 2 * leastBefore + label;
      let sum = 0;
      for (let count = low; count <= high; count += 1) {
        const entry = below + 2 * count;
        const odds =
          (pool[entry]! * same + pool[entry + other]! * apart) * pool[before + 2 * (rest - count)]!;
        this.#odds[count] = odds;
        sum += odds;
      }
      const count = this.#pick(low, high, sum);
      const together = pool[below + 2 * count]! * same;
      const either = together + pool[below + 2 * count + other]! * apart;
      this.#drawnCount[child] = count;
      this.#drawnLabel[child] = this.#uniform() * either < together ? label : 1 - label;
      rest -= count;
    }
  }

  #settle(replica: Replica, first: number, second: number): void {
    const { sites, slotCosts } = this.#small.instance;
    const { siteOf, load, field } = replica;
    const [slotsFirst, slotsSecond] = [slotCosts[first]!, slotCosts[second]!];
    const before = load[first]!;
    const beforeSecond = load[second]!;
    let drawn = 0;
    for (let at = 0; at < this.#forest.count; at += 1) drawn += this.#drawnLabel[at]!;
    // Odds too small for a number may have drawn labels that do not sum to the total, and the total is what fits.
    if (drawn !== this.#drawnCount[FREE_MAX]) return;
    let change = 0;
    for (let at = 0; at < this.#forest.count; at += 1) {
      const task = this.#forest.task[at]!;
      const from = siteOf[task]!;
      const to = this.#drawnLabel[at] === 1 ? first : second;
      if (to === from) continue;
      change += field[task * sites + to]! - field[task * sites + from]!;
      replica.move(task, to);
    }
    const more = load[first]! - before;
    for (let step = 0; step < more; step += 1)
      change += slotsFirst[before + step]! - slotsSecond[beforeSecond - 1 - step]!;
    for (let step = 0; step < -more; step += 1)
      change += slotsSecond[beforeSecond + step]! - slotsFirst[before - 1 - step]!;
    replica.cost += change;
    replica.keep();
  }
}
