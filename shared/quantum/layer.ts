/**
 * The two halves of a QAOA layer, each in as few passes over the amplitudes as the caches allow: the cost as one table of phases, the
 * mixer exp(−iβ·ΣX) as pairs of qubits at a time, first those whose block stays in the first-level cache. Inner loops name each number:
 * unpacking from an array literal there costs a factor of six.
 */
import type { State } from './state.ts';

/** Amplitude x becomes exp(−iγ·values[x]) times itself. */
export const applyCostPhase = ({ re, im }: State, values: Float64Array, gamma: number): void => {
  for (let at = 0; at < re.length; at += 1) {
    const angle = gamma * values[at]!;
    const c = Math.cos(angle);
    const s = Math.sin(angle);
    const x = re[at]!;
    const y = im[at]!;
    re[at] = c * x + s * y;
    im[at] = c * y - s * x;
  }
};

/** Values that repeat (cuts, counts): their rank at every state, and each value once. */
export interface RankedValues {
  readonly ranks: Uint16Array;
  readonly values: Float64Array;
}

const RANKS_MAX = 65_536;

/** Undefined when there are more than 65,536 different values. */
export const rankValues = (table: Float64Array): RankedValues | undefined => {
  const rankOf = new Map<number, number>();
  const ranks = new Uint16Array(table.length);
  for (let at = 0; at < table.length; at += 1) {
    const value = table[at]!;
    let rank = rankOf.get(value);
    if (rank === undefined) {
      rank = rankOf.size;
      if (rank === RANKS_MAX) return undefined;
      rankOf.set(value, rank);
    }
    ranks[at] = rank;
  }
  return { ranks, values: Float64Array.from(rankOf.keys()) };
};

/** As `applyCostPhase`, with one sine and cosine for each different value. */
export const applyRankedPhase = ({ re, im }: State, { ranks, values }: RankedValues, gamma: number): void => {
  const cosines = values.map((value) => Math.cos(gamma * value));
  const sines = values.map((value) => Math.sin(gamma * value));
  for (let at = 0; at < re.length; at += 1) {
    const rank = ranks[at]!;
    const c = cosines[rank]!;
    const s = sines[rank]!;
    const x = re[at]!;
    const y = im[at]!;
    re[at] = c * x + s * y;
    im[at] = c * y - s * x;
  }
};

/** 2^11 amplitudes of two 32-bit arrays are 16 KB: half of a first-level cache. */
const BLOCK_QUBITS = 11;

/** exp(−iβX) on qubits `low` and `low + 1` of the amplitudes from `from` to `to`. */
const mixPair = ({ re, im }: State, from: number, to: number, low: number, c: number, s: number): void => {
  const step = 1 << low;
  // Products of the two single-qubit entries: both stay, one flips (−i), both flip (−1).
  const both = c * c;
  const one = c * s;
  const none = s * s;
  for (let block = from; block < to; block += 4 * step) {
    for (let at = block; at < block + step; at += 1) {
      const b = at + step;
      const d = b + step;
      const e = d + step;
      const ar = re[at]!;
      const ai = im[at]!;
      const br = re[b]!;
      const bi = im[b]!;
      const dr = re[d]!;
      const di = im[d]!;
      const er = re[e]!;
      const ei = im[e]!;
      const innerI = one * (bi + di);
      const innerR = one * (br + dr);
      const outerI = one * (ai + ei);
      const outerR = one * (ar + er);
      re[at] = both * ar - none * er + innerI;
      im[at] = both * ai - none * ei - innerR;
      re[e] = both * er - none * ar + innerI;
      im[e] = both * ei - none * ai - innerR;
      re[b] = both * br - none * dr + outerI;
      im[b] = both * bi - none * di - outerR;
      re[d] = both * dr - none * br + outerI;
      im[d] = both * di - none * bi - outerR;
    }
  }
};

const mixOne = ({ re, im }: State, qubit: number, c: number, s: number): void => {
  const step = 1 << qubit;
  for (let block = 0; block < re.length; block += 2 * step) {
    for (let low = block; low < block + step; low += 1) {
      const high = low + step;
      const xr = re[low]!;
      const xi = im[low]!;
      const yr = re[high]!;
      const yi = im[high]!;
      re[low] = c * xr + s * yi;
      im[low] = c * xi - s * yr;
      re[high] = c * yr + s * xi;
      im[high] = c * yi - s * xr;
    }
  }
};

/** exp(−iβ(X_0 + … + X_{n−1})). */
export const applyXMixer = (state: State, beta: number): void => {
  const { qubits } = state;
  const size = state.re.length;
  const [c, s] = [Math.cos(beta), Math.sin(beta)];
  const pairs = qubits - (qubits % 2);
  const inside = Math.min(pairs, BLOCK_QUBITS - (BLOCK_QUBITS % 2));
  const block = 2 ** inside;
  for (let from = 0; from < size; from += block)
    for (let low = 0; low < inside; low += 2) mixPair(state, from, from + block, low, c, s);
  for (let low = inside; low < pairs; low += 2) mixPair(state, 0, size, low, c, s);
  if (qubits % 2 === 1) mixOne(state, qubits - 1, c, s);
};

/** exp(−iβ(X_a·X_b + Y_a·Y_b)/2): swaps 01 and 10 in part, so that the number of ones in a group never changes. */
export const applyXyPair = ({ re, im }: State, first: number, second: number, beta: number): void => {
  const [a, b] = [1 << first, 1 << second];
  const [c, s] = [Math.cos(beta), Math.sin(beta)];
  for (let at = 0; at < re.length; at += 1) {
    if ((at & a) === 0 || (at & b) !== 0) continue;
    const other = at ^ a ^ b;
    const xr = re[at]!;
    const xi = im[at]!;
    const yr = re[other]!;
    const yi = im[other]!;
    re[at] = c * xr + s * yi;
    im[at] = c * xi - s * yr;
    re[other] = c * yr + s * xi;
    im[other] = c * yi - s * xr;
  }
};
