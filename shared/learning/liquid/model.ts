/** A liquid network: a cell that follows a series through time, and one logit from its state and the features. */
import { assert } from '../../errors.ts';
import { seeded } from '../../seeded.ts';
import { layoutOf, nested, viewOf } from '../layout.ts';
import { logLossOf, sigmoid } from '../logit.ts';
import type { Example, ExampleSeries, Gradient, InputShape, Model } from '../model.ts';
import { type Cell, emptyCourse, makeRoom } from './cell.ts';
import { DECAY_START, fillInputs, inputWidth } from './inputs.ts';

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

/** What a first step's inputs act for: nothing says when the step before it would have been. */
const FIRST_STEP_HOURS = 1;

const fillElapsed = ({ steps, hours }: ExampleSeries, into: Float64Array): void => {
  for (let step = 0; step < steps; step += 1)
    into[step] = step === 0 ? FIRST_STEP_HOURS : hours[step]! - hours[step - 1]!;
};

/**
 * The flat vector: the channels' decay rates, the cell's tensors, then the readout (by the state, by the features, bias). One call at a
 * time: it keeps its scratch space. A patient without any measurement is told from the features alone: the state stays 0.
 */
export const liquidModel = (
  { features, channels }: InputShape,
  makeCell: (width: number) => Cell,
): SequenceModel => {
  const width = inputWidth(channels);
  const cell = makeCell(width);
  const { units } = cell;
  const layout = layoutOf([
    ['decay.rate', [channels]],
    ['cell', [cell.size]],
    ['readout.weight', [units]],
    ['readout.features', [features]],
    ['readout.bias', [1]],
  ]);
  const course = emptyCourse();

  const follow = (weights: Float64Array, { series }: Example): void => {
    assert(series?.channels === channels, 'a liquid model sees the channels it was made for');
    makeRoom(course, series.steps, width, channels, units);
    fillInputs(series, viewOf(layout, 'decay.rate', weights), {
      values: course.inputs,
      decaySlopes: course.decaySlopes,
    });
    fillElapsed(series, course.elapsed);
    cell.forward(viewOf(layout, 'cell', weights), course);
  };
  /** From the state after `steps` steps. */
  const logitAfter = (steps: number, weights: Float64Array, { inputs }: Example): number => {
    const readout = viewOf(layout, 'readout.weight', weights);
    const byFeature = viewOf(layout, 'readout.features', weights);
    let logit = weights[layout.size - 1]!;
    for (let unit = 0; unit < units; unit += 1)
      logit += readout[unit]! * course.states[steps * units + unit]!;
    for (let at = 0; at < features; at += 1) logit += byFeature[at]! * inputs[at]!;
    return logit;
  };
  /** A logit's slope, to the readout's weights and to the state it read. */
  const readoutSlopes = (
    slope: number,
    steps: number,
    weights: Float64Array,
    { inputs }: Example,
    into: Float64Array,
  ): void => {
    const readout = viewOf(layout, 'readout.weight', weights);
    const readoutInto = viewOf(layout, 'readout.weight', into);
    const byFeature = viewOf(layout, 'readout.features', into);
    const { states, stateSlopes } = course;
    for (let unit = 0; unit < units; unit += 1) {
      const at = steps * units + unit;
      readoutInto[unit]! += slope * states[at]!;
      stateSlopes[at]! += slope * readout[unit]!;
    }
    for (let at = 0; at < features; at += 1) byFeature[at]! += slope * inputs[at]!;
    into[layout.size - 1]! += slope;
  };
  const beginSlopes = (into: Float64Array): void => {
    into.fill(0);
    course.stateSlopes.fill(0, 0, (course.steps + 1) * units);
  };
  const backThroughTime = (weights: Float64Array, into: Float64Array): void =>
    cell.backward(
      viewOf(layout, 'cell', weights),
      course,
      viewOf(layout, 'cell', into),
      viewOf(layout, 'decay.rate', into),
    );

  return {
    size: layout.size,
    tensors: nested(layout, 'cell', cell.tensors),
    initial(seed) {
      const weights = new Float64Array(layout.size);
      viewOf(layout, 'decay.rate', weights).fill(DECAY_START);
      cell.begin(viewOf(layout, 'cell', weights), seeded(seed));
      return weights;
    },
    gradient(weights, example, into) {
      follow(weights, example);
      const logit = logitAfter(course.steps, weights, example);
      const probability = sigmoid(logit);
      beginSlopes(into);
      readoutSlopes(probability - example.target, course.steps, weights, example, into);
      backThroughTime(weights, into);
      return { loss: logLossOf(logit, example.target), probability };
    },
    predict(weights, example) {
      follow(weights, example);
      return sigmoid(logitAfter(course.steps, weights, example));
    },
    gradientOfSteps(weights, example, targets, into) {
      follow(weights, example);
      beginSlopes(into);
      let loss = 0;
      let probability = 0;
      for (let step = 0; step < course.steps; step += 1) {
        const target = targets[step] === 1 ? 1 : 0;
        const logit = logitAfter(step + 1, weights, example);
        probability = sigmoid(logit);
        loss += logLossOf(logit, target) / course.steps;
        readoutSlopes((probability - target) / course.steps, step + 1, weights, example, into);
      }
      backThroughTime(weights, into);
      return { loss, probability };
    },
    predictSteps(weights, example, into) {
      follow(weights, example);
      for (let step = 0; step < course.steps; step += 1)
        into[step] = sigmoid(logitAfter(step + 1, weights, example));
    },
  };
};
