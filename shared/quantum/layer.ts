/**
 * The two halves of a QAOA layer, each in as few passes over the amplitudes as the caches allow: the cost as one table of phases, the
 * mixer as `mixer.ts` has it. Inner loops name each number: unpacking from an array literal there costs a factor of six.
 */
import { mixBlocks } from './mixer.ts';
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

/** Amplitude x of those from `from` to `to` becomes (cosine − i·sine) of its rank times itself. */
const turnRanked = (
  { re, im }: State,
  ranks: Uint16Array,
  cosines: Float64Array,
  sines: Float64Array,
  from: number,
  to: number,
): void => {
  for (let at = from; at < to; at += 1) {
    const rank = ranks[at]!;
    const c = cosines[rank]!;
    const s = sines[rank]!;
    const x = re[at]!;
    const y = im[at]!;
    re[at] = c * x + s * y;
    im[at] = c * y - s * x;
  }
};

/** As `applyCostPhase`, with one sine and cosine for each different value. */
export const applyRankedPhase = (state: State, { ranks, values }: RankedValues, gamma: number): void => {
  const cosines = values.map((value) => Math.cos(gamma * value));
  const sines = values.map((value) => Math.sin(gamma * value));
  turnRanked(state, ranks, cosines, sines, 0, ranks.length);
};

/** exp(−iβ(X_0 + … + X_{n−1})). */
export const applyXMixer = (state: State, beta: number): void => {
  const { re, im } = state;
  mixBlocks(state, beta, (from, to, factorRe, factorIm) => {
    for (let at = from; at < to; at += 1) {
      const x = re[at]!;
      const y = im[at]!;
      re[at] = factorRe * x - factorIm * y;
      im[at] = factorRe * y + factorIm * x;
    }
  });
};

/** `applyRankedPhase`, then `applyXMixer`, with one pass less: the phase is taken block by block on the way into the mixer. */
export const applyRankedLayer = (
  state: State,
  { ranks, values }: RankedValues,
  gamma: number,
  beta: number,
): void => {
  const cosines = new Float64Array(values.length);
  const sines = new Float64Array(values.length);
  mixBlocks(state, beta, (from, to, factorRe, factorIm) => {
    // The factor is the same for every block.
    for (let rank = 0; rank < (from === 0 ? values.length : 0); rank += 1) {
      const c = Math.cos(gamma * values[rank]!);
      const s = Math.sin(gamma * values[rank]!);
      cosines[rank] = factorRe * c + factorIm * s;
      sines[rank] = factorRe * s - factorIm * c;
    }
    turnRanked(state, ranks, cosines, sines, from, to);
  });
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
