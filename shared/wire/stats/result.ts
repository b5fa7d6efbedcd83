/** What the asker gets: per site and over all sites that answered, each figure with the interval of what is returned. */
import { z } from 'zod';
import { QueryId, RoundId, SiteId } from '../../ids.ts';
import { MechanismText } from '../../privacy/mechanism.ts';
import { Comparisons } from '../keys.ts';
import { CELLS_MAX, DecimalText, IntegerText, StatsAnswer } from './common.ts';

/** On the figure's grid, from the noise alone. */
export const Interval = z.strictObject({ low: DecimalText, high: DecimalText, confidence: z.number() });
export type Interval = z.infer<typeof Interval>;

/** A figure and its interval; null where the noise left nothing to say (a mean over nobody). */
const figure = { value: DecimalText.nullable(), interval: Interval.nullable() } as const;
/** `mechanisms`: what was run for this figure at each site whose answer is in it. */
const common = { mechanisms: z.array(MechanismText) } as const;

const Dimension = z.strictObject({ name: z.string(), bins: z.array(z.string()) });

export const MeasureResult = z.discriminatedUnion('measure', [
  z.strictObject({ measure: z.literal('count'), of: z.enum(['patients', 'rows']), ...figure, ...common }),
  z.strictObject({ measure: z.literal('sum'), unit: z.string(), ...figure, ...common }),
  z.strictObject({
    measure: z.literal('mean'),
    unit: z.string(),
    ...figure,
    /** Noisy number of rows the mean is over. */
    count: z.strictObject(figure),
    ...common,
  }),
  z.strictObject({
    measure: z.literal('quantiles'),
    unit: z.string(),
    points: z.array(
      z.strictObject({
        quantile: z.string(),
        ...figure,
        /** Of a selection: how many rows its rank may be off, with the confidence asked; it has no interval. */
        rankWithin: z.string().nullable(),
      }),
    ),
    ...common,
  }),
  z.strictObject({
    measure: z.literal('table'),
    dimensions: z.array(Dimension).min(1),
    /** In row-major order of the dimensions' bins. */
    cells: z.array(z.strictObject({ bins: z.array(z.string()), ...figure })).max(CELLS_MAX),
    ...common,
  }),
  z.strictObject({
    measure: z.literal('keyed_table'),
    dimensions: z.array(z.string()).min(1),
    /**
     * In the order of their keys. The value is the sum over the sites that told the key, `toldBy` of them; the interval is of the count at all
     * sites, and leaves room for what stayed below the threshold at the others.
     */
    cells: z
      .array(z.strictObject({ bins: z.array(z.string()), ...figure, toldBy: z.int().min(1) }))
      .max(CELLS_MAX),
    /** Per answering site: keys with a noisy count below the threshold are hidden, so those of one patient but with odds of `delta`. */
    hidden: z.array(z.strictObject({ threshold: IntegerText, delta: z.number() })),
    ...common,
  }),
]);
export type MeasureResult = z.infer<typeof MeasureResult>;

export const StatsSiteResult = z.discriminatedUnion('status', [
  z.strictObject({
    status: z.literal('answered'),
    site: SiteId,
    answer: StatsAnswer,
    /** The figures of this site alone; empty for questions that are not measures. */
    measures: z.array(MeasureResult),
  }),
  z.strictObject({
    status: z.literal('refused'),
    site: SiteId,
    code: z.string(),
    detail: z.string().nullable(),
    facts: z.record(z.string(), z.unknown()).nullable(),
  }),
]);
export type StatsSiteResult = z.infer<typeof StatsSiteResult>;

export const StatsResult = z.strictObject({
  queryId: QueryId,
  kind: z.string(),
  /** Canonical text of what was asked. */
  asked: z.string(),
  /** True when every site asked has answered. */
  complete: z.boolean(),
  /** Over the sites that answered; empty when none did, and for questions that are not measures. */
  measures: z.array(MeasureResult),
  epsilonPerSite: z.number(),
  sites: z.array(StatsSiteResult),
  /** Of a sealed round, whose sum is all that anybody saw: the sites that were asked, and those that are in it. `sites` is then empty. */
  masked: z
    .strictObject({ round: RoundId, sites: z.array(SiteId), survivors: z.array(SiteId) })
    .exactOptional(),
  /** Which of these sites' fingerprints somebody here has compared. */
  comparisons: Comparisons.exactOptional(),
});
export type StatsResult = z.infer<typeof StatsResult>;
