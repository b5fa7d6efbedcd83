/** What a layer of a cell hears at a step: its inputs in full, and of the cell's state before what the wiring lets it hear. */
import type { Seeded } from '../../seeded.ts';
import { fillGlorot } from '../glorot.ts';
import { type Layout, viewOf } from '../layout.ts';
import type { Course } from './cell.ts';
import { addSparse, addSparseSlopes } from './sparse.ts';
import type { Wiring } from './wiring.ts';

export type ListeningName = 'input.weight' | 'recurrent.weight' | 'bias';

/** Weights, or slopes by them. */
export interface Listening {
  /** width × rows: an input that is 0 costs nothing this way round. */
  readonly input: Float64Array;
  readonly recurrent: Float64Array;
  readonly bias: Float64Array;
}

export const listeningShapes = (
  width: number,
  wiring: Wiring,
): (readonly [ListeningName, readonly number[]])[] => [
  ['input.weight', [width, wiring.rows]],
  ['recurrent.weight', [wiring.column.length]],
  ['bias', [wiring.rows]],
];

export const listeningOf = (layout: Layout<ListeningName>, vector: Float64Array): Listening => ({
  input: viewOf(layout, 'input.weight', vector),
  recurrent: viewOf(layout, 'recurrent.weight', vector),
  bias: viewOf(layout, 'bias', vector),
});

export const beginListening = (
  { input, recurrent }: Listening,
  width: number,
  { rows, columns, density }: Wiring,
  random: Seeded,
): void => {
  fillGlorot(input, width, rows, random);
  fillGlorot(recurrent, columns * density, rows * density, random);
};

/** y[yAt + row] = bias + input weights · inputs of the step + recurrent weights · state before it. */
export const listen = (
  { input, recurrent, bias }: Listening,
  wiring: Wiring,
  width: number,
  course: Course,
  step: number,
  y: Float64Array,
  yAt: number,
): void => {
  const { rows } = wiring;
  const { inputs } = course;
  for (let row = 0; row < rows; row += 1) y[yAt + row] = bias[row]!;
  for (let column = 0; column < width; column += 1) {
    const value = inputs[step * width + column]!;
    if (value === 0) continue;
    const from = column * rows;
    for (let row = 0; row < rows; row += 1) y[yAt + row]! += value * input[from + row]!;
  }
  addSparse(wiring, recurrent, course.states, step * wiring.columns, y, yAt);
};

/** From slopes by y to slopes by the weights, by the state before and by the decay rates: all are added to. */
export const listenSlopes = (
  weights: Listening,
  wiring: Wiring,
  width: number,
  course: Course,
  step: number,
  ySlopes: Float64Array,
  into: Listening,
  rateSlopes: Float64Array,
): void => {
  const { rows } = wiring;
  for (let row = 0; row < rows; row += 1) into.bias[row]! += ySlopes[row]!;
  inputSlopes(weights.input, rows, width, course, step, ySlopes, into.input, rateSlopes);
  addSparseSlopes(
    wiring,
    weights.recurrent,
    course.states,
    step * wiring.columns,
    ySlopes,
    into.recurrent,
    course.stateSlopes,
  );
};

const inputSlopes = (
  weights: Float64Array,
  rows: number,
  width: number,
  { inputs, decaySlopes }: Course,
  step: number,
  ySlopes: Float64Array,
  into: Float64Array,
  rateSlopes: Float64Array,
): void => {
  const channels = rateSlopes.length;
  for (let column = 0; column < width; column += 1) {
    const value = inputs[step * width + column]!;
    if (value === 0) continue;
    const from = column * rows;
    const decaySlope = column < channels ? decaySlopes[step * channels + column]! : 0;
    if (decaySlope === 0) {
      for (let row = 0; row < rows; row += 1) into[from + row]! += value * ySlopes[row]!;
      continue;
    }
    let slope = 0;
    for (let row = 0; row < rows; row += 1) {
      into[from + row]! += value * ySlopes[row]!;
      slope += weights[from + row]! * ySlopes[row]!;
    }
    rateSlopes[column]! += slope * decaySlope;
  }
};
