/** Which of the possible connections between two layers of a liquid network are there: drawn once, from a seed, and never changed. */
import { type Seeded, seeded } from '../../seeded.ts';

export interface Wiring {
  readonly rows: number;
  readonly columns: number;
  /** Row r listens to `column[start[r]]` … `column[start[r + 1] − 1]`, ascending: compressed sparse rows without the values. */
  readonly start: Int32Array;
  readonly column: Int32Array;
  /** Share of the possible connections that are there, counted. */
  readonly density: number;
}

/** `kept` different numbers below `bound`, ascending: the first places of a Fisher-Yates shuffle. */
const chosen = (kept: number, bound: number, random: Seeded): Int32Array => {
  const all = Int32Array.from({ length: bound }, (_, at) => at);
  for (let at = 0; at < kept; at += 1) {
    const other = at + random.below(bound - at);
    const value = all[at]!;
    all[at] = all[other]!;
    all[other] = value;
  }
  return all.subarray(0, kept).toSorted();
};

/** Connections that each row keeps. */
export const keptPerRow = (columns: number, sparsity: number): number =>
  Math.max(1, Math.round((1 - sparsity) * columns));

/** Each row keeps the same number of connections, rounded from 1 − sparsity of them and at least one. */
export const wiringOf = (rows: number, columns: number, sparsity: number, seed: number): Wiring => {
  const random = seeded(seed);
  const kept = keptPerRow(columns, sparsity);
  const start = Int32Array.from({ length: rows + 1 }, (_, row) => row * kept);
  const column = new Int32Array(rows * kept);
  for (let row = 0; row < rows; row += 1) column.set(chosen(kept, columns, random), row * kept);
  return { rows, columns, start, column, density: column.length / (rows * columns) };
};
