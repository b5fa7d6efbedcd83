/** Products with a matrix of which only the wired entries are kept: `weights[k]` belongs to `wiring.column[k]` of its row. */
import type { Wiring } from './wiring.ts';

/** y[yAt + row] += W · x[xAt …]. */
export const addSparse = (
  { rows, start, column }: Wiring,
  weights: Float64Array,
  x: Float64Array,
  xAt: number,
  y: Float64Array,
  yAt: number,
): void => {
  for (let row = 0; row < rows; row += 1) {
    let sum = 0;
    for (let k = start[row]!; k < start[row + 1]!; k += 1) sum += weights[k]! * x[xAt + column[k]!]!;
    y[yAt + row]! += sum;
  }
};

/** The other way: slopes by y become slopes by the weights and by x, added to both. */
export const addSparseSlopes = (
  { rows, start, column }: Wiring,
  weights: Float64Array,
  x: Float64Array,
  xAt: number,
  ySlopes: Float64Array,
  weightSlopes: Float64Array,
  xSlopes: Float64Array,
): void => {
  for (let row = 0; row < rows; row += 1) {
    const slope = ySlopes[row]!;
    for (let k = start[row]!; k < start[row + 1]!; k += 1) {
      const at = xAt + column[k]!;
      weightSlopes[k]! += slope * x[at]!;
      xSlopes[at]! += slope * weights[k]!;
    }
  }
};
