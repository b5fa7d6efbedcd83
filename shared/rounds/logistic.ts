/**
 * Logistic regression as sealed rounds, unit patient: each patient's gradient of the log loss at the current weights, with loss, a right prediction and the
 * patient itself as further coordinates of the same clipped vector, so that everything that leaves is noised together.
 */
import { z } from 'zod';
import { fromHex } from '../bytes.ts';
import { assert, QflError } from '../errors.ts';
import type { RoundId } from '../ids.ts';
import { distributedGaussian, mechanismToText } from '../privacy/mechanism.ts';
import { type Rational, rational } from '../privacy/rational.ts';
import { LogisticSettings } from '../wire/round.ts';
import { boundSquared, type Grid, wordsFor } from './encode.ts';
import { type RoundPlan, type RoundPrivacy, survivorsMin } from './plan.ts';
import { toleranceOf } from './tolerance.ts';

export const LOGISTIC = 'logistic';
/** Beside the gradient: loss, right predictions, patients. */
const EXTRAS = 3;
/** Of the gradient's clip, for each of the three. */
const EXTRA_SHARE = 0.5;
/** A loss above it counts as it. */
const LOSS_MAX = 4;
/** Steps of the grid in the longest vector: rounding then costs a thousandth of the noise. */
const STEPS = 1_024;

/** What a plan says to its sites. */
export const LogisticWork = z.strictObject({
  settings: LogisticSettings,
  clip: z.number().positive(),
  /** Variance of each site's share of the noise, in steps of the grid: an integer in decimal. */
  sigmaSquared: z.string().regex(/^[1-9]\d{0,17}$/),
});
export type LogisticWork = z.infer<typeof LogisticWork>;

/** Weights: one a feature, then the intercept. */
export const weightsOf = ({ features }: LogisticSettings): number => features.length + 1;
export const lengthOf = (settings: LogisticSettings): number => weightsOf(settings) + EXTRAS;

export const gridOf = (settings: LogisticSettings, clip: number): Grid => {
  const whole = clip * Math.sqrt(1 + EXTRAS * EXTRA_SHARE ** 2);
  return { clip: whole, step: whole / STEPS, words: wordsFor(lengthOf(settings)) };
};

/** Who takes part, and how: what a price depends on besides the work. */
export type Party = Pick<RoundPlan, 'sites' | 'threshold' | 'minCohort' | 'masked'>;

/** Shares of noise that count: of the fewest survivors those that neither look at the sum nor are corrupt (design: privacy, section 6). */
export const honestShares = (plan: Party): number => {
  // Whoever sees a single vector sees the noise of its site alone.
  if (!plan.masked) return 1;
  const { corruptTolerated } = toleranceOf(plan.sites.length);
  return Math.max(1, survivorsMin(plan) - Math.max(1, corruptTolerated));
};

export const parseLogistic = (plan: RoundPlan): LogisticWork => {
  const parsed = LogisticWork.safeParse(plan.work.settings);
  if (!parsed.success)
    throw new QflError('invalid_request', {
      detail: `not a logistic regression: ${z.prettifyError(parsed.error)}`,
    });
  const { words } = gridOf(parsed.data.settings, parsed.data.clip);
  if (words !== plan.words)
    throw new QflError('invalid_request', {
      detail: `the plan sums ${plan.words} words, and its work makes ${words}`,
    });
  return parsed.data;
};

/** What the plan costs: of its settings alone, at every program alike. */
export const logisticPrice = ({ settings, clip, sigmaSquared }: LogisticWork, plan: Party): RoundPrivacy => {
  const grid = gridOf(settings, clip);
  return {
    unit: 'patient',
    mechanisms: [
      mechanismToText(
        distributedGaussian({
          sensitivitySquared: boundSquared(grid),
          sigmaSquared: sigmaOf(sigmaSquared),
          shares: honestShares(plan),
          words: grid.words,
        }),
      ),
    ],
  };
};

export const sigmaOf = (sigmaSquared: string): Rational => rational(BigInt(sigmaSquared));

/** Variance of a share for which a round loses rho: S/(2·rho·h), rounded up. */
export const sigmaSquaredFor = (rho: number, grid: Grid, shares: number): string => {
  assert(rho > 0, 'a round loses something');
  return String(Math.max(1, Math.ceil(Number(boundSquared(grid)) / (2 * rho * shares))));
};

/** Seed of the turn that all sites make alike: of the round, so that no patient's vector stands out in each. */
export const turnSeed = (round: RoundId): Uint8Array => Buffer.concat([fromHex(round), fromHex(round)]);

const logisticOf = (score: number): number => 1 / (1 + Math.exp(-score));

/** One patient's coordinates. @param inputs of the features, without the intercept */
export const patientVector = (
  weights: ArrayLike<number>,
  inputs: readonly number[],
  label: boolean,
  clip: number,
): Float64Array => {
  const length = inputs.length + 1;
  let score = weights[inputs.length] ?? 0;
  inputs.forEach((input, at) => (score += input * (weights[at] ?? 0)));
  const chance = logisticOf(score);
  const error = chance - (label ? 1 : 0);
  const vector = new Float64Array(length + EXTRAS);
  inputs.forEach((input, at) => (vector[at] = error * input));
  vector[inputs.length] = error;
  let squared = 0;
  for (let at = 0; at < length; at += 1) squared += vector[at]! ** 2;
  const scale = Math.min(1, clip / Math.max(Math.sqrt(squared), Number.MIN_VALUE));
  for (let at = 0; at < length; at += 1) vector[at]! *= scale;
  const extra = EXTRA_SHARE * clip;
  const loss = -Math.log(Math.max(label ? chance : 1 - chance, Math.exp(-LOSS_MAX)));
  vector[length] = (extra * Math.min(loss, LOSS_MAX)) / LOSS_MAX;
  vector[length + 1] = chance >= 0.5 === label ? extra : 0;
  vector[length + 2] = extra;
  return vector;
};

export interface LogisticSum {
  readonly gradient: Float64Array;
  readonly loss: number;
  readonly accuracy: number;
  readonly patients: number;
}

/** What the decoded sum of all patients' vectors says. */
export const readSum = (sum: Float64Array, settings: LogisticSettings, clip: number): LogisticSum => {
  const length = weightsOf(settings);
  const extra = EXTRA_SHARE * clip;
  const patients = sum[length + 2]! / extra;
  const count = Math.max(1, patients);
  return {
    gradient: sum.slice(0, length),
    loss: (sum[length]! * LOSS_MAX) / extra / count,
    accuracy: sum[length + 1]! / extra / count,
    patients,
  };
};

/** Weights as they travel: doubles, little-endian. */
export const weightBytes = (weights: Float64Array<ArrayBuffer>): Uint8Array =>
  new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength);
/** @throws QflError `protocol` for another number of weights */
export const weightsFrom = (bytes: Uint8Array, settings: LogisticSettings): Float64Array => {
  if (bytes.byteLength !== weightsOf(settings) * Float64Array.BYTES_PER_ELEMENT)
    throw new QflError('protocol', { detail: 'a model with another number of weights than features' });
  return new Float64Array(Uint8Array.from(bytes).buffer);
};
