/**
 * The mixer exp(−iβ·ΣX) in few passes. RX is cos β·(1 − i·tan β·X): the cosines of all qubits are one factor, taken first, which halves what a qubit
 * costs. −i turns real into imaginary at every flip, so of eight amplitudes (three qubits) eight of the sixteen numbers never meet the other eight:
 * each half stays in registers through three qubits. Qubits inside a block of the second-level cache share a pass, with whatever the caller
 * does to the block first; the rest go three to a pass. Inner loops name each number: unpacking from an array literal costs a factor of six.
 */
import type { State } from './state.ts';

type Reals = State['re'];

/** 2^15 amplitudes in two arrays of doubles are half a megabyte. */
export const BLOCK_QUBITS = 15;
/** Above it, one factor for all qubits would leave too little of float32: (1 + 2²)^½ a qubit. */
const TANGENT_MAX = 2;

/** Three qubits from `low` on, the half in which `even` holds the amplitudes with an even number of ones among them, `odd` the others. Then the other half, the arrays and the sign exchanged. */
const mixThree = (even: Reals, odd: Reals, from: number, to: number, low: number, t: number): void => {
  const step = 1 << low;
  for (let block = from; block < to; block += 8 * step) {
    for (let at = block; at < block + step; at += 1) {
      const at1 = at + step;
      const at2 = at1 + step;
      const at3 = at2 + step;
      const at4 = at3 + step;
      const at5 = at4 + step;
      const at6 = at5 + step;
      const at7 = at6 + step;
      const a0 = even[at]!;
      const a1 = odd[at1]!;
      const a2 = odd[at2]!;
      const a3 = even[at3]!;
      const a4 = odd[at4]!;
      const a5 = even[at5]!;
      const a6 = even[at6]!;
      const a7 = odd[at7]!;
      const b0 = a0 + t * a1;
      const b1 = a1 - t * a0;
      const b3 = a3 + t * a2;
      const b2 = a2 - t * a3;
      const b5 = a5 + t * a4;
      const b4 = a4 - t * a5;
      const b6 = a6 + t * a7;
      const b7 = a7 - t * a6;
      const c0 = b0 + t * b2;
      const c2 = b2 - t * b0;
      const c3 = b3 + t * b1;
      const c1 = b1 - t * b3;
      const c6 = b6 + t * b4;
      const c4 = b4 - t * b6;
      const c5 = b5 + t * b7;
      const c7 = b7 - t * b5;
      even[at] = c0 + t * c4;
      odd[at4] = c4 - t * c0;
      even[at5] = c5 + t * c1;
      odd[at1] = c1 - t * c5;
      even[at6] = c6 + t * c2;
      odd[at2] = c2 - t * c6;
      even[at3] = c3 + t * c7;
      odd[at7] = c7 - t * c3;
    }
  }
};

const mixTwo = (even: Reals, odd: Reals, from: number, to: number, low: number, t: number): void => {
  const step = 1 << low;
  for (let block = from; block < to; block += 4 * step) {
    for (let at = block; at < block + step; at += 1) {
      const at1 = at + step;
      const at2 = at1 + step;
      const at3 = at2 + step;
      const a0 = even[at]!;
      const a1 = odd[at1]!;
      const a2 = odd[at2]!;
      const a3 = even[at3]!;
      const b0 = a0 + t * a1;
      const b1 = a1 - t * a0;
      const b3 = a3 + t * a2;
      const b2 = a2 - t * a3;
      even[at] = b0 + t * b2;
      odd[at2] = b2 - t * b0;
      even[at3] = b3 + t * b1;
      odd[at1] = b1 - t * b3;
    }
  }
};

const mixOne = (even: Reals, odd: Reals, from: number, to: number, low: number, t: number): void => {
  const step = 1 << low;
  for (let block = from; block < to; block += 2 * step) {
    for (let at = block; at < block + step; at += 1) {
      const a0 = even[at]!;
      const a1 = odd[at + step]!;
      even[at] = a0 + t * a1;
      odd[at + step] = a1 - t * a0;
    }
  }
};

const PASSES = [mixOne, mixTwo, mixThree] as const;

/** Qubits `low` to `high` − 1, three at a time, of the amplitudes from `from` to `to`. */
const mixRange = (
  { re, im }: State,
  from: number,
  to: number,
  low: number,
  high: number,
  t: number,
): void => {
  for (let qubit = low; qubit < high; qubit += 3) {
    const pass = PASSES[Math.min(3, high - qubit) - 1]!;
    pass(re, im, from, to, qubit, t);
    pass(im, re, from, to, qubit, -t);
  }
};

/** Multiplies the amplitudes from `from` to `to` by a complex factor, and does whatever else they are due. */
export type Prepare = (from: number, to: number, factorRe: number, factorIm: number) => void;

/**
 * exp(−iβ(X_0 + … + X_{n−1})).
 * @param prepare called once for each block of amplitudes before it is mixed; has to apply the factor
 */
export const mixBlocks = (state: State, beta: number, prepare: Prepare): void => {
  const { qubits, re, im } = state;
  const [c, s] = [Math.cos(beta), Math.sin(beta)];
  // Near a full flip the qubits are flipped, and what is left is small: cos β − i·sin β·X = −i·sin β·X·(1 + i·cot β·X).
  const flipped = Math.abs(s) > TANGENT_MAX * Math.abs(c);
  const tangent = flipped ? -c / s : s / c;
  const size = (flipped ? s : c) ** qubits;
  const turns = flipped ? qubits % 4 : 0;
  const factorRe = [size, 0, -size, 0][turns]!;
  const factorIm = [0, -size, 0, size][turns]!;
  const inside = Math.min(qubits, BLOCK_QUBITS);
  // A shift, not a power: powers are doubles to the engine, and so would be every index that starts from one.
  const block = 1 << inside;
  for (let from = 0; from < re.length; from += block) {
    prepare(from, from + block, factorRe, factorIm);
    mixRange(state, from, from + block, 0, inside, tangent);
  }
  mixRange(state, 0, re.length, inside, qubits, tangent);
  if (!flipped) return;
  // Every qubit flipped: the amplitudes in reverse.
  re.reverse();
  im.reverse();
};
