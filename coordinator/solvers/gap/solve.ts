/** Generalized assignment, anytime: bound and plan from the first moment, better ones until time is up or the bound proves the plan. */
import { seeded } from '../../../shared/seeded.ts';
import { branch } from './branch.ts';
import { checkGap, type GapInstance } from './instance.ts';
import { ascend, createRelaxation, initialMultipliers, MULTIPLIER_SCALE } from './lagrangian.ts';
import { GapSearch } from './search.ts';

export interface GapOptions {
  readonly timeMs: number;
  readonly seed: number;
  readonly nowMs: () => number;
}

export interface GapSolution {
  /** Agent of each job; null when no plan that fits was found. */
  readonly assignment: Int32Array | null;
  readonly cost: number | null;
  /** No plan costs less: an integer. */
  readonly bound: number;
  /** Multipliers of 1/`MULTIPLIER_SCALE` that prove `certified`; a bound above it was proven by a finished search tree. */
  readonly multipliers: Float64Array;
  readonly certified: number;
  readonly proven: boolean;
  /** True when it is proven that no plan fits. */
  readonly infeasible: boolean;
}

/** Of the time there is, for the first ascent. */
const ASCENT_SHARE = 0.35;
const ASCENT_ITERATIONS_MAX = 2_000;
/** Of the ascent's time, for plans made from its relaxed ones; a tight instance takes long to repair. */
const SEARCH_SHARE = 0.3;
/** Search steps between two looks at the clock. */
const STEPS_PER_LOOK = 8;
/** A tree is tried from time to time, each with twice the nodes: it ends small instances at once. */
const NODES_FIRST = 200;

const roundUp = (scaled: number): number => Math.ceil(scaled / MULTIPLIER_SCALE);

/**
 * @returns always within a search step of `timeMs`
 * @throws QflError `invalid_request` for a malformed instance
 */
export const solveGap = (instance: GapInstance, { timeMs, seed, nowMs }: GapOptions): GapSolution => {
  checkGap(instance);
  const deadlineMs = nowMs() + timeMs;
  const random = seeded(seed);
  const search = new GapSearch(instance, random);
  const relax = createRelaxation(instance);
  const start = initialMultipliers(instance);
  const ascentEndMs = nowMs() + timeMs * ASCENT_SHARE;
  const begunMs = nowMs();
  let searchedMs = 0;
  const ascended = ascend(relax, start, {
    iterationsMax: ASCENT_ITERATIONS_MAX,
    target: () => search.bestCost,
    onStep: ({ chosen }, multipliers) => {
      const stepMs = nowMs();
      if (searchedMs <= (stepMs - begunMs) * SEARCH_SHARE) {
        search.startFrom(chosen, multipliers);
        searchedMs += nowMs() - stepMs;
      }
      return nowMs() < ascentEndMs;
    },
  });
  const certified = roundUp(ascended.bound);
  let proof: 'open' | 'optimal' | 'infeasible' = search.bestCost <= certified ? 'optimal' : 'open';
  let nodes = NODES_FIRST;
  while (proof === 'open' && nowMs() < deadlineMs) {
    const tree = branch(instance, relax, ascended.multipliers, {
      search,
      nodesMax: nodes,
      deadlineMs,
      nowMs,
    });
    if (tree.finished) proof = search.bestCost === Infinity ? 'infeasible' : 'optimal';
    // As long in local search as the tree took: each finds what the other misses.
    const untilMs = Math.min(deadlineMs, nowMs() + Math.max(10, tree.tookMs * 2));
    while (!tree.finished && nowMs() < untilMs)
      for (let step = 0; step < STEPS_PER_LOOK; step += 1) search.step();
    if (proof === 'open' && search.bestCost <= certified) proof = 'optimal';
    nodes *= 2;
  }
  return {
    assignment: search.best ?? null,
    cost: search.best === undefined ? null : search.bestCost,
    bound: proof === 'optimal' ? search.bestCost : certified,
    multipliers: ascended.multipliers,
    certified,
    proven: proof === 'optimal',
    infeasible: proof === 'infeasible',
  };
};
