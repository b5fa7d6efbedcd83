/** A multilayer perceptron: hidden layers of tanh units, one logit. */
import { seeded } from '../seeded.ts';
import { fillGlorot } from './glorot.ts';
import { layoutOf } from './layout.ts';
import { logLossOf, sigmoid } from './logit.ts';
import type { Example, InputShape, Model } from './model.ts';

interface Dense {
  readonly inputs: number;
  readonly outputs: number;
  /** Of the weights (outputs × inputs, row by row) and of the biases in the flat vector. */
  readonly weightAt: number;
  readonly biasAt: number;
}

/** outputs = bias + weights · inputs. */
const forward = (
  { inputs, outputs, weightAt, biasAt }: Dense,
  weights: Float64Array,
  x: Float64Array,
  y: Float64Array,
) => {
  for (let row = 0; row < outputs; row += 1) {
    let sum = weights[biasAt + row]!;
    const from = weightAt + row * inputs;
    for (let column = 0; column < inputs; column += 1) sum += weights[from + column]! * x[column]!;
    y[row] = sum;
  }
};

/** From the slopes of a layer's outputs to those of its weights, and of its inputs where `inputSlopes` is wanted. */
const backward = (
  { inputs, outputs, weightAt, biasAt }: Dense,
  weights: Float64Array,
  x: Float64Array,
  slopes: Float64Array,
  into: Float64Array,
  inputSlopes: Float64Array | undefined,
): void => {
  inputSlopes?.fill(0);
  for (let row = 0; row < outputs; row += 1) {
    const slope = slopes[row]!;
    const from = weightAt + row * inputs;
    into[biasAt + row] = slope;
    for (let column = 0; column < inputs; column += 1) into[from + column] = slope * x[column]!;
    if (inputSlopes === undefined) continue;
    for (let column = 0; column < inputs; column += 1)
      inputSlopes[column]! += slope * weights[from + column]!;
  }
};

const shapesOf = (widths: readonly number[]): [name: string, shape: readonly number[]][] =>
  widths.slice(1).flatMap((outputs, layer): [string, readonly number[]][] => {
    const name = layer === widths.length - 2 ? 'readout' : `hidden.${layer}`;
    return [
      [`${name}.weight`, [outputs, widths[layer] ?? 0]],
      [`${name}.bias`, [outputs]],
    ];
  });

/** Hidden layers of `hidden` tanh units, then one logit. It looks at no series. One call at a time: it keeps its scratch space. */
export const perceptronModel = (hidden: readonly number[], { features }: InputShape): Model => {
  const widths = [features, ...hidden, 1];
  const layout = layoutOf(shapesOf(widths));
  const layers = hidden.concat(1).map((outputs, layer): Dense => {
    const name = layer === hidden.length ? 'readout' : `hidden.${layer}`;
    const [weightAt = 0] = layout.spans[`${name}.weight`] ?? [];
    const [biasAt = 0] = layout.spans[`${name}.bias`] ?? [];
    return { inputs: widths[layer] ?? 0, outputs, weightAt, biasAt };
  });
  // What goes into each layer (the first: the example's own) and what comes out of the last; and their slopes.
  const values = widths.map((width) => new Float64Array(width));
  const slopes = widths.map((width) => new Float64Array(width));
  const last = layers.length;

  const logitOf = (weights: Float64Array, { inputs }: Example): number => {
    for (let layer = 0; layer < last; layer += 1) {
      const y = values[layer + 1]!;
      forward(layers[layer]!, weights, layer === 0 ? inputs : values[layer]!, y);
      if (layer < last - 1) for (let at = 0; at < y.length; at += 1) y[at] = Math.tanh(y[at]!);
    }
    return values[last]![0]!;
  };
  const backwardAll = (weights: Float64Array, inputs: Float64Array, into: Float64Array): void => {
    for (let layer = last - 1; layer >= 0; layer -= 1) {
      const x = layer === 0 ? inputs : values[layer]!;
      const wanted = layer === 0 ? undefined : slopes[layer]!;
      backward(layers[layer]!, weights, x, slopes[layer + 1]!, into, wanted);
      if (wanted !== undefined)
        for (let at = 0; at < wanted.length; at += 1) wanted[at]! *= 1 - x[at]! * x[at]!;
    }
  };
  return {
    size: layout.size,
    tensors: layout.tensors,
    initial(seed) {
      const weights = new Float64Array(layout.size);
      const random = seeded(seed);
      for (const { inputs, outputs, weightAt } of layers)
        fillGlorot(weights.subarray(weightAt, weightAt + inputs * outputs), inputs, outputs, random);
      return weights;
    },
    gradient(weights, example, into) {
      const logit = logitOf(weights, example);
      const probability = sigmoid(logit);
      slopes[last]![0] = probability - example.target;
      backwardAll(weights, example.inputs, into);
      return { loss: logLossOf(logit, example.target), probability };
    },
    predict: (weights, example) => sigmoid(logitOf(weights, example)),
  };
};
