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

/** Writes which of `width` numbers from `at` on are not 0, and says how many. */
const fillActive = (values: Float64Array, at: number, width: number, active: Int32Array): number => {
  let count = 0;
  for (let column = 0; column < width; column += 1)
    if (values[at + column]! !== 0) {
      active[count] = column;
      count += 1;
    }
  return count;
};

/**
 * y[yAt …] = bias + weights · inputs of the step. Four inputs that are not 0 share a pass over the rows, which halves the time of one pass
 * for each: y is read and written once for the four. `active` is scratch space for `width` numbers.
 */
export const listen = (
  { weight, bias }: Listening,
  width: number,
  { inputs }: Course,
  step: number,
  y: Float64Array,
  yAt: number,
  active: Int32Array,
): void => {
  const rows = bias.length;
  const at = step * width;
  const count = fillActive(inputs, at, width, active);
  for (let row = 0; row < rows; row += 1) y[yAt + row] = bias[row]!;
  let next = 0;
  for (; next + 4 <= count; next += 4) {
    const p = active[next]!;
    const q = active[next + 1]!;
    const r = active[next + 2]!;
    const s = active[next + 3]!;
    const a = inputs[at + p]!;
    const b = inputs[at + q]!;
    const c = inputs[at + r]!;
    const d = inputs[at + s]!;
    for (let row = 0; row < rows; row += 1)
      y[yAt + row]! +=
        a * weight[p * rows + row]! +
        b * weight[q * rows + row]! +
        c * weight[r * rows + row]! +
        d * weight[s * rows + row]!;
  }
  for (; next < count; next += 1) {
    const column = active[next]!;
    const value = inputs[at + column]!;
    for (let row = 0; row < rows; row += 1) y[yAt + row]! += value * weight[column * rows + row]!;
  }
};

/** From slopes by y to slopes by the weights and by the decay rates: all are added to. */
export const listenSlopes = (
  { weight }: Listening,
  width: number,
  { inputs, decaySlopes }: Course,
  step: number,
  ySlopes: Float64Array,
  { weight: weightInto, bias: biasInto }: Listening,
  rateSlopes: Float64Array,
): void => {
  const rows = biasInto.length;
  const channels = rateSlopes.length;
  for (let row = 0; row < rows; row += 1) biasInto[row]! += ySlopes[row]!;
  for (let column = 0; column < width; column += 1) {
    const value = inputs[step * width + column]!;
    if (value === 0) continue;
    const from = column * rows;
    const decaySlope = column < channels ? decaySlopes[step * channels + column]! : 0;
    if (decaySlope === 0) {
      for (let row = 0; row < rows; row += 1) weightInto[from + row]! += value * ySlopes[row]!;
      continue;
    }
    let slope = 0;
    for (let row = 0; row < rows; row += 1) {
      weightInto[from + row]! += value * ySlopes[row]!;
      slope += weight[from + row]! * ySlopes[row]!;
    }
    rateSlopes[column]! += slope * decaySlope;
  }
};
