/** From what somebody gives to what the model sees: named or ordered raw numbers, clipped and standardised as in training. */
import { QflError } from '../../shared/errors.ts';
import { boundsOf, type RawExample, standardise } from '../../shared/learning/features.ts';
import { publicScaling } from '../../shared/learning/moments.ts';
import { featureNames } from '../../shared/learning/feature-names.ts';
import type { Example, ExampleSeries } from '../../shared/learning/model.ts';
import type { Feature, LearningData, Scaling, Series } from '../../shared/wire/learning.ts';
import type { PredictExample } from '../../shared/wire/pulled-model.ts';

type Value = number | boolean | null | undefined;

const refuse = (detail: string, next: string): never => {
  throw new QflError('invalid_request', { detail, next });
};

const clip = (value: number, { low, high }: { readonly low: number; readonly high: number }): number =>
  Math.min(high, Math.max(low, value));

/** An age is given in years, everything else as it was measured; NaN where it is not known. */
const rawValue = (feature: Feature, value: Value): number => {
  if (value === null || value === undefined) return Number.NaN;
  const number = Number(value);
  return clip(feature.kind === 'age' ? number / feature.scale : number, boundsOf(feature));
};

const orderedInputs = ({ features }: LearningData, inputs: readonly Value[]): Float64Array => {
  if (inputs.length !== features.length)
    refuse(
      `${inputs.length} inputs were given, and the model has ${features.length} features`,
      'Give one number, or null, for each of them in their order.',
    );
  return Float64Array.from(features, (feature, at) => rawValue(feature, inputs[at]));
};

const namedInputs = (data: LearningData, given: Readonly<Record<string, Value>>): Float64Array => {
  const names = featureNames(data);
  const unknown = Object.keys(given).find((name) => !names.includes(name));
  if (unknown !== undefined)
    refuse(
      `the model has no feature "${unknown.slice(0, 80)}"`,
      `Its features are ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}.`,
    );
  return Float64Array.from(data.features, (feature, at) => rawValue(feature, given[names[at]!]));
};

const seriesOf = (
  { channels, hours: hoursMax, stepsMax }: Series,
  { hours, values }: NonNullable<PredictExample['series']>,
): ExampleSeries => {
  if (hours.length !== values.length || hours.length > stepsMax)
    refuse(
      `${hours.length} times and ${values.length} rows of values were given`,
      `Give one row for each time, ${stepsMax} at most.`,
    );
  if (hours.some((at, index) => at > hoursMax || (index > 0 && at <= hours[index - 1]!)))
    refuse('the times do not ascend', `Give hours since the first measurement, up to ${hoursMax}.`);
  if (values.some((row) => row.length !== channels.length))
    refuse('a row of values has another length', `The model follows ${channels.length} channels.`);
  const flat = new Float64Array(hours.length * channels.length).fill(Number.NaN);
  for (let step = 0; step < values.length; step += 1) {
    const row = values[step]!;
    for (let channel = 0; channel < row.length; channel += 1) {
      const value = row[channel]!;
      if (value !== null) flat[step * channels.length + channel] = clip(value, channels[channel]!);
    }
  }
  return {
    steps: hours.length,
    channels: channels.length,
    hours: Float64Array.from(hours),
    values: flat,
  };
};

/**
 * @param scaling of the model's record; null: the public one, as sites learn with where a training has none
 * @throws QflError `invalid_request` for features the model does not have, and what does not fit its shape
 */
export const exampleOf = (
  data: LearningData,
  scaling: Scaling | null,
  { features, inputs, series }: PredictExample,
): Example => {
  if (features !== undefined && inputs !== undefined)
    refuse('both features and inputs were given', 'Give either of them.');
  if ((series === undefined) !== (data.series === undefined))
    refuse(
      series === undefined ? 'the model follows a series, and none was given' : 'the model follows no series',
      'See what it looks at: qfl model show',
    );
  const raw: RawExample = {
    inputs: inputs === undefined ? namedInputs(data, features ?? {}) : orderedInputs(data, inputs),
    series: series === undefined || data.series === undefined ? undefined : seriesOf(data.series, series),
    // Nobody knows it: it is what is asked. The model does not look at it.
    target: 0,
  };
  return standardise(raw, scaling ?? publicScaling(data));
};
