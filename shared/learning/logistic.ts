/** Logistic regression: σ(w·x + b). */
import { layoutOf } from './layout.ts';
import { logLossOf, sigmoid } from './logit.ts';
import type { Example, InputShape, Model } from './model.ts';

/** Weights, then the bias; begins from zeros. It looks at no series. */
export const logisticModel = ({ features }: InputShape): Model => {
  const layout = layoutOf([
    ['weight', [features]],
    ['bias', [1]],
  ]);
  const logitOf = (weights: Float64Array, { inputs }: Example): number => {
    let logit = weights[features]!;
    for (let at = 0; at < features; at += 1) logit += weights[at]! * inputs[at]!;
    return logit;
  };
  return {
    size: layout.size,
    tensors: layout.tensors,
    initial: () => new Float64Array(layout.size),
    gradient(weights, example, into) {
      const logit = logitOf(weights, example);
      const probability = sigmoid(logit);
      const slope = probability - example.target;
      const { inputs } = example;
      for (let at = 0; at < features; at += 1) into[at] = slope * inputs[at]!;
      into[features] = slope;
      return { loss: logLossOf(logit, example.target), probability };
    },
    predict: (weights, example) => sigmoid(logitOf(weights, example)),
  };
};
