/**
 * The quantum approximate optimisation algorithm (Farhi, Goldstone, Gutmann 2014) on the exact simulator: layers of cost phase and mixer,
 * angles found by Nelder and Mead's simplex on the exact expectation, each depth started from the one before (INTERP, Zhou et al. 2020).
 */
import { assert } from '../errors.ts';
import type { Seeded } from '../seeded.ts';
import { type Qubo, quboTable } from './ising.ts';
import {
  applyCostPhase,
  applyRankedLayer,
  applyRankedPhase,
  applyXMixer,
  applyXyPair,
  rankValues,
} from './layer.ts';
import { minimiseSimplex } from './simplex.ts';
import { sampleShots } from './sampling.ts';
import { createState, type Precision, probabilitiesOf, type State } from './state.ts';

/**
 * `x` starts from all states alike. `xy` keeps one bit of each group at 1 (Hadfield et al. 2019): it starts from each group's even mix
 * of its one-hot states and swaps along a ring.
 */
export type Mixer =
  { readonly kind: 'x' } | { readonly kind: 'xy'; readonly groups: readonly (readonly number[])[] };

export interface QaoaOptions {
  readonly layers: number;
  readonly mixer?: Mixer;
  readonly precision?: Precision;
  readonly memoryBytes?: number;
  /** Evaluations of the expectation for each depth at most. */
  readonly evaluationsMax?: number;
}

export interface Angles {
  readonly gammas: readonly number[];
  readonly betas: readonly number[];
}

export interface QaoaResult {
  readonly angles: Angles;
  /** Mean value of the function over the final state. */
  readonly expectation: number;
  readonly probabilities: Float64Array;
  readonly evaluations: number;
  /** Of the whole table. */
  readonly least: number;
  readonly greatest: number;
}

const uniformState = (state: State): void => {
  const amplitude = 1 / Math.sqrt(state.re.length);
  state.re.fill(amplitude);
  state.im.fill(0);
};

/** Each group in the even mix of its one-hot states; qubits of no group stay 0. */
const oneHotState = (state: State, groups: readonly (readonly number[])[]): void => {
  state.re.fill(0);
  state.im.fill(0);
  let states = [0];
  for (const group of groups) states = states.flatMap((set) => group.map((qubit) => set | (1 << qubit)));
  const amplitude = 1 / Math.sqrt(states.length);
  for (const set of states) state.re[set] = amplitude;
};

/** Along a ring; a group of two has one edge. */
const ringEdges = (group: readonly number[]): (readonly [number, number])[] =>
  group.length < 2
    ? []
    : group
        .map((qubit, at) => [qubit, group[(at + 1) % group.length] ?? qubit] as const)
        .slice(0, group.length === 2 ? 1 : group.length);

/** Runs given angles; the state is made once and used again. */
const createRunner = (
  table: Float64Array,
  qubits: number,
  { mixer = { kind: 'x' }, precision, memoryBytes }: QaoaOptions,
) => {
  const state = createState(qubits, precision ?? 'float64', memoryBytes);
  const ranked = rankValues(table);
  const mix = (beta: number): void => {
    if (mixer.kind === 'x') return applyXMixer(state, beta);
    for (const group of mixer.groups) for (const [a, b] of ringEdges(group)) applyXyPair(state, a, b, beta);
  };
  return ({ gammas, betas }: Angles): State => {
    if (mixer.kind === 'x') uniformState(state);
    else oneHotState(state, mixer.groups);
    gammas.forEach((gamma, layer) => {
      const beta = betas[layer] ?? 0;
      if (ranked !== undefined && mixer.kind === 'x') return applyRankedLayer(state, ranked, gamma, beta);
      if (ranked === undefined) applyCostPhase(state, table, gamma);
      else applyRankedPhase(state, ranked, gamma);
      mix(beta);
    });
    return state;
  };
};

const expectationOf = ({ re, im }: State, table: Float64Array): number => {
  let sum = 0;
  for (let at = 0; at < table.length; at += 1) sum += (re[at]! * re[at]! + im[at]! * im[at]!) * table[at]!;
  return sum;
};

/** One more layer on the straight lines between the ones there are (INTERP). */
const stretched = (angles: readonly number[]): number[] => {
  const p = angles.length;
  return Array.from(
    { length: p + 1 },
    (_, at) => (at / p) * (angles[at - 1] ?? 0) + ((p - at) / p) * (angles[at] ?? 0),
  );
};

/** Mean distance between values: sets the scale of the first angle. */
const spreadOf = (table: Float64Array): number => {
  const mean = table.reduce((sum, value) => sum + value, 0) / table.length;
  const variance = table.reduce((sum, value) => sum + (value - mean) ** 2, 0) / table.length;
  return Math.sqrt(variance) || 1;
};

const EVALUATIONS_DEFAULT = 200;

/**
 * Angles of `layers` layers that make the expectation of the function small.
 * @throws QflError `invalid_request` when the state does not fit into memory.
 */
export const runQaoa = (qubo: Qubo, options: QaoaOptions): QaoaResult => {
  assert(options.layers >= 1, 'QAOA has at least one layer');
  const table = quboTable(qubo);
  const run = createRunner(table, qubo.bits, options);
  let evaluations = 0;
  const value = (point: readonly number[]): number => {
    evaluations += 1;
    const p = point.length / 2;
    return expectationOf(run({ gammas: point.slice(0, p), betas: point.slice(p) }), table);
  };
  const scale = 1 / spreadOf(table);
  let angles: Angles = { gammas: [0.6 * scale], betas: [0.4] };
  for (let depth = 1; depth <= options.layers; depth += 1) {
    if (depth > 1) angles = { gammas: stretched(angles.gammas), betas: stretched(angles.betas) };
    const steps = [...angles.gammas.map(() => 0.2 * scale), ...angles.betas.map(() => 0.15)];
    const { point } = minimiseSimplex(value, [...angles.gammas, ...angles.betas], steps, {
      evaluationsMax: options.evaluationsMax ?? EVALUATIONS_DEFAULT,
    });
    angles = { gammas: point.slice(0, depth), betas: point.slice(depth) };
  }
  const state = run(angles);
  let [least, greatest] = [Infinity, -Infinity];
  for (const one of table) {
    least = Math.min(least, one);
    greatest = Math.max(greatest, one);
  }
  return {
    angles,
    expectation: expectationOf(state, table),
    probabilities: probabilitiesOf(state),
    evaluations,
    least,
    greatest,
  };
};

/** Share of the way from the worst value to the best that the expectation goes: 1 is the optimum every time. */
export const approximationRatio = ({ expectation, least, greatest }: QaoaResult): number =>
  greatest === least ? 1 : (greatest - expectation) / (greatest - least);

/** Basis states drawn from the final distribution: proposals, best value first. */
export const proposals = (
  { probabilities }: QaoaResult,
  qubo: Qubo,
  shots: number,
  random: Seeded,
): { readonly bits: readonly number[]; readonly value: number; readonly count: number }[] => {
  const table = quboTable(qubo);
  return [...sampleShots(probabilities, shots, random)]
    .map(([state, count]) => ({
      bits: Array.from({ length: qubo.bits }, (_, bit) => (state >> bit) & 1),
      value: table[state] ?? 0,
      count,
    }))
    .toSorted((left, right) => left.value - right.value);
};
