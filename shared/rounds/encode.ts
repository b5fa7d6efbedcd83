/**
 * From a patient's vector to integers that may be summed (design: privacy, section 6; Kairouz, Liu, Steinke 2021, Algorithm 1): clipped to a length, turned
 * so that no coordinate stands out, divided by the step of the grid and rounded up or down by chance, again until the integers keep to the
 * bound that the noise is made for. Only that last test matters for privacy, and it is on integers; all before it may be inexact.
 */
import { assert } from '../errors.ts';
import type { RandomBytes } from '../random.ts';
import { blake2b } from '../crypto/hash.ts';
import { u32 } from '../bytes.ts';

export interface Grid {
  /** Length that a patient's vector is clipped to. */
  readonly clip: number;
  /** Step of the grid. */
  readonly step: number;
  /** Words of the encoded vector: a power of two. */
  readonly words: number;
}

export const wordsFor = (length: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, length)));

/**
 * The largest squared length of a rounded vector, in steps: min(c² + d/4 + (c + √d/2), (c + √d)²) with c in steps, for a chance of rounding within it of
 * at least 1 − e^(−1/2). Rounded down.
 */
export const boundSquared = ({ clip, step, words }: Grid): bigint => {
  const [c, root] = [clip / step, Math.sqrt(words)];
  return BigInt(Math.floor(Math.min(c ** 2 + words / 4 + c + root / 2, (c + root) ** 2)));
};

const SIGN_BLOCK_BYTES = 64;
/** ±1 for each word, from a public seed: all sites turn alike. */
export const signsOf = (seed: Uint8Array, words: number): Int8Array => {
  const signs = new Int8Array(words);
  for (let at = 0; at < words; at += SIGN_BLOCK_BYTES * 8) {
    const block = blake2b(SIGN_BLOCK_BYTES, u32(at / (SIGN_BLOCK_BYTES * 8)), seed);
    const end = Math.min(words, at + SIGN_BLOCK_BYTES * 8);
    for (let word = at; word < end; word += 1)
      signs[word] = ((block[(word - at) >> 3]! >> ((word - at) & 7)) & 1) === 1 ? 1 : -1;
  }
  return signs;
};

/** Walsh–Hadamard over √d, in place: its own inverse. */
export const hadamard = (values: Float64Array): void => {
  const { length } = values;
  assert(Number.isInteger(Math.log2(length)), 'as many words as a power of two');
  for (let half = 1; half < length; half *= 2)
    for (let start = 0; start < length; start += 2 * half)
      for (let at = start; at < start + half; at += 1) {
        const [a, b] = [values[at]!, values[at + half]!];
        values[at] = a + b;
        values[at + half] = a - b;
      }
  const scale = 1 / Math.sqrt(length);
  for (let at = 0; at < length; at += 1) values[at]! *= scale;
};

/** Each patient's rounding falls within the bound with chance 1 − e^(−1/2): a hundred misses are not seen in the life of a federation. */
const TRIES = 100;
const UNIFORM_BYTES = 4;

export interface Encoder {
  /** Adds one patient's vector, as integers, to the site's sum. Not longer than the words; clipped here. */
  add(values: ArrayLike<number>): void;
  /** The site's sum so far, without noise: never leaves as it is. */
  readonly sum: Int32Array<ArrayBuffer>;
}

export const createEncoder = (grid: Grid, seed: Uint8Array, random: RandomBytes): Encoder => {
  const { clip, step, words } = grid;
  const bound = Number(boundSquared(grid));
  assert(Number.isSafeInteger(bound), 'a bound that integers in doubles can be held against exactly');
  const signs = signsOf(seed, words);
  const sum = new Int32Array(words);
  const turned = new Float64Array(words);
  const rounded = new Int32Array(words);

  /** By chance, without bias. */
  const round = (): void => {
    const chances = random(words * UNIFORM_BYTES);
    const view = new DataView(chances.buffer, chances.byteOffset, chances.byteLength);
    for (let at = 0; at < words; at += 1) {
      const value = turned[at]!;
      const below = Math.floor(value);
      const up = view.getUint32(at * UNIFORM_BYTES, true) / 2 ** 32 < value - below ? 1 : 0;
      rounded[at] = below + up;
    }
  };
  /** Towards zero: never longer than what is rounded. */
  const truncate = (): void => {
    for (let at = 0; at < words; at += 1) rounded[at] = Math.trunc(turned[at]!);
  };
  /**
   * In doubles, and still as good as exact: squares of integers, added up, are exact below 2^53, and one that is not only comes out at 2^53 or more, which
   * is beyond every bound here.
   */
  const squaredLength = (): number => {
    let squared = 0;
    for (let at = 0; at < words; at += 1) squared += rounded[at]! ** 2;
    return squared;
  };

  return {
    sum,
    add(values) {
      assert(values.length <= words, 'a vector is not longer than its grid');
      let squared = 0;
      for (let at = 0; at < values.length; at += 1) squared += values[at]! ** 2;
      const length = Math.sqrt(squared);
      // Not a number, or endless: nothing of it is taken.
      if (!Number.isFinite(length)) return;
      const scale = Math.min(1, clip / Math.max(length, Number.MIN_VALUE)) / step;
      for (let at = 0; at < words; at += 1)
        turned[at] = at < values.length ? values[at]! * scale * signs[at]! : 0;
      hadamard(turned);
      let squaredNow = Number.POSITIVE_INFINITY;
      for (let attempt = 0; attempt < TRIES && squaredNow > bound; attempt += 1) {
        round();
        squaredNow = squaredLength();
      }
      if (squaredNow > bound) {
        truncate();
        squaredNow = squaredLength();
      }
      // Of the integers themselves, whatever the doubles above did: the noise is made for this.
      assert(squaredNow <= bound, 'a patient moves the sum by no more than its noise is made for');
      for (let at = 0; at < words; at += 1) sum[at] = (sum[at]! + rounded[at]!) | 0;
    },
  };
};

/** Back from the sum of all: turned back and in units of the patients' vectors; the first `length` coordinates. */
export const decode = (
  sum: Int32Array,
  { step, words }: Grid,
  seed: Uint8Array,
  length: number,
): Float64Array => {
  assert(sum.length === words && length <= words, 'the sum of this grid');
  const values = Float64Array.from(sum, (value) => value * step);
  hadamard(values);
  const signs = signsOf(seed, words);
  return values.subarray(0, length).map((value, at) => value * signs[at]!);
};

/** Standard deviations of the sum that must fit between wrap-arounds; beyond it a sum is wrong, never less private. */
const WRAP_SIGMAS = 4;
const WORD_RANGE = 2 ** 32;

/**
 * Does the sum fit into words? M ≥ 2k·sd with sd² = P²c²/d + P/4 + n·s², in steps.
 * @param patients summed at most (P) @param sigmaSquared of one share, in steps @param shares of noise (n)
 */
export const fitsWords = (
  { clip, step, words }: Grid,
  patients: number,
  { sigmaSquared, shares }: { readonly sigmaSquared: number; readonly shares: number },
): boolean =>
  2 *
    WRAP_SIGMAS *
    Math.sqrt(((patients * clip) / step) ** 2 / words + patients / 4 + shares * sigmaSquared) <=
  WORD_RANGE;
