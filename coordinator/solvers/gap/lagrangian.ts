/**
 * Lagrangian relaxation of "every job exactly once": for any multipliers λ,
 *   Σ_j λ_j − Σ_i knapsack_i(λ_j − c_ij)
 * is a lower bound, and the multipliers are its certificate (Fisher 1981). They are moved by subgradients (Held, Wolfe, Crowder 1974) and kept as
 * integers of 1/SCALE, so that a bound is an integer sum that anyone can repeat.
 */
import type { GapInstance } from './instance.ts';
import { Knapsack } from './knapsack.ts';

/** Multipliers are integers of one over this. */
export const MULTIPLIER_SCALE = 1_024;

/** Which (agent, job) pairs may still be used; 0 is ruled out. Agent-major. */
export type Allowed = Uint8Array;

export interface Relaxed {
  /** Scaled by `MULTIPLIER_SCALE`, an integer. */
  readonly bound: number;
  /** How many agents take each job. */
  readonly takers: Int32Array;
  /** Agent-major: 1 where the agent takes the job. */
  readonly chosen: Uint8Array;
}

export const createRelaxation = (instance: GapInstance) => {
  const { agents, jobs, costs, weights, capacities } = instance;
  const knapsack = new Knapsack();
  const profits = new Float64Array(jobs);
  const chosenHere = new Uint8Array(jobs);

  /** @param multipliers integers of 1/MULTIPLIER_SCALE, one per job */
  return (multipliers: Float64Array, allowed?: Allowed): Relaxed => {
    const chosen = new Uint8Array(agents * jobs);
    const takers = new Int32Array(jobs);
    let bound = multipliers.reduce((sum, value) => sum + value, 0);
    for (let agent = 0; agent < agents; agent += 1) {
      const offset = agent * jobs;
      for (let job = 0; job < jobs; job += 1)
        profits[job] =
          allowed !== undefined && allowed[offset + job] === 0
            ? 0
            : multipliers[job]! - MULTIPLIER_SCALE * costs[offset + job]!;
      bound -= knapsack.solve(profits, weights, offset, capacities[agent]!, chosenHere);
      for (let job = 0; job < jobs; job += 1) {
        if (chosenHere[job] === 0) continue;
        chosen[offset + job] = 1;
        takers[job]! += 1;
      }
    }
    return { bound, takers, chosen };
  };
};

export type Relaxation = ReturnType<typeof createRelaxation>;

export interface AscentOptions {
  readonly iterationsMax: number;
  /** Cost of the best plan known, Infinity without one: sets the length of the steps, and the ascent stops when the bound proves it. */
  readonly target: () => number;
  readonly allowed?: Allowed;
  /** Seen after every step; stops the ascent when it returns false. */
  readonly onStep?: (relaxed: Relaxed, multipliers: Float64Array) => boolean;
}

/** The second cheapest cost of each job: between the two cheapest, one agent wants it. */
export const initialMultipliers = ({ agents, jobs, costs }: GapInstance): Float64Array =>
  Float64Array.from({ length: jobs }, (_, job) => {
    let [first, second] = [Infinity, Infinity];
    for (let agent = 0; agent < agents; agent += 1) {
      const cost = costs[agent * jobs + job]!;
      if (cost < first) [first, second] = [cost, first];
      else if (cost < second) second = cost;
    }
    return MULTIPLIER_SCALE * (second === Infinity ? first : second);
  });

export interface Ascended {
  readonly bound: number;
  readonly multipliers: Float64Array;
  readonly relaxed: Relaxed;
}

/** While no plan is known nothing else holds the steps: beyond this, sums would leave the integers that doubles hold. */
const MULTIPLIER_MAX = 2 ** 40;
const clamped = (value: number): number => Math.max(-MULTIPLIER_MAX, Math.min(MULTIPLIER_MAX, value));

const PATIENCE = 20;
const STEP_MIN = 1e-3;
/** Of the bound, for the way that is left while no plan is known. */
const GUESSED_DISTANCE = 0.05;

/** The best bound found from these multipliers on. */
export const ascend = (relax: Relaxation, start: Float64Array, options: AscentOptions): Ascended => {
  let multipliers = Float64Array.from(start);
  let best: Ascended | undefined;
  let step = 2;
  let since = 0;
  const direction = new Float64Array(start.length);
  for (let iteration = 0; iteration < options.iterationsMax; iteration += 1) {
    const relaxed = relax(multipliers, options.allowed);
    since += 1;
    if (best === undefined || relaxed.bound > best.bound) {
      best = { bound: relaxed.bound, multipliers: Float64Array.from(multipliers), relaxed };
      since = 0;
    }
    const goOn = options.onStep?.(relaxed, multipliers) ?? true;
    const target = options.target() * MULTIPLIER_SCALE;
    let length = 0;
    for (let job = 0; job < start.length; job += 1) {
      // The last direction's share damps the zigzag (Crowder 1976).
      direction[job] = 1 - relaxed.takers[job]! + 0.3 * direction[job]!;
      length += direction[job]! ** 2;
    }
    // A bound above target − 1 proves it, costs being integers.
    if (!goOn || length === 0 || best.bound > target - MULTIPLIER_SCALE || step < STEP_MIN) break;
    if (since >= PATIENCE) {
      step /= 2;
      since = 0;
      multipliers = Float64Array.from(best.multipliers);
      continue;
    }
    const distance =
      target === Infinity ? Math.abs(relaxed.bound) * GUESSED_DISTANCE : target - relaxed.bound;

    const size = (step * Math.max(distance, MULTIPLIER_SCALE)) / length;
    for (let job = 0; job < start.length; job += 1)
      multipliers[job] = clamped(Math.round(multipliers[job]! + size * direction[job]!));
  }
  const relaxed = relax(start, options.allowed);
  return best ?? { bound: relaxed.bound, multipliers: start, relaxed };
};
