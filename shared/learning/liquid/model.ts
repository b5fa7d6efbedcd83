/** A liquid network that tells a probability: a cell that follows a series through time, and one logit from its state and the features. */
import { logLossOf, sigmoid } from '../logit.ts';
import type { Example, Gradient, InputShape, Model } from '../model.ts';
import type { Cell } from './cell.ts';
import { followerOf } from './follower.ts';

/** A model that can tell the target at every step, not only at the last. */
export interface SequenceModel extends Model {
  /** As `gradient`, of the mean log loss over the steps; `targets` has one 0 or 1 a step. The probability is that of the last step. */
  gradientOfSteps(
    weights: Float64Array,
    example: Example,
    targets: ArrayLike<number>,
    into: Float64Array,
  ): Gradient;
  /** Writes the probability at each step that its target is 1, from what was measured until then. */
  predictSteps(weights: Float64Array, example: Example, into: Float64Array): void;
}

/** The flat vector is that of `followerOf`. One call at a time: it keeps its scratch space. */
export const liquidModel = (shape: InputShape, makeCell: (width: number) => Cell): SequenceModel => {
  const follower = followerOf(shape, makeCell);
  const { size, tensors } = follower;
  return {
    size,
    tensors,
    initial: (seed) => follower.initial(seed),
    gradient(weights, example, into) {
      const steps = follower.follow(weights, example);
      const logit = follower.toldAfter(steps, weights, example);
      const probability = sigmoid(logit);
      follower.beginSlopes(into);
      follower.addSlope(probability - example.target, steps, weights, example, into);
      follower.backThroughTime(weights, into);
      return { loss: logLossOf(logit, example.target), probability };
    },
    predict: (weights, example) =>
      sigmoid(follower.toldAfter(follower.follow(weights, example), weights, example)),
    gradientOfSteps(weights, example, targets, into) {
      const steps = follower.follow(weights, example);
      follower.beginSlopes(into);
      let loss = 0;
      let probability = 0;
      for (let step = 0; step < steps; step += 1) {
        const target = targets[step] === 1 ? 1 : 0;
        const logit = follower.toldAfter(step + 1, weights, example);
        probability = sigmoid(logit);
        loss += logLossOf(logit, target) / steps;
        follower.addSlope((probability - target) / steps, step + 1, weights, example, into);
      }
      follower.backThroughTime(weights, into);
      return { loss, probability };
    },
    predictSteps(weights, example, into) {
      const steps = follower.follow(weights, example);
      for (let step = 0; step < steps; step += 1)
        into[step] = sigmoid(follower.toldAfter(step + 1, weights, example));
    },
  };
};
