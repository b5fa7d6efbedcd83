/** A quadratic function of bits with the neighbours of each bit side by side: what samplers loop over. */
import type { Qubo } from '../../../shared/quantum/ising.ts';

export interface SparseQubo {
  readonly bits: number;
  readonly linear: Float64Array;
  /** Neighbours of bit b lie from start[b] to start[b + 1]. */
  readonly start: Int32Array;
  readonly other: Int32Array;
  readonly weight: Float64Array;
  readonly offset: number;
}

export const sparseOf = ({ bits, linear, quadratic, offset }: Qubo): SparseQubo => {
  const start = new Int32Array(bits + 1);
  for (const [a, b] of quadratic) {
    start[a + 1]! += 1;
    start[b + 1]! += 1;
  }
  for (let bit = 0; bit < bits; bit += 1) start[bit + 1]! += start[bit]!;
  const fill = Int32Array.from(start);
  const other = new Int32Array(2 * quadratic.length);
  const weight = new Float64Array(2 * quadratic.length);
  for (const [a, b, value] of quadratic) {
    other[fill[a]!] = b;
    weight[fill[a]!] = value;
    fill[a]! += 1;
    other[fill[b]!] = a;
    weight[fill[b]!] = value;
    fill[b]! += 1;
  }
  return { bits, linear: Float64Array.from(linear), start, other, weight, offset };
};
