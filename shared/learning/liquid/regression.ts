/**
 * A liquid network that tells a number: as `liquidModel`, but its last step is the number itself. The loss is half the squared error, or
 * past `bend` rather the error's size (pseudo-Huber: bend²·(√(1 + (error/bend)²) − 1), smooth everywhere), which a few wild targets move less.
 */
import type { InputShape, TensorPart } from '../model.ts';
import type { Cell } from './cell.ts';
import { followerOf, type Seen } from './follower.ts';

export interface Regression {
  /** Numbers in the flat vector, which is that of `followerOf`. */
  readonly size: number;
  readonly tensors: readonly TensorPart[];
  /** Weights to begin from: the same for the same seed; they tell 0. */
  initial(seed: number): Float64Array<ArrayBuffer>;
  /** Writes the gradient of the loss to `into` (of `size`), which is overwritten. */
  gradient(
    weights: Float64Array,
    seen: Seen,
    target: number,
    into: Float64Array,
  ): { readonly loss: number; readonly told: number };
  predict(weights: Float64Array, seen: Seen): number;
}

const lossOf = (error: number, bend: number): number =>
  bend === Infinity ? (error * error) / 2 : bend * bend * (Math.hypot(1, error / bend) - 1);

/** One call at a time: it keeps its scratch space. `bend`, in units of the target, is above 0; Infinity: squared error everywhere. */
export const liquidRegression = (
  shape: InputShape,
  makeCell: (width: number) => Cell,
  bend = Infinity,
): Regression => {
  const follower = followerOf(shape, makeCell);
  const { size, tensors } = follower;
  return {
    size,
    tensors,
    initial: (seed) => follower.initial(seed),
    gradient(weights, seen, target, into) {
      const steps = follower.follow(weights, seen);
      const told = follower.toldAfter(steps, weights, seen);
      const error = told - target;
      follower.beginSlopes(into);
      follower.addSlope(error / Math.hypot(1, error / bend), steps, weights, seen, into);
      follower.backThroughTime(weights, into);
      return { loss: lossOf(error, bend), told };
    },
    predict: (weights, seen) => follower.toldAfter(follower.follow(weights, seen), weights, seen),
  };
};
