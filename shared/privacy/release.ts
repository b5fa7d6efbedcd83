/**
 * A mechanism made ready before any data is read: all its randomness is drawn first, in a fixed amount, so that how long the drawing
 * takes says nothing about the data. What comes back is applied to the exact integers once.
 */
import { assert } from '../errors.ts';
import type { RandomBytes } from '../random.ts';
import { isNoise, type Mechanism, type NoiseMechanism, noiseOf } from './mechanism.ts';
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

const prepareNoise = async (
  mechanism: NoiseMechanism,
  cells: number,
  random: RandomBytes,
): Promise<PreparedRelease> => {
  const draw = noiseOf(mechanism, random);
  const noise: bigint[] = [];
  while (noise.length < cells) {
    if (noise.length > 0 && noise.length % DRAWS_PER_TURN === 0) await turn();
    noise.push(draw());
  }
  return (exact) => {
    assert(exact.length === cells, 'one exact integer per cell');
    return exact.map((value, at) => value + noise[at]!);
  };
};

/**
 * @param cells of noise: the length of the vector. A selection takes as many integers as it has candidates, and releases the position
 * of one.
 */
export const prepareRelease = async (
  mechanism: Mechanism,
  cells: number,
  random: RandomBytes,
): Promise<PreparedRelease> =>
  once(
    isNoise(mechanism)
      ? await prepareNoise(mechanism, cells, random)
      : await prepareSelection(mechanism, random, turn),
  );
