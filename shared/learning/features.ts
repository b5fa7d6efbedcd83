/**
 * From a patient's facts to what a model sees, in two steps. First the raw numbers, that a site makes of its own records alone: NaN where a value is not
 * known, never beyond the declared bounds. Then, with the mean and standard deviation of the federation, standardised examples, in which what is not known
 * is 0. Flags (`sex`, `condition`, `is`, and observations with `take: known`) lie in 0 … 1 as they are: they are not standardised, so that no budget is
 * spent on their moments and a rare condition is not blown up into a number that clipping would cut off.
 */
import { assert } from '../errors.ts';
import type { Feature, LearningData, Scaling, Series, Take, Target } from '../wire/learning.ts';
import type { Measurement, PatientFacts } from './facts.ts';
import type { Example, ExampleSeries } from './model.ts';

/** One patient before standardising: as `Example`, with NaN for what is not known. */
export type RawExample = Example;

export interface Bounds {
  readonly low: number;
  readonly high: number;
}

/** Nobody was older: an age beyond it is a slip of the pen. */
const AGE_YEARS_MAX = 130;
const FLAG: Bounds = { low: 0, high: 1 };

/** Between which numbers a raw feature lies. For `take: count`, the declared bounds are those of the count. */
export const boundsOf = (feature: Feature): Bounds => {
  if (feature.kind === 'age') return { low: 0, high: AGE_YEARS_MAX / feature.scale };
  if (feature.kind !== 'observation' || feature.take === 'known') return FLAG;
  return { low: feature.low, high: feature.high };
};

export const isStandardised = (feature: Feature): boolean =>
  feature.kind === 'age' || (feature.kind === 'observation' && feature.take !== 'known');

/** Bounds of all features, then of all channels: the order of `Scaling`. undefined for what is not standardised. */
export const standardisedBounds = ({ features, series }: LearningData): readonly (Bounds | undefined)[] => [
  ...features.map((feature) => (isStandardised(feature) ? boundsOf(feature) : undefined)),
  ...(series?.channels ?? []).map(({ low, high }) => ({ low, high })),
];

const clip = (value: number, { low, high }: Bounds): number => Math.min(high, Math.max(low, value));

type ByCode = ReadonlyMap<string, readonly Measurement[]>;

/** Values that are no numbers were not measured. */
const byCode = (measurements: readonly Measurement[]): ByCode => {
  const found = new Map<string, Measurement[]>();
  for (const measurement of measurements) {
    if (!Number.isFinite(measurement.value)) continue;
    const others = found.get(measurement.code);
    if (others === undefined) found.set(measurement.code, [measurement]);
    else others.push(measurement);
  }
  return found;
};

interface Wanted {
  readonly code: string;
  readonly unit?: string | undefined;
}

/** What was measured of a code; where a unit is named, in that unit only. */
const measured = (all: ByCode, { code, unit }: Wanted): readonly Measurement[] => {
  const found = all.get(code) ?? [];
  return unit === undefined ? found : found.filter(({ units }) => units.includes(unit));
};

const extreme = (found: readonly Measurement[], better: (first: number, second: number) => number): number =>
  found.reduce((best, { value }) => better(best, value), found[0]?.value ?? Number.NaN);

const TAKES: Readonly<Record<Take, (found: readonly Measurement[], bounds: Bounds) => number>> = {
  first: (found) => found[0]?.value ?? Number.NaN,
  last: (found) => found.at(-1)?.value ?? Number.NaN,
  // Of clipped values: one that was written in the wrong unit must not carry the others with it.
  mean: (found, bounds) =>
    found.reduce((total, { value }) => total + clip(value, bounds), 0) / (found.length || Number.NaN),
  min: (found) => extreme(found, Math.min),
  max: (found) => extreme(found, Math.max),
  count: (found) => found.length,
  known: (found) => (found.length > 0 ? 1 : 0),
};

const isValue = (last: number, value: number): number => (Number.isNaN(last) ? last : Number(last === value));

const rawFeature = (feature: Feature, facts: PatientFacts, all: ByCode): number => {
  if (feature.kind === 'age') return (facts.age ?? Number.NaN) / feature.scale;
  if (feature.kind === 'sex') return facts.sex === undefined ? Number.NaN : Number(facts.sex === feature.is);
  if (feature.kind === 'condition') return Number(facts.conditions.has(feature.code));
  const found = measured(all, feature);
  if (feature.kind === 'is') return isValue(TAKES.last(found, FLAG), feature.value);
  return TAKES[feature.take](found, feature);
};

const rawFeatures = (features: readonly Feature[], facts: PatientFacts, all: ByCode): Float64Array =>
  Float64Array.from(features, (feature) => clip(rawFeature(feature, facts, all), boundsOf(feature)));

interface Step {
  readonly sums: Float64Array;
  readonly counts: Float64Array;
}

const firstHours = (found: readonly Measurement[]): number =>
  found.reduce((best, { hours }) => Math.min(best, hours), Number.POSITIVE_INFINITY);

/** Measurements of one piece of time, added up: by the number of the piece. */
const stepsOf = ({ channels, hours, stepHours }: Series, all: ByCode): Map<number, Step> => {
  const found = channels.map((channel) => measured(all, channel));
  const first = Math.min(...found.map(firstHours));
  const steps = new Map<number, Step>();
  for (const [channel, measurements] of found.entries())
    for (const { hours: at, value } of measurements) {
      if (at - first > hours) continue;
      const piece = Math.floor((at - first) / stepHours);
      let step = steps.get(piece);
      if (step === undefined) {
        step = { sums: new Float64Array(channels.length), counts: new Float64Array(channels.length) };
        steps.set(piece, step);
      }
      step.sums[channel]! += clip(value, channels[channel]!);
      step.counts[channel]! += 1;
    }
  return steps;
};

/** A step's time is when its piece begins. The first `stepsMax` pieces in which anything was measured. */
const rawSeries = (series: Series, all: ByCode): ExampleSeries => {
  const { channels, stepHours, stepsMax } = series;
  const steps = [...stepsOf(series, all)].toSorted(([one], [other]) => one - other).slice(0, stepsMax);
  const values = new Float64Array(steps.length * channels.length);
  for (const [at, [, { sums, counts }]] of steps.entries())
    for (let channel = 0; channel < channels.length; channel += 1)
      // Nothing measured: 0/0, not a number.
      values[at * channels.length + channel] = sums[channel]! / counts[channel]!;
  return {
    steps: steps.length,
    channels: channels.length,
    hours: Float64Array.from(steps, ([piece]) => piece * stepHours),
    values,
  };
};

/** undefined where it cannot be told: nothing of the target's code was measured. A condition that is not recorded is not there. */
const targetOf = (target: Target, facts: PatientFacts, all: ByCode): 0 | 1 | undefined => {
  if (typeof target === 'string') return facts.conditions.has(target) ? 1 : 0;
  const last = measured(all, target).at(-1);
  if (last === undefined) return undefined;
  return last.value > target.above ? 1 : 0;
};

/** A patient's raw numbers; undefined for one whose target cannot be told, who is not learnt from. */
export const rawExample = (facts: PatientFacts, data: LearningData): RawExample | undefined => {
  const all = byCode(facts.measurements);
  const target = targetOf(data.target, facts, all);
  if (target === undefined) return undefined;
  return {
    inputs: rawFeatures(data.features, facts, all),
    series: data.series === undefined ? undefined : rawSeries(data.series, all),
    target,
  };
};

const standardisedSeries = (series: ExampleSeries, scaling: Scaling, from: number): ExampleSeries => {
  const { channels, steps } = series;
  const values = new Float64Array(steps * channels);
  for (let at = 0; at < values.length; at += 1) {
    const channel = from + (at % channels);
    values[at] = (series.values[at]! - scaling.mean[channel]!) / scaling.sd[channel]!;
  }
  return { ...series, values };
};

/** A feature further from its mean than so many spreads counts as so far: one rare value must not outweigh all others of a patient, or make the gradient one that is clipped. */
const STANDARDISED_MAX = 3;

/**
 * What a model sees of a raw patient: (value − mean) / sd, features within ±3; features that are not known are 0, what was not measured in a series stays NaN.
 * @param scaling one mean and sd a feature, then a channel; 0 and 1 for those that are not standardised
 */
export const standardise = (raw: RawExample, scaling: Scaling): Example => {
  const { inputs, series, target } = raw;
  const numbers = inputs.length + (series?.channels ?? 0);
  assert(scaling.mean.length === numbers && scaling.sd.length === numbers, 'a scaling of these features');
  return {
    inputs: inputs.map((value, at) => {
      const scaled = (value - scaling.mean[at]!) / scaling.sd[at]!;
      return Number.isNaN(scaled) ? 0 : Math.min(STANDARDISED_MAX, Math.max(-STANDARDISED_MAX, scaled));
    }),
    series: series === undefined ? undefined : standardisedSeries(series, scaling, inputs.length),
    target,
  };
};
