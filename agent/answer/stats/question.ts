/**
 * A question as a person puts it → the question that travels: short forms written out, what was left open fixed, everything checked before
 * any site hears of it.
 */
import { z } from 'zod';
import { QflError } from '../../../shared/errors.ts';
import { type BlockRange, Measure, MeasuresQuery } from '../../../shared/wire/stats.ts';
import { canonicalCohort, type Cohort, parseCohort } from '../../records/cohort.ts';
import { canonicalTree, type CohortTree, parseCohortTree } from '../../records/cohort-tree.ts';
import { accumulatorOf, needRows } from './accumulate.ts';
import { isOfRow } from './layout.ts';

/** A measure with everything optional that has a sensible default. */
export const MeasureAsked = z.looseObject({
  measure: z.enum(['count', 'sum', 'mean', 'quantiles', 'table']),
});
export type MeasureAsked = z.infer<typeof MeasureAsked>;

export interface Asked {
  readonly cohort: unknown;
  readonly measures: readonly MeasureAsked[];
  readonly microEpsilon: number;
  readonly blocks?: BlockRange | undefined;
}

export interface Surroundings {
  /** Day that ages are counted on when the question names none. */
  readonly today: string;
  /** How many sites will be asked. */
  readonly sites: number;
}

const Variable = z.looseObject({ variable: z.string() });
const Rows = z.looseObject({ of: z.unknown().optional() });

/** Ages are counted today unless a day is given; from then on the day is part of the question. */
const withDay = (variable: unknown, today: string): unknown => {
  const known = Variable.safeParse(variable).data;
  return known?.variable === 'age' ? { at: today, ...known } : variable;
};

const DEFAULT_ROWS = { perPatientMax: 1, take: 'latest' } as const;

/** Rows as asked; without them those of a cohort that names one kind of row. */
const rowsOf = (rows: unknown, tree: CohortTree, today: string): unknown => {
  const given = Rows.safeParse(rows ?? {}).data;
  if (given === undefined) return rows;
  const own: Cohort | undefined =
    tree.kind === 'rows' && tree.rows.resource !== 'Patient' ? tree.rows : undefined;
  const of = given['of'] === undefined ? own : parseCohort(given['of'], today);
  if (of === undefined) return rows;
  return { ...DEFAULT_ROWS, ...given, of: JSON.parse(canonicalCohort(of)) as unknown };
};

const looksAtRows = (variables: readonly unknown[]): boolean =>
  variables.some((variable) => {
    const known = Variable.safeParse(variable).data;
    return known !== undefined && isOfRow(known);
  });

/** Odds of telling a key that a single patient has, for whoever names none: a thousandth of a lifetime's delta of 1e-6. */
const DEFAULT_DELTA = '1e-9';

/** A table with `"keys": "unknown"` is asked as one of its own kind; categories are then those that occur. */
const keyed = (asked: MeasureAsked, by: readonly unknown[]): Record<string, unknown> => {
  const { keys: _, ...rest } = asked;
  const named = by.some((variable) => {
    const known = Variable.safeParse(variable).data;
    return known !== undefined && known['values'] !== undefined;
  });
  if (asked.measure !== 'table' || named)
    throw new QflError('invalid_request', {
      detail: named
        ? 'keys are either named or unknown, and this table does both'
        : 'only a table can have unknown keys',
      next: 'Leave "keys" out, or the values of codes and statuses.',
    });
  return { delta: DEFAULT_DELTA, ...rest, measure: 'keyed_table' };
};

/** Categories that only the data knows are released above a threshold, which is asked for by name because it charges delta. */
const requireKeys = (by: readonly unknown[]): void => {
  for (const variable of by) {
    const known = Variable.safeParse(variable).data;
    if ((known?.variable !== 'code' && known?.variable !== 'status') || known['values'] !== undefined)
      continue;
    throw new QflError('invalid_request', {
      detail: `a table by ${known.variable} needs the values to tell apart`,
      next: 'Name the values; all others are counted together as "other". Or ask with "keys": "unknown": keys that only the records know are told above a threshold, which charges a delta.',
      facts: { variable: known.variable, mechanism: 'threshold_release' },
    });
  }
};

const completed = (asked: MeasureAsked, tree: CohortTree, { today, sites }: Surroundings): unknown => {
  const of = withDay(asked['of'], today);
  const by = Array.isArray(asked['by'])
    ? asked['by'].map((variable: unknown) => withDay(variable, today))
    : asked['by'];
  const binned: readonly unknown[] = Array.isArray(by) ? by : [];
  const isKeyed = asked['keys'] === 'unknown';
  if (!isKeyed) requireKeys(binned);
  const variables = [of, ...binned];
  const rows = (): unknown => {
    const found = rowsOf(asked['rows'], tree, today);
    if (isKeyed && found === undefined) throw needRows();
    return found;
  };
  const needsRows = asked['rows'] !== undefined || looksAtRows(variables);
  // Several sites can only add histograms up; one alone can select, which costs a quarter at equal epsilon.
  const method = sites === 1 ? 'select' : 'histogram';
  return {
    ...(asked.measure === 'quantiles' ? { method } : {}),
    ...(isKeyed ? keyed(asked, binned) : asked),
    ...(of === undefined ? {} : { of }),
    ...(by === undefined ? {} : { by }),
    ...(needsRows ? { rows: rows() } : {}),
  };
};

const checked = (value: unknown, at: number): Measure => {
  const parsed = Measure.safeParse(value);
  if (!parsed.success)
    throw new QflError('invalid_request', {
      detail: `figure ${at + 1} cannot be asked like this: ${z.prettifyError(parsed.error)}`,
      next: 'See "POST /v1/stats" in the API description, or "qfl query stats --help".',
    });
  // What has no meaning for this measure is found by laying it out.
  accumulatorOf(parsed.data);
  return parsed.data;
};

/** @throws QflError `invalid_request` */
export const questionOf = (
  asked: Asked,
  around: Surroundings,
): { readonly query: MeasuresQuery; readonly asked: string } => {
  const tree = parseCohortTree(asked.cohort, around.today);
  const measures = asked.measures.map((one, at) => checked(completed(one, tree, around), at));
  if (around.sites > 1 && measures.some((one) => one.measure === 'quantiles' && one.method === 'select'))
    throw new QflError('invalid_request', {
      detail: 'a selected quantile comes from one site, and several are asked',
      next: 'Name one site, or leave the method out: several sites add up histograms.',
    });
  const cohort: unknown = JSON.parse(canonicalTree(tree));
  const months = asked.blocks === undefined ? {} : { blocks: asked.blocks };
  const query = MeasuresQuery.parse({
    kind: 'measures',
    cohort,
    measures,
    microEpsilon: asked.microEpsilon,
    ...months,
  });
  return { query, asked: JSON.stringify({ cohort, measures, ...months }) };
};
