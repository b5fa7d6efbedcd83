/** What a layer of a cell hears of a step's inputs: all of them, whatever the wiring. */
import type { Seeded } from '../../seeded.ts';
import { fillGlorot } from '../glorot.ts';
import { type Layout, viewOf } from '../layout.ts';
import type { Course } from './cell.ts';

export type ListeningName = 'input.weight' | 'input.bias';

/** Weights, or slopes by them. */
export interface Listening {
  /** width × rows: an input that is 0 costs nothing this way round. */
  readonly weight: Float64Array;
  readonly bias: Float64Array;
}

export const listeningShapes = (
  width: number,
  rows: number,
): (readonly [ListeningName, readonly number[]])[] => [
  ['input.weight', [width, rows]],
  ['input.bias', [rows]],
];

export const listeningOf = (layout: Layout<ListeningName>, vector: Float64Array): Listening => ({
  weight: viewOf(layout, 'input.weight', vector),
  bias: viewOf(layout, 'input.bias', vector),
});

export const beginListening = ({ weight, bias }: Listening, width: number, random: Seeded): void =>
  fillGlorot(weight, width, bias.length, random);

/** y[yAt …] = bias + weights · inputs of the step. */
export const listen = (
  { weight, bias }: Listening,
  width: number,
  { inputs }: Course,
  step: number,
  y: Float64Array,
  yAt: number,
): void => {
  const rows = bias.length;
  for (let row = 0; row < rows; row += 1) y[yAt + row] = bias[row]!;
  for (let column = 0; column < width; column += 1) {
    const value = inputs[step * width + column]!;
    if (value === 0) continue;
    const from = column * rows;
    for (let row = 0; row < rows; row += 1) y[yAt + row]! += value * weight[from + row]!;
  }
};

/** From slopes by y to slopes by the weights and by the decay rates: all are added to. */
export const listenSlopes = (
  { weight }: Listening,
  width: number,
  { inputs, decaySlopes }: Course,
  step: number,
  ySlopes: Float64Array,
  into: Listening,
  rateSlopes: Float64Array,
): void => {
  const rows = into.bias.length;
  const channels = rateSlopes.length;
  for (let row = 0; row < rows; row += 1) into.bias[row]! += ySlopes[row]!;
  for (let column = 0; column < width; column += 1) {
    const value = inputs[step * width + column]!;
    if (value === 0) continue;
    const from = column * rows;
    for (let row = 0; row < rows; row += 1) into.weight[from + row]! += value * ySlopes[row]!;
    const decaySlope = column < channels ? decaySlopes[step * channels + column]! : 0;
    if (decaySlope === 0) continue;
    let slope = 0;
    for (let row = 0; row < rows; row += 1) slope += weight[from + row]! * ySlopes[row]!;
    rateSlopes[column]! += slope * decaySlope;
  }
};
