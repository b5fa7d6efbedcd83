/** Quadratic functions of bits, and their value at every basis state. */
import { assert } from '../errors.ts';

/** Σ linear[i]·x_i + Σ quadratic·x_i·x_j + offset over bits x; to be made small. */
export interface Qubo {
  readonly bits: number;
  readonly linear: readonly number[];
  readonly quadratic: readonly (readonly [first: number, second: number, weight: number])[];
  readonly offset: number;
}

export const quboValue = ({ linear, quadratic, offset }: Qubo, bits: ArrayLike<number>): number =>
  quadratic.reduce(
    (sum, [first, second, weight]) => sum + weight * bits[first]! * bits[second]!,
    linear.reduce((sum, weight, at) => sum + weight * bits[at]!, offset),
  );

/** Values of all 2^bits states; bit k of the index is x_k. Doubling: each bit adds its row to a copy of what is there. */
export const quboTable = ({ bits, linear, quadratic, offset }: Qubo): Float64Array => {
  assert(bits <= 26, 'a table of values is for few bits');
  const table = new Float64Array(2 ** bits);
  table[0] = offset;
  for (let bit = 0; bit < bits; bit += 1) {
    const size = 2 ** bit;
    const partners = quadratic.flatMap(([first, second, weight]) => {
      if (Math.max(first, second) !== bit) return [];
      return [[1 << Math.min(first, second), weight] as const];
    });
    for (let low = 0; low < size; low += 1) {
      let value = table[low]! + (linear[bit] ?? 0);
      for (const [mask, weight] of partners) if ((low & mask) !== 0) value += weight;
      table[low + size] = value;
    }
  }
  return table;
};

/** MaxCut as a function to make small: minus the weight of the edges that are cut. */
export const maxCutQubo = (nodes: number, edges: readonly (readonly [number, number, number])[]): Qubo => {
  const linear = Array.from({ length: nodes }, () => 0);
  for (const [a, b, weight] of edges) {
    linear[a]! -= weight;
    linear[b]! -= weight;
  }
  return { bits: nodes, linear, quadratic: edges.map(([a, b, weight]) => [a, b, 2 * weight]), offset: 0 };
};
