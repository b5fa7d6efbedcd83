/**
 * A mechanism made ready before any data is read: all its randomness is drawn first, in a fixed amount, so that how long the drawing
 * takes says nothing about the data. What comes back is applied to the exact integers once.
 */
import { assert } from '../errors.ts';
import type { RandomBytes } from '../random.ts';
import {
  isNoise,
  type Mechanism,
  type NoiseMechanism,
  noiseOf,
  type ThresholdedHistogram,
} from './mechanism.ts';
import { prepareSelection } from './select.ts';

/** Exact integers in, released integers out; once. */
export type PreparedRelease = (exact: readonly bigint[]) => readonly bigint[];

/** Draws between two turns of the event loop: some milliseconds. */
const DRAWS_PER_TURN = 256;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const once = (release: PreparedRelease): PreparedRelease => {
  let used = false;
  return (exact) => {
    assert(!used, 'noise is used once');
    used = true;
    return release(exact);
  };
};

const drawMany = async (draw: () => bigint, count: number): Promise<bigint[]> => {
  const noise: bigint[] = [];
  while (noise.length < count) {
    if (noise.length > 0 && noise.length % DRAWS_PER_TURN === 0) await turn();
    noise.push(draw());
  }
  return noise;
};

const prepareNoise = async (
  mechanism: NoiseMechanism,
  cells: number,
  random: RandomBytes,
): Promise<PreparedRelease> => {
  const noise = await drawMany(noiseOf(mechanism, random), cells);
  return (exact) => {
    assert(exact.length === cells, 'one exact integer per cell');
    return exact.map((value, at) => value + noise[at]!);
  };
};

/**
 * @param cells of noise: the length of the vector. A selection takes as many integers as it has candidates, and releases the position
 * of one. Keys that only the data knows have no cells beforehand: `prepareThreshold`.
 */
export const prepareRelease = async (
  mechanism: Mechanism,
  cells: number,
  random: RandomBytes,
): Promise<PreparedRelease> => {
  assert(mechanism.kind !== 'thresholded_histogram', 'unknown keys are released above a threshold');
  assert(mechanism.kind !== 'distributed_gaussian', 'noise in shares leaves in sealed rounds only');
  return once(
    isNoise(mechanism)
      ? await prepareNoise(mechanism, cells, random)
      : await prepareSelection(mechanism, random, turn),
  );
};

/** Counts by key, of the keys that occur. */
export type KeyedCounts = ReadonlyMap<string, bigint>;

/** Exact counts in; out those noisy ones that reach the threshold, in the order of their keys; once. */
export type PreparedThreshold = (exact: KeyedCounts) => Promise<ReadonlyMap<string, bigint>>;

const inOrder = ([left]: readonly [string, bigint], [right]: readonly [string, bigint]): number =>
  left < right ? -1 : 1;

/** The largest noisy counts, equal ones by their keys: a choice among what is released already. */
const largest = (shown: readonly (readonly [string, bigint])[], keysMax: number) =>
  shown
    .toSorted((left, right) => (left[1] === right[1] ? inOrder(left, right) : left[1] > right[1] ? -1 : 1))
    .slice(0, keysMax)
    .toSorted(inOrder);

/**
 * A pool of `keysMax` noises is drawn at once, however few keys there turn out to be. More keys than that get whole pools more: cutting the keys
 * before the threshold would let one patient's rare keys push out others, which no noise hides. What reaches the threshold is cut to
 * `keysMax` afterwards, which costs nothing.
 */
export const prepareThreshold = async (
  { noise: mechanism, threshold }: ThresholdedHistogram,
  keysMax: number,
  random: RandomBytes,
): Promise<PreparedThreshold> => {
  const draw = noiseOf(mechanism, random);
  const pool = await drawMany(draw, keysMax);
  let used = false;
  return async (exact) => {
    assert(!used, 'noise is used once');
    used = true;
    while (pool.length < exact.size) pool.push(...(await drawMany(draw, keysMax)));
    // In the order of keys, so that which noise a key gets says nothing about the order of rows.
    const noisy = [...exact]
      .toSorted(inOrder)
      .map(([key, count], at): readonly [string, bigint] => [key, count + pool[at]!]);
    return new Map(
      largest(
        noisy.filter(([, count]) => count >= threshold),
        keysMax,
      ),
    );
  };
};
