/**
 * Where the replicas have had each task of late. At ten sites most of them never suit a task: a proposal to go there is a proposal lost, so
 * seven of eight go where some replica has been.
 */
import type { Replica, SmallInstance } from './replica.ts';

/** Share of the looks a site must have been seen at. */
const SEEN_LEAST = 0.01;

export class Seen {
  readonly #small: SmallInstance;
  readonly #times: Float64Array;
  #looks = 0;

  constructor(small: SmallInstance) {
    this.#small = small;
    this.#times = new Float64Array(small.instance.tasks * small.instance.sites);
  }

  look(replicas: readonly Replica[]): void {
    const { sites } = this.#small.instance;
    for (const { siteOf } of replicas) {
      this.#looks += 1;
      for (let task = 0; task < siteOf.length; task += 1) this.#times[task * sites + siteOf[task]!]! += 1;
    }
  }

  /** Writes the likely sites of every task; what was seen before counts half from now on. */
  tell(): void {
    const { likely, likelyCount, isLikely, instance } = this.#small;
    const { tasks, sites } = instance;
    const least = this.#looks * SEEN_LEAST;
    for (let task = 0; task < tasks; task += 1) {
      let count = 0;
      for (let site = 0; site < sites; site += 1) {
        const often = this.#times[task * sites + site]! >= least;
        isLikely[task * sites + site] = often ? 1 : 0;
        if (!often) continue;
        likely[task * sites + count] = site;
        count += 1;
      }
      likelyCount[task] = count;
    }
    this.#looks /= 2;
    for (let at = 0; at < this.#times.length; at += 1) this.#times[at]! /= 2;
  }
}
