/** Sums of vectors whose length is bounded, noised in shares at the sites: what they cost, and how much noise makes them cost so much. */
import { fromHex } from '../bytes.ts';
import { assert, QflError } from '../errors.ts';
import type { RoundId } from '../ids.ts';
import { distributedGaussian, mechanismToText } from '../privacy/mechanism.ts';
import { type Rational, rational } from '../privacy/rational.ts';
import { boundSquared, fitsWords, type Grid, wordsFor } from './encode.ts';
import { type RoundPlan, type RoundPrivacy, survivorsMin } from './plan.ts';
import { toleranceOf } from './tolerance.ts';

/** Who takes part, and how: what a price depends on besides the work. */
export type Party = Pick<RoundPlan, 'sites' | 'threshold' | 'minCohort' | 'masked'>;

/** What is summed: of each patient (or of each site, where that is the unit) one vector. */
export interface SumShape {
  /** Coordinates that mean something; the rest of the words is filled up. */
  readonly length: number;
  /** No vector is longer (Euclidean). */
  readonly clip: number;
  readonly unit: RoundPrivacy['unit'];
}

/** Steps of the grid in the longest vector: rounding then costs a thousandth of the noise. */
const STEPS = 1_024;
/** Patients of the whole federation for which sums must not wrap around: more than any has. */
export const PATIENTS_MAX = 1_000_000;

export const gridOf = ({ length, clip }: SumShape): Grid => ({
  clip,
  step: clip / STEPS,
  words: wordsFor(length),
});

/** Shares of noise that count: of the fewest survivors those that neither look at the sum nor are corrupt (design: privacy, section 6). */
export const honestShares = (plan: Party): number => {
  // Whoever sees a single vector sees the noise of its site alone.
  if (!plan.masked) return 1;
  const { corruptTolerated } = toleranceOf(plan.sites.length);
  return Math.max(1, survivorsMin(plan) - Math.max(1, corruptTolerated));
};

export const sigmaOf = (sigmaSquared: string): Rational => rational(BigInt(sigmaSquared));

/**
 * Variance of a share for which a round loses rho: S/(2·rho·h), rounded up; in steps of the grid.
 * @throws QflError `invalid_request` for more noise than the words hold
 */
export const sigmaSquaredFor = (rho: number, shape: SumShape, party: Party): string => {
  assert(rho > 0, 'a round loses something');
  const grid = gridOf(shape);
  const sigmaSquared = Math.max(1, Math.ceil(Number(boundSquared(grid)) / (2 * rho * honestShares(party))));
  const units = shape.unit === 'patient' ? PATIENTS_MAX : party.sites.length;
  if (!fitsWords(grid, units, { sigmaSquared, shares: party.sites.length }))
    throw new QflError('invalid_request', {
      detail: 'so much noise does not fit into the words of a sealed round',
      next: 'Ask for a larger epsilon, or fewer rounds.',
    });
  return String(sigmaSquared);
};

/** What a plan costs: of its settings alone, at every program alike. */
export const priceOf = (shape: SumShape, sigmaSquared: string, party: Party): RoundPrivacy => {
  const grid = gridOf(shape);
  return {
    unit: shape.unit,
    mechanisms: [
      mechanismToText(
        distributedGaussian({
          sensitivitySquared: boundSquared(grid),
          sigmaSquared: sigmaOf(sigmaSquared),
          shares: honestShares(party),
          words: grid.words,
        }),
      ),
    ],
  };
};

/** Seed of the turn that all sites make alike: of the round, so that no patient's vector stands out in each. */
export const turnSeed = (round: RoundId): Uint8Array => Buffer.concat([fromHex(round), fromHex(round)]);

/** Variance, in steps of the grid, as a plan says it: an integer in decimal. */
export const SIGMA_SQUARED = /^[1-9]\d{0,17}$/;

/** Weights as they travel: doubles, little-endian. */
export const weightBytes = (weights: Float64Array<ArrayBuffer>): Uint8Array =>
  new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength);
/** @throws QflError `protocol` for another number of weights */
export const weightsFrom = (bytes: Uint8Array, size: number): Float64Array<ArrayBuffer> => {
  if (bytes.byteLength !== size * Float64Array.BYTES_PER_ELEMENT)
    throw new QflError('protocol', { detail: 'a model with another number of weights than its kind has' });
  return new Float64Array(Uint8Array.from(bytes).buffer);
};
