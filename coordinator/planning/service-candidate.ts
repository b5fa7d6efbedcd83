/**
 * A learned forecaster of service times: a closed-form liquid cell follows the newest ends and their irregular times, and corrects the incumbent's median.
 * It is a candidate: `later-time.ts` says whether it is used. `npm run bench -- predictor` is where it is judged.
 */
import { assert } from '../../shared/errors.ts';
import { cfcCell } from '../../shared/learning/liquid/cfc.ts';
import type { Seen } from '../../shared/learning/liquid/follower.ts';
import { liquidRegression } from '../../shared/learning/liquid/regression.ts';
import { type LocalSettings, trainLocal } from '../../shared/learning/local.ts';
import type { Steps } from '../../shared/rounds/slowly.ts';
import { CHANNELS, FEATURES, type Sight } from './service-history.ts';

/** What was seen when a request was placed, and what it took. */
export interface ServiceExample {
  readonly sight: Sight;
  /** Natural logarithm of ms. */
  readonly serviceLog: number;
}

export interface CandidateSettings {
  readonly units: number;
  readonly follows: 'site' | 'model';
  /** Where the loss turns from squared to absolute, in standard deviations of the target; Infinity: squared. */
  readonly bend: number;
  /** λ of λ/2·|w|²: a network held small stays near the incumbent. */
  readonly l2: number;
  readonly epochs: number;
  readonly rate: number;
  readonly seed: number;
}

/** Natural logarithm of the predicted ms. One call at a time. */
export type LogForecast = (sight: Sight) => number;

export interface Moments {
  readonly mean: Float64Array;
  readonly sd: Float64Array;
}

const BATCH = 32;
const SPARSITY = 0.4;

/** Of each column over rows laid one behind the other; NaN does not count, and a column that never differs has a deviation of 1. */
export const columnMoments = (rows: readonly Float64Array[], columns: number): Moments => {
  const mean = new Float64Array(columns);
  const sd = new Float64Array(columns).fill(1);
  for (let column = 0; column < columns; column += 1) {
    let [count, sum, squares] = [0, 0, 0];
    for (const row of rows)
      for (let at = column; at < row.length; at += columns) {
        const value = row[at]!;
        if (value !== value) continue;
        count += 1;
        sum += value;
        squares += value * value;
      }
    if (count === 0) continue;
    const average = sum / count;
    mean[column] = average;
    const variance = squares / count - average * average;
    if (variance > 1e-9) sd[column] = Math.sqrt(variance);
  }
  return { mean, sd };
};

/** As many standard deviations from the mean; what is further than this counts as this far. */
const FAR = 5;

export const standardised = (values: Float64Array, { mean, sd }: Moments): Float64Array =>
  values.map((value, at) => {
    const column = at % mean.length;
    return Math.max(-FAR, Math.min(FAR, (value - mean[column]!) / sd[column]!));
  });

/** A sight as the network takes it, scaled by what the examples are like. */
const viewer = (
  examples: readonly ServiceExample[],
  follows: CandidateSettings['follows'],
): ((sight: Sight) => Seen) => {
  const seriesOf = ({ ofSite, ofModel }: Sight) => (follows === 'site' ? ofSite : ofModel);
  const momentsOf = (rowOf: (sight: Sight) => Float64Array, columns: number): Moments =>
    columnMoments(
      examples.map(({ sight }) => rowOf(sight)),
      columns,
    );
  const ofFeatures = momentsOf(({ features }) => features, FEATURES.length);
  const ofChannels = momentsOf((sight) => seriesOf(sight).values, CHANNELS.length);
  return (sight) => {
    const series = seriesOf(sight);
    return {
      inputs: standardised(sight.features, ofFeatures),
      series: { ...series, values: standardised(series.values, ofChannels) },
    };
  };
};

/** Trains on examples that are all of earlier time than what will be asked. A step is one example, so that others can have their turn. */
export const trainCandidate = function* (
  examples: readonly ServiceExample[],
  { units, follows, bend, l2, epochs, rate, seed }: CandidateSettings,
): Steps<LogForecast> {
  assert(examples.length > 0, 'a forecaster learns from something');
  const view = viewer(examples, follows);
  const seen = examples.map(({ sight }) => view(sight));
  const misses = Float64Array.from(examples, ({ sight, serviceLog }) => serviceLog - sight.baseLog);
  const scale = columnMoments([misses], 1).sd[0]!;
  const model = liquidRegression(
    { features: FEATURES.length, channels: CHANNELS.length },
    (width) => cfcCell({ width, units, sparsity: SPARSITY, wiringSeed: 1, qubits: 0 }),
    bend,
  );
  const objective = {
    size: model.size,
    tensors: model.tensors,
    examples: seen.length,
    gradient: (weights: Float64Array, at: number, into: Float64Array) =>
      model.gradient(weights, seen[at]!, misses[at]! / scale, into),
  };
  const training: LocalSettings = { epochs, rate, l2, seed, batch: BATCH, lengthMax: 1, rateEnd: 0.05 };
  const { weights } = yield* trainLocal(objective, model.initial(seed), training);
  return (sight) => sight.baseLog + scale * model.predict(weights, view(sight));
};
