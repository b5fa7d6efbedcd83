/** What the heads of liquid networks share: a cell that follows a series, and one number from its state and the features, with its slopes. */
import { assert } from '../../errors.ts';
import { seeded } from '../../seeded.ts';
import { layoutOf, nested, viewOf } from '../layout.ts';
import type { Example, ExampleSeries, InputShape, TensorPart } from '../model.ts';
import { type Cell, emptyCourse, makeRoom } from './cell.ts';
import { DECAY_START, fillInputs, inputWidth } from './inputs.ts';

/** An example without what is to be told of it. */
export type Seen = Pick<Example, 'inputs' | 'series'>;

/** One call at a time: it keeps its scratch space. */
export interface Follower {
  /** Numbers in the flat vector. */
  readonly size: number;
  readonly tensors: readonly TensorPart[];
  initial(seed: number): Float64Array<ArrayBuffer>;
  /** Runs the cell over the series; says how many steps it has. */
  follow(weights: Float64Array, seen: Seen): number;
  /** The number told from the state after `steps` steps of what was followed last. */
  toldAfter(steps: number, weights: Float64Array, seen: Seen): number;
  /** Before the first `addSlope`: nothing is in `into`, nothing comes from the readout. */
  beginSlopes(into: Float64Array): void;
  /** The slope of the loss by the number told after `steps` steps: to the readout's weights, and to the state that was read. */
  addSlope(slope: number, steps: number, weights: Float64Array, seen: Seen, into: Float64Array): void;
  /** After all `addSlope`: the slopes by the cell's weights and by the decay rates. */
  backThroughTime(weights: Float64Array, into: Float64Array): void;
}

/** What a first step's inputs act for: nothing says when the step before it would have been. */
const FIRST_STEP_HOURS = 1;

const fillElapsed = ({ steps, hours }: ExampleSeries, into: Float64Array): void => {
  for (let step = 0; step < steps; step += 1)
    into[step] = step === 0 ? FIRST_STEP_HOURS : hours[step]! - hours[step - 1]!;
};

/**
 * The flat vector: the channels' decay rates, the cell's tensors, then the readout (by the state, by the features, bias). Without any
 * measurement the number is told from the features alone: the state stays 0.
 */
export const followerOf = (
  { features, channels }: InputShape,
  makeCell: (width: number) => Cell,
): Follower => {
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
  return {
    size: layout.size,
    tensors: nested(layout, 'cell', cell.tensors),
    initial(seed) {
      const weights = new Float64Array(layout.size);
      viewOf(layout, 'decay.rate', weights).fill(DECAY_START);
      cell.begin(viewOf(layout, 'cell', weights), seeded(seed));
      return weights;
    },
    follow(weights, { series }) {
      assert(series?.channels === channels, 'a liquid model sees the channels it was made for');
      makeRoom(course, series.steps, width, channels, units);
      fillInputs(series, viewOf(layout, 'decay.rate', weights), {
        values: course.inputs,
        decaySlopes: course.decaySlopes,
      });
      fillElapsed(series, course.elapsed);
      cell.forward(viewOf(layout, 'cell', weights), course);
      return course.steps;
    },
    toldAfter(steps, weights, { inputs }) {
      const readout = viewOf(layout, 'readout.weight', weights);
      const byFeature = viewOf(layout, 'readout.features', weights);
      let told = weights[layout.size - 1]!;
      for (let unit = 0; unit < units; unit += 1)
        told += readout[unit]! * course.states[steps * units + unit]!;
      for (let at = 0; at < features; at += 1) told += byFeature[at]! * inputs[at]!;
      return told;
    },
    beginSlopes(into) {
      into.fill(0);
      course.stateSlopes.fill(0, 0, (course.steps + 1) * units);
    },
    addSlope(slope, steps, weights, { inputs }, into) {
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
    },
    backThroughTime: (weights, into) =>
      cell.backward(
        viewOf(layout, 'cell', weights),
        course,
        viewOf(layout, 'cell', into),
        viewOf(layout, 'decay.rate', into),
      ),
  };
};
