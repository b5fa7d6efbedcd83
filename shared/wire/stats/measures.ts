/** The question "measures": one cohort, one or several figures about it, released together under one charge. */
import { z } from 'zod';
import { deltaOfText } from '../../privacy/delta.ts';
import { CELLS_MAX, DecimalText, questionFields } from './common.ts';

export const MEASURES_MAX = 16;
export const ROWS_PER_PATIENT_MAX = 100;
export const QUANTILES_MAX = 16;
export const VARIABLES_MAX = 4;
export const CATEGORIES_MAX = 64;
/** Candidates of a quantile's grid. */
export const CANDIDATES_MAX = 2_000;

const Day = z.string().regex(/^\d{4}-\d{2}-\d{2}$/, 'a day as YYYY-MM-DD');
const Edges = <Item extends z.ZodType<string>>(item: Item) =>
  z
    .array(item)
    .min(2, 'a bin needs two edges')
    .max(CELLS_MAX + 1);

/**
 * Which rows of a patient take part: those of `of` (a resource type and conditions, as the serving site's parser reads them), at
 * most `perPatientMax` of each person. The cut is declared because it is the sensitivity: `earliest` and `latest` go by the row's
 * date, `blind` by a fixed order that says nothing about the row.
 */
export const RowsRule = z.strictObject({
  of: z.unknown(),
  perPatientMax: z.int().min(1).max(ROWS_PER_PATIENT_MAX),
  take: z.enum(['earliest', 'latest', 'blind']),
});
export type RowsRule = z.infer<typeof RowsRule>;

/** A number read from a row or a patient, clamped to [low, high] and rounded to a multiple of `granularity`. */
const range = { low: DecimalText, high: DecimalText, granularity: DecimalText } as const;
/** What stands for a value that is missing, not a number or in another unit; without it the row is left out. */
const otherwise = { otherwise: DecimalText.optional() } as const;

export const NumericVariable = z.discriminatedUnion('variable', [
  /** `Observation.valueQuantity` in this unit (its code or its text). */
  z.strictObject({ variable: z.literal('value'), unit: z.string().min(1).max(64), ...range, ...otherwise }),
  /** Whole years on the day `at`. */
  z.strictObject({ variable: z.literal('age'), at: Day, ...range, ...otherwise }),
]);
export type NumericVariable = z.infer<typeof NumericVariable>;

const BinnedValue = z.strictObject({
  variable: z.literal('value'),
  unit: z.string().min(1).max(64),
  edges: Edges(DecimalText),
  ...otherwise,
});
const BinnedAge = z.strictObject({
  variable: z.literal('age'),
  at: Day,
  edges: Edges(DecimalText),
  ...otherwise,
});
const BinnedDate = z.strictObject({ variable: z.literal('date'), edges: Edges(Day) });
const Gender = z.strictObject({ variable: z.literal('gender') });

/** A variable with public bins: `edges` e0 < e1 < … are the bins [e0, e1), [e1, e2) …; what lies outside goes to the first or last. */
export const BinnedVariable = z.discriminatedUnion('variable', [
  BinnedValue,
  BinnedAge,
  BinnedDate,
  Gender,
  /** Anything but the statuses named is "other". */
  z.strictObject({
    variable: z.literal('status'),
    values: z.array(z.string().min(1).max(64)).min(1).max(CATEGORIES_MAX),
  }),
  /** Codes as `system|code` or `code`, the first that the row carries; anything else is "other". */
  z.strictObject({
    variable: z.literal('code'),
    values: z.array(z.string().min(1).max(800)).min(1).max(CATEGORIES_MAX),
  }),
]);
export type BinnedVariable = z.infer<typeof BinnedVariable>;

/** A variable of a table whose keys only the records know: the row's own first code, its own status, or public bins beside them. */
export const KeyVariable = z.discriminatedUnion('variable', [
  z.strictObject({ variable: z.literal('code') }),
  z.strictObject({ variable: z.literal('status') }),
  BinnedValue,
  BinnedAge,
  BinnedDate,
  Gender,
]);
export type KeyVariable = z.infer<typeof KeyVariable>;

/** Keys of one table that a site tells at most. */
export const KEYS_MAX = 4_096;

/** A probability such as `1e-9`. */
export const DeltaText = z
  .string()
  .max(40)
  .refine((text) => deltaOfText(text) !== undefined, 'a delta between 0 and 1, such as 1e-9');

const common = {
  /** This figure's part of epsilon is `share` over the sum of all shares. */
  share: z.int().min(1).max(1_000).default(1),
  /** `auto`: the less noisy of the two at equal price, under the rule of the site that answers. */
  noise: z.enum(['auto', 'laplace', 'gaussian']).default('auto'),
} as const;

/** In (0, 1). */
const Quantile = z
  .string()
  .regex(/^0\.\d{1,6}$/, 'a quantile such as 0.5')
  .refine((text) => Number(text) > 0);

export const Measure = z.discriminatedUnion('measure', [
  /** Persons of the cohort; with `rows`, their rows. */
  z.strictObject({ measure: z.literal('count'), rows: RowsRule.optional(), ...common }),
  z.strictObject({ measure: z.literal('sum'), of: NumericVariable, rows: RowsRule.optional(), ...common }),
  z.strictObject({ measure: z.literal('mean'), of: NumericVariable, rows: RowsRule.optional(), ...common }),
  z.strictObject({
    measure: z.literal('quantiles'),
    of: NumericVariable,
    quantiles: z.array(Quantile).min(1).max(QUANTILES_MAX),
    /** `histogram` adds up over sites; `select` picks a value of the grid and serves one site. */
    method: z.enum(['histogram', 'select']),
    rows: RowsRule.optional(),
    ...common,
  }),
  /** One variable: a histogram; several: a contingency table. A person counts once in a cell, in at most `rows.perPatientMax` cells. */
  z.strictObject({
    measure: z.literal('table'),
    by: z.array(BinnedVariable).min(1).max(VARIABLES_MAX),
    rows: RowsRule.optional(),
    ...common,
  }),
  /**
   * A table whose keys are those that occur: told where the noisy count reaches a threshold that follows from epsilon, delta and the rows per
   * patient. Charges delta besides, of the share that the site reserves.
   */
  z.strictObject({
    measure: z.literal('keyed_table'),
    by: z.array(KeyVariable).min(1).max(VARIABLES_MAX),
    delta: DeltaText,
    rows: RowsRule,
    ...common,
  }),
]);
export type Measure = z.infer<typeof Measure>;

export const MeasuresQuery = z.strictObject({
  kind: z.literal('measures'),
  /** Who is measured, as the serving site's own parser reads it. */
  cohort: z.unknown(),
  measures: z.array(Measure).min(1).max(MEASURES_MAX),
  ...questionFields,
});
export type MeasuresQuery = z.infer<typeof MeasuresQuery>;
