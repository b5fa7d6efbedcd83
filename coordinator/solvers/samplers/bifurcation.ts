/**
 * Discrete simulated bifurcation (Goto et al. 2021): a classical mechanics of oscillators that split into two states, with the couplings acting on the
 * signs and perfectly inelastic walls at ±1. The coupling strength follows the largest eigenvalue of the coupling matrix, because the usual rule of
 * random matrix theory fails on dense one-signed ones.
 */
import type { Seeded } from '../../../shared/seeded.ts';
import type { SparseQubo } from './sparse.ts';

export interface BifurcationOptions {
  readonly random: Seeded;
  readonly steps: number;
  /** Of one step; 1 is the usual. */
  readonly timeStep?: number;
}

/** Bits to spins: x = (1 + s)/2 makes couplings w/4 and fields l/2 + Σ w/4. */
const spinFields = ({ bits, linear, start, weight }: SparseQubo): Float64Array =>
  Float64Array.from({ length: bits }, (_, bit) => {
    let field = linear[bit]! / 2;
    for (let at = start[bit]!; at < start[bit + 1]!; at += 1) field += weight[at]! / 4;
    return field;
  });

/** Largest absolute eigenvalue of the couplings, by power iteration. */
const spectralRadius = ({ bits, start, other, weight }: SparseQubo, random: Seeded): number => {
  let vector = Float64Array.from({ length: bits }, () => random.uniform() - 0.5);
  let radius = 0;
  for (let round = 0; round < 30; round += 1) {
    const next = new Float64Array(bits);
    for (let bit = 0; bit < bits; bit += 1)
      for (let at = start[bit]!; at < start[bit + 1]!; at += 1)
        next[bit]! += (weight[at]! / 4) * vector[other[at]!]!;
    radius = Math.sqrt(next.reduce((sum, value) => sum + value * value, 0));
    if (radius === 0) return 1;
    vector = next.map((value) => value / radius);
  }
  return radius;
};

/** The bits after the last step. */
export const bifurcate = (
  qubo: SparseQubo,
  { random, steps, timeStep = 1 }: BifurcationOptions,
): Uint8Array => {
  const { bits, start, other, weight } = qubo;
  const fields = spinFields(qubo);
  const largest = fields.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const strength = 1 / Math.max(spectralRadius(qubo, random), largest / 2, 1e-9);
  const position = Float64Array.from({ length: bits }, () => 0.02 * (random.uniform() - 0.5));
  const momentum = Float64Array.from({ length: bits }, () => 0.02 * (random.uniform() - 0.5));
  for (let step = 0; step < steps; step += 1) {
    const pump = step / steps;
    for (let bit = 0; bit < bits; bit += 1) {
      let force = fields[bit]!;
      for (let at = start[bit]!; at < start[bit + 1]!; at += 1)
        force += (weight[at]! / 4) * (position[other[at]!]! < 0 ? -1 : 1);
      momentum[bit]! -= ((1 - pump) * position[bit]! + strength * force) * timeStep;
    }
    for (let bit = 0; bit < bits; bit += 1) {
      position[bit]! += momentum[bit]! * timeStep;
      if (Math.abs(position[bit]!) <= 1) continue;
      position[bit] = Math.sign(position[bit]!);
      momentum[bit] = 0;
    }
  }
  return Uint8Array.from(position, (value) => (value > 0 ? 1 : 0));
};
