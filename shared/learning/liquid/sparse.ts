/** Products with a matrix of which only the wired entries are kept: `weights[k]` belongs to `wiring.column[k]` of its row. */
import type { Wiring } from './wiring.ts';

/** y[yAt …] += W · x[xAt …]. */
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
    const end = start[row + 1]!;
    for (let k = start[row]!; k < end; k += 1) sum += weights[k]! * x[xAt + column[k]!]!;
    y[yAt + row]! += sum;
  }
};

/** The other way: slopes by y become slopes by the weights and by x (xSlopes[xSlopesAt …]), added to both. */
export const addSparseSlopes = (
  { rows, start, column }: Wiring,
  weights: Float64Array,
  x: Float64Array,
  xAt: number,
  ySlopes: Float64Array,
  ySlopesAt: number,
  weightSlopes: Float64Array,
  xSlopes: Float64Array,
  xSlopesAt: number,
): void => {
  for (let row = 0; row < rows; row += 1) {
    const slope = ySlopes[ySlopesAt + row]!;
    const end = start[row + 1]!;
    for (let k = start[row]!; k < end; k += 1) {
      const at = column[k]!;
      weightSlopes[k]! += slope * x[xAt + at]!;
      xSlopes[xSlopesAt + at]! += slope * weights[k]!;
    }
  }
};
