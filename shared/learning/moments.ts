/**
 * Mean and standard deviation of what is standardised, over all patients of the federation, as a sum of bounded vectors. Features and channels of one
 * measurement within the same bounds are one group with one mean and spread: the first, the last and the highest value of a heart rate are all heart rates,
 * and each group less makes the vectors shorter, so the noise smaller.
 */
import type { Feature, LearningData, Scaling } from '../wire/learning.ts';
import { type Bounds, type RawExample, standardisedBounds } from './features.ts';

export interface Group {
  readonly bounds: Bounds;
  /** Positions in a scaling: features, then channels. */
  readonly members: readonly number[];
}

/** A spread below this share of half the range is taken to be it: a constant must not be blown up into noise. */
const SPREAD_MIN = 0.02;
/** Where hardly anybody has a value: the middle, and a quarter of the range. */
const SPREAD_UNKNOWN = 0.5;
/** Patients below whom a mean is mostly noise. */
const COUNT_MIN = 10;

const keyOf = ({ features, series }: LearningData, at: number): string => {
  const feature = features[at];
  if (feature === undefined) {
    const { code, unit = '', low, high } = series!.channels[at - features.length]!;
    return JSON.stringify(['value', code, unit, low, high]);
  }
  // A count is no value of the measurement.
  if (feature.kind !== 'observation' || feature.take === 'count') return `feature ${at}`;
  return JSON.stringify(['value', feature.code, feature.unit ?? '', feature.low, feature.high]);
};

export const groupsOf = (data: LearningData): readonly Group[] => {
  const groups = new Map<string, { bounds: Bounds; members: number[] }>();
  for (const [at, bounds] of standardisedBounds(data).entries()) {
    if (bounds === undefined) continue;
    const key = keyOf(data, at);
    const group = groups.get(key) ?? { bounds, members: [] };
    group.members.push(at);
    groups.set(key, group);
  }
  return [...groups.values()];
};

/** Known values at one position of a scaling: of a feature at most one, of a channel one a step. */
const valuesAt = ({ inputs, series }: RawExample, at: number): number[] => {
  if (at < inputs.length) return Number.isNaN(inputs[at]!) ? [] : [inputs[at]!];
  const values: number[] = [];
  for (let cell = at - inputs.length; cell < (series?.values.length ?? 0); cell += series!.channels)
    if (!Number.isNaN(series!.values[cell]!)) values.push(series!.values[cell]!);
  return values;
};

/** One patient's vector: for each group whether there is a value, and the means of the values and of their squares, from −1 at the lower bound to 1. */
export const momentsVector = (raw: RawExample, groups: readonly Group[], into: Float64Array): void => {
  into.fill(0);
  for (const [index, { bounds, members }] of groups.entries()) {
    const [middle, half] = [(bounds.low + bounds.high) / 2, (bounds.high - bounds.low) / 2];
    let [count, sum, squares] = [0, 0, 0];
    for (const at of members)
      for (const value of valuesAt(raw, at)) {
        const unit = Math.min(1, Math.max(-1, (value - middle) / half));
        count += 1;
        sum += unit;
        squares += unit ** 2;
      }
    if (count === 0) continue;
    into[3 * index] = 1;
    into[3 * index + 1] = sum / count;
    into[3 * index + 2] = squares / count;
  }
};

/** What the noisy sum of all patients' vectors says. */
export const scalingFrom = (sum: Float64Array, data: LearningData): Scaling => {
  const numbers = standardisedBounds(data).length;
  const scaling = {
    mean: Array.from({ length: numbers }, () => 0),
    sd: Array.from({ length: numbers }, () => 1),
  };
  for (const [index, { bounds, members }] of groupsOf(data).entries()) {
    const [middle, half] = [(bounds.low + bounds.high) / 2, (bounds.high - bounds.low) / 2];
    const count = sum[3 * index]!;
    const isKnown = count >= COUNT_MIN;
    const mean = isKnown ? Math.min(1, Math.max(-1, sum[3 * index + 1]! / count)) : 0;
    const variance = sum[3 * index + 2]! / count - mean ** 2;
    const spread = isKnown ? Math.sqrt(Math.max(SPREAD_MIN ** 2, variance)) : SPREAD_UNKNOWN;
    for (const at of members) {
      scaling.mean[at] = middle + half * mean;
      scaling.sd[at] = half * spread;
    }
  }
  return scaling;
};

/** Of the range between the public bounds, where nothing more is known of the spread. */
const PUBLIC_SPREAD = 0.25;
/** Points of a sum over a normal distribution, and standard deviations that it reaches to either side: to four digits. */
const NORMAL_POINTS = 801;
const NORMAL_REACH = 6;

/** Mean and spread of a normal value that counts as the nearest bound where it lies beyond one. */
export const clippedNormal = (value: number, spread: number, { low, high }: Bounds) => {
  let [total, sum, squares] = [0, 0, 0];
  for (let point = 0; point < NORMAL_POINTS; point += 1) {
    const at = NORMAL_REACH * ((2 * point) / (NORMAL_POINTS - 1) - 1);
    const weight = Math.exp(-(at ** 2) / 2);
    const clipped = Math.min(high, Math.max(low, value + spread * at));
    total += weight;
    sum += weight * clipped;
    squares += weight * clipped ** 2;
  }
  const mean = sum / total;
  return { mean, sd: Math.sqrt(Math.max(0, squares / total - mean ** 2)) };
};

/** Of one feature or channel. */
const publicMoments = (bounds: Bounds, feature: Feature | undefined): { mean: number; sd: number } => {
  const half = (bounds.high - bounds.low) / 2;
  const usual = feature?.kind === 'observation' ? feature.usual : undefined;
  if (usual === undefined) return { mean: bounds.low + half, sd: 2 * half * PUBLIC_SPREAD };
  const { mean, sd } = clippedNormal(usual.value, usual.spread, bounds);
  return { mean, sd: Math.max(sd, SPREAD_MIN * half) };
};

/**
 * What is known of patients before any is asked: where values usually lie, as the request says; else the middle of the public bounds as the mean, and a
 * quarter of the range as the spread. It costs nothing, and where patients are few it tells more than means with noise do.
 */
export const publicScaling = (data: LearningData): Scaling => {
  const moments = standardisedBounds(data).map((bounds, at) =>
    bounds === undefined ? { mean: 0, sd: 1 } : publicMoments(bounds, data.features[at]),
  );
  return { mean: moments.map(({ mean }) => mean), sd: moments.map(({ sd }) => sd) };
};
