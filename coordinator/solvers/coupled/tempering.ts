/**
 * Parallel tempering (Swendsen, Wang 1986; Geyer 1991) for small instances: replicas at fixed temperatures that trade places, so that a plan stuck when
 * cold is shaken where it is hot and comes back. Between trades each makes blind moves and deals the tasks of two sites anew: with both, the optimum of
 * 100 tasks was there two to three times sooner than with moves alone, and trading often counts as much. What the cold ones hold is quenched beside them, on a copy, and mixed with the best plan known;
 * neither is fed back: replicas that copy each other stop searching.
 */
import type { Seeded } from '../../../shared/seeded.ts';
import { Block } from './block.ts';
import { Mixer } from './mixing.ts';
import { Replica, type SmallInstance } from './replica.ts';
import { Seen } from './seen.ts';

export interface TemperingOptions {
  readonly random: Seeded;
  readonly cold: number;
  readonly hot: number;
  readonly deadlineMs: number;
  readonly nowMs: () => number;
  /** A cost that cannot be beaten: reached, the search ends. */
  readonly floor: number;
}

export interface Tempered {
  readonly siteOf: Int32Array;
  readonly cost: number;
}

/** A deal takes about five times as long as they do. */
const PROPOSALS_BETWEEN_TRADES = 100;
const ROUNDS_BETWEEN_QUENCHES = 6;
const QUENCH_DEALS = 10;
/** Between neighbours on the ladder: one in five to one in two trades is taken. */
const RUNG = 1.27;
const REPLICAS_MIN = 4;
const REPLICAS_MAX = 16;
const QUENCH_PROPOSALS = 1_000;
/** Of the cold end, what is left of the temperature in a quench. */
const QUENCH_SHARE = 0.7;
const QUENCHED_REPLICAS = 2;
const QUENCHES_BETWEEN_MIXES = 4;
const QUENCHES_BETWEEN_SIGHTINGS = 64;

export const ladderOf = (cold: number, hot: number): number[] => {
  const rungs = Math.ceil(1 + Math.log(hot / cold) / Math.log(RUNG));
  const count = Math.min(REPLICAS_MAX, Math.max(REPLICAS_MIN, rungs));
  return Array.from({ length: count }, (_, at) => cold * (hot / cold) ** (at / (count - 1)));
};

/** The best plan seen, by whomever. */
class Record {
  readonly siteOf: Int32Array;
  cost = Infinity;

  constructor(tasks: number) {
    this.siteOf = new Int32Array(tasks);
  }

  offer(siteOf: Int32Array, cost: number): void {
    if (cost >= this.cost) return;
    this.cost = cost;
    this.siteOf.set(siteOf);
  }
}

/** Deals and moves at one temperature, and the state of their generator. */
class Walk {
  readonly #sites: number;
  readonly #block: Block;
  readonly #random: Seeded;
  #noise: number;

  constructor(small: SmallInstance, random: Seeded) {
    this.#sites = small.instance.sites;
    this.#block = new Block(small);
    this.#random = random;
    this.#noise = random.next() | 1;
  }

  run(replica: Replica, temperature: number, proposals: number, deals: number): void {
    for (let deal = 0; deal < deals && this.#sites > 1; deal += 1) {
      const first = this.#random.below(this.#sites);
      const second = (first + 1 + this.#random.below(this.#sites - 1)) % this.#sites;
      this.#noise = this.#block.deal(replica, first, second, temperature, this.#noise);
    }
    this.#noise = replica.run(temperature, proposals, this.#noise);
  }
}

/** Walks until the deadline or the floor. @param starts plans that fit, at least one */
export const temper = (
  small: SmallInstance,
  starts: readonly Int32Array[],
  { random, cold, hot, deadlineMs, nowMs, floor }: TemperingOptions,
): Tempered => {
  const temperatures = ladderOf(cold, hot);
  const replicas = temperatures.map((_, at) => new Replica(small, starts[at % starts.length]!));
  const quenched = new Replica(small, starts[0]!);
  const mixer = new Mixer(small);
  const record = new Record(small.instance.tasks);
  for (const { best, bestCost } of replicas) record.offer(best, bestCost);
  const mix = ({ siteOf, cost }: Replica): void => {
    if (cost === record.cost) return;
    const gain = mixer.mix(record.siteOf, siteOf);
    if (gain < 0) record.offer(mixer.mixed, record.cost + gain);
  };
  const seen = new Seen(small);
  const walk = new Walk(small, random);
  const quench = (count: number): void => {
    quenched.reset(replicas[count % QUENCHED_REPLICAS]!.siteOf);
    walk.run(quenched, cold * QUENCH_SHARE, QUENCH_PROPOSALS, QUENCH_DEALS);
    record.offer(quenched.best, quenched.bestCost);
    mix(quenched);
    if (count % QUENCHES_BETWEEN_MIXES === 0) replicas.slice(0, replicas.length >> 1).forEach(mix);
    seen.look(replicas);
    if (count % QUENCHES_BETWEEN_SIGHTINGS === QUENCHES_BETWEEN_SIGHTINGS - 1) seen.tell();
  };
  for (let round = 0; nowMs() < deadlineMs && record.cost > floor; round += 1) {
    for (let at = 0; at < replicas.length; at += 1) {
      const replica = replicas[at]!;
      walk.run(replica, temperatures[at]!, PROPOSALS_BETWEEN_TRADES, 1);
      record.offer(replica.best, replica.bestCost);
    }
    if (round % ROUNDS_BETWEEN_QUENCHES === 0) quench(round / ROUNDS_BETWEEN_QUENCHES);
    trade(replicas, temperatures, round % 2, random);
  }
  return record;
};

const trade = (replicas: Replica[], temperatures: readonly number[], from: number, random: Seeded): void => {
  for (let at = from; at + 1 < replicas.length; at += 2) {
    const [left, right] = [replicas[at]!, replicas[at + 1]!];
    const gain = (1 / temperatures[at]! - 1 / temperatures[at + 1]!) * (left.cost - right.cost);
    if (gain < 0 && random.uniform() >= Math.exp(gain)) continue;
    replicas[at] = right;
    replicas[at + 1] = left;
  }
};
