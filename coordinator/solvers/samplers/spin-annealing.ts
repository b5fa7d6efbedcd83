/** Simulated annealing on a quadratic function of bits: single flips, fields kept up to date, temperature falling geometrically. */
import type { Seeded } from '../../../shared/seeded.ts';
import type { SparseQubo } from './sparse.ts';

export interface SpinAnnealingOptions {
  readonly random: Seeded;
  readonly sweeps: number;
  readonly hot: number;
  readonly cold: number;
}

/** The bits after the last sweep. */
export const annealSpins = (
  { bits, linear, start, other, weight }: SparseQubo,
  { random, sweeps, hot, cold }: SpinAnnealingOptions,
): Uint8Array => {
  const state = Uint8Array.from({ length: bits }, () => random.next() & 1);
  /** What turning the bit on adds, given the others. */
  const field = Float64Array.from(linear);
  for (let bit = 0; bit < bits; bit += 1)
    for (let at = start[bit]!; at < start[bit + 1]!; at += 1)
      if (state[other[at]!] === 1) field[bit]! += weight[at]!;
  const factor = (cold / hot) ** (1 / Math.max(1, sweeps - 1));
  let temperature = hot;
  for (let sweep = 0; sweep < sweeps; sweep += 1) {
    for (let bit = 0; bit < bits; bit += 1) {
      const delta = state[bit] === 1 ? -field[bit]! : field[bit]!;
      if (delta > 0 && random.uniform() >= Math.exp(-delta / temperature)) continue;
      const sign = state[bit] === 1 ? -1 : 1;
      state[bit] = 1 - state[bit]!;
      for (let at = start[bit]!; at < start[bit + 1]!; at += 1) field[other[at]!]! += sign * weight[at]!;
    }
    temperature *= factor;
  }
  return state;
};
