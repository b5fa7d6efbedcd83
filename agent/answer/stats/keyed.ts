/** A table of keys that only the records know, from the keys that each site told. Post-processing: no data, no cost. */
import { z } from 'zod';
import { QflError } from '../../../shared/errors.ts';
import { noiseHalfWidth } from '../../../shared/privacy/interval.ts';
import {
  mechanismOfText,
  type NoiseMechanism,
  type ThresholdedHistogram,
} from '../../../shared/privacy/mechanism.ts';
import { deltaOf } from '../../../shared/privacy/threshold.ts';
import {
  CELLS_MAX,
  KEYS_MAX,
  type Measure,
  type MeasureResult,
  type Release,
} from '../../../shared/wire/stats.ts';

type KeyedTable = Extract<Measure, { measure: 'keyed_table' }>;
export type KeyedResult = Extract<MeasureResult, { measure: 'keyed_table' }>;

const Bins = z.array(z.string());

const protocol = (detail: string): QflError => new QflError('protocol', { detail });

const binsOf = (cell: string, count: number): string[] => {
  try {
    const bins = Bins.parse(JSON.parse(cell));
    if (bins.length === count) return bins;
  } catch {
    // Said below.
  }
  throw protocol('a site told a key in another form than was asked for');
};

interface SiteKeys {
  readonly mechanism: ThresholdedHistogram;
  readonly counts: ReadonlyMap<string, bigint>;
}

/** @throws QflError `protocol` for what no thresholded release can be */
const siteKeys = ({ cells, values, mechanism: text }: Release): SiteKeys => {
  const mechanism = mechanismOfText(text);
  if (mechanism.kind !== 'thresholded_histogram')
    throw protocol('a site answered by another kind of mechanism than was asked for');
  const counts = new Map(cells.map((cell, at) => [cell, BigInt(values[at] ?? '0')]));
  const isRelease =
    counts.size === cells.length &&
    cells.length <= KEYS_MAX &&
    [...counts.values()].every((count) => count >= mechanism.threshold);
  if (!isRelease) throw protocol('a site told keys that stay below its threshold, or one of them twice');
  return { mechanism, counts };
};

/** Half-widths by which noises are in a sum: sites mostly run the same, so there are few different ones. */
const createWidths = (confidence: number) => {
  const known = new Map<string, bigint>();
  return (noises: readonly NoiseMechanism[], names: readonly string[]): bigint => {
    const name = names.toSorted().join();
    const width = known.get(name) ?? noiseHalfWidth(noises, confidence);
    known.set(name, width);
    return width;
  };
};

/**
 * The count of a key over all sites. Let v be the sum of what was told, z the noises. Where a site did not tell the key, count + z ≤ T − 1
 * there, so the whole count is at most v + Σ(T − 1) − Σz over all sites, and at least v − Σz over those that told it. Each of the two
 * one-sided noises may be outside with half of what the confidence leaves.
 */
const cellOf = (
  key: string,
  sites: readonly SiteKeys[],
  names: readonly string[],
  widthOf: ReturnType<typeof createWidths>,
) => {
  const told = sites.flatMap((site, at) => {
    const count = site.counts.get(key);
    return count === undefined ? [] : [{ at, count }];
  });
  const value = told.reduce((sum, { count }) => sum + count, 0n);
  const toldNoises = told.map(({ at }) => sites[at]!.mechanism.noise);
  const toldNames = told.map(({ at }) => names[at]!);
  const below = value - widthOf(toldNoises, toldNames);
  const hidden = sites
    .filter(({ counts }) => !counts.has(key))
    .reduce((sum, { mechanism }) => sum + mechanism.threshold - 1n, 0n);
  const above =
    value +
    hidden +
    widthOf(
      sites.map(({ mechanism }) => mechanism.noise),
      names,
    );
  return { value, low: below > 0n ? below : 0n, high: above, toldBy: told.length };
};

/** @throws QflError `protocol` when a release is not one of this question */
export const keyedFigure = (
  { by }: KeyedTable,
  releases: readonly Release[],
  confidence: number,
): Pick<KeyedResult, 'measure' | 'dimensions' | 'cells' | 'hidden'> => {
  const sites = releases.map(siteKeys);
  const names = releases.map(({ mechanism }) => JSON.stringify(mechanism));
  const widthOf = createWidths(confidence);
  const keys = new Set(sites.flatMap(({ counts }) => [...counts.keys()]));
  const cells = [...keys]
    .map((key) => ({ key, ...cellOf(key, sites, names, widthOf) }))
    .toSorted((left, right) => (left.value === right.value ? 0 : left.value > right.value ? -1 : 1))
    .slice(0, CELLS_MAX)
    .toSorted((left, right) => (left.key < right.key ? -1 : 1));
  return {
    measure: 'keyed_table',
    dimensions: by.map((one) => (one.variable === 'value' ? one.unit : one.variable)),
    cells: cells.map(({ key, value, low, high, toldBy }) => ({
      bins: binsOf(key, by.length),
      value: String(value),
      interval: { low: String(low), high: String(high), confidence },
      toldBy,
    })),
    hidden: sites.map(({ mechanism }) => ({
      threshold: String(mechanism.threshold),
      delta: deltaOf([mechanism]),
    })),
  };
};
