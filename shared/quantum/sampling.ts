/** Shots: basis states drawn from a distribution by a seeded generator, and readout errors. */
import { assert } from '../errors.ts';
import type { Seeded } from '../seeded.ts';

/** Basis state number → how often it was seen. */
export type Counts = ReadonlyMap<number, number>;

/** Readout errors of each qubit, independent: a 0 read as 1, a 1 read as 0. */
export interface ReadoutError {
  readonly zeroAsOne: number;
  readonly oneAsZero: number;
}

const misread = (state: number, qubits: number, error: ReadoutError, random: Seeded): number => {
  let read = state;
  for (let qubit = 0; qubit < qubits; qubit += 1) {
    const odds = ((state >> qubit) & 1) === 1 ? error.oneAsZero : error.zeroAsOne;
    if (random.uniform() < odds) read ^= 1 << qubit;
  }
  return read;
};

/**
 * @param probabilities of the 2^qubits basis states, summing to 1 but for rounding
 * @returns counts that sum to `shots`
 */
export const sampleShots = (
  probabilities: Float64Array,
  shots: number,
  random: Seeded,
  readout?: ReadoutError,
): Counts => {
  assert(Number.isInteger(shots) && shots >= 0, 'shots are a whole number');
  const qubits = Math.log2(probabilities.length);
  // 53 bits a draw; sorted, so that one sweep over the states serves all of them.
  const draws = Float64Array.from(
    { length: shots },
    () => random.uniform() + random.uniform() / 2 ** 32,
  ).toSorted();
  const counts = new Map<number, number>();
  let [state, cumulative] = [0, probabilities[0] ?? 0];
  for (const draw of draws) {
    while (cumulative <= draw && state < probabilities.length - 1) {
      state += 1;
      cumulative += probabilities[state]!;
    }
    const read = readout === undefined ? state : misread(state, qubits, readout, random);
    counts.set(read, (counts.get(read) ?? 0) + 1);
  }
  return counts;
};
