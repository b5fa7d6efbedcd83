/**
 * Beside what is learnt of a patient, in the same clipped and noised vector: the loss, whether the model was right, and a one that counts. So the figures of
 * a training are private as its weights are, and cost nothing besides.
 */
import type { RoundPrivacy } from './plan.ts';
import type { SumShape } from './noise.ts';

const EXTRAS = 3;
/** Of the clip, for each of the three: together they lengthen the vector, and with it the noise, by a tenth. */
const EXTRA_SHARE = 0.25;
/** A loss above it counts as it, in nats. */
const LOSS_MAX = 4;

export const bookkeptShape = (size: number, clip: number, unit: RoundPrivacy['unit']): SumShape => ({
  length: size + EXTRAS,
  clip: clip * Math.sqrt(1 + EXTRAS * EXTRA_SHARE ** 2),
  unit,
});

export interface Account {
  /** In nats. */
  readonly loss: number;
  /** Of the model's guesses: 1 where all were right. */
  readonly right: number;
}

/** Shortens a vector in place to the clip, where it is longer. What is not finite becomes nothing. */
export const clipTo = (vector: Float64Array, clip: number): void => {
  let squared = 0;
  for (const value of vector) squared += value ** 2;
  const length = Math.sqrt(squared);
  if (!Number.isFinite(length)) vector.fill(0);
  else if (length > clip) for (let at = 0; at < vector.length; at += 1) vector[at]! *= clip / length;
};

/**
 * One vector of the sum. @param learnt already clipped @param into of its length and three more @param weight in [0, 1]: how much it counts
 */
export const bookkeep = (
  learnt: Float64Array,
  { loss, right }: Account,
  clip: number,
  into: Float64Array,
  weight = 1,
): void => {
  const { length } = learnt;
  for (let at = 0; at < length; at += 1) into[at] = weight * learnt[at]!;
  const extra = EXTRA_SHARE * clip * weight;
  into[length] = (extra * Math.min(Math.max(loss, 0), LOSS_MAX)) / LOSS_MAX;
  into[length + 1] = extra * right;
  into[length + 2] = extra;
};

export interface BookkeptSum {
  /** Sum of what was learnt, each weighted. */
  readonly learnt: Float64Array;
  readonly loss: number;
  readonly accuracy: number;
  /** Sum of the weights: patients, where each counts as one. */
  readonly count: number;
  /** The same, and no less than `countMin`: what means are made with. */
  readonly divisor: number;
}

/** What the decoded sum of all vectors says. */
export const readBookkept = (sum: Float64Array, clip: number, countMin = 1): BookkeptSum => {
  const length = sum.length - EXTRAS;
  const extra = EXTRA_SHARE * clip;
  const count = sum[length + 2]! / extra;
  const divisor = Math.max(countMin, count);
  return {
    learnt: sum.slice(0, length),
    loss: (sum[length]! * LOSS_MAX) / extra / divisor,
    accuracy: sum[length + 1]! / extra / divisor,
    count,
    divisor,
  };
};
