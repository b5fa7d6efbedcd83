/**
 * A question as a person puts it → the question that travels: short forms written out, what was left open fixed, everything checked before
 * any site hears of it.
 */
import { z } from 'zod';
import { QflError } from '../../../shared/errors.ts';
import { Measure, MeasuresQuery } from '../../../shared/wire/stats.ts';
import { canonicalCohort, type Cohort, parseCohort } from '../../records/cohort.ts';
import { canonicalTree, type CohortTree, parseCohortTree } from '../../records/cohort-tree.ts';
import { accumulatorOf } from './accumulate.ts';
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

/**
 * Categories that the data names would have to be released above a threshold, which fails with a probability delta; the ledgers of this
 * program add up no delta yet, so it is not done rather than not charged.
 */
const requireKeys = (by: readonly unknown[]): void => {
  for (const variable of by) {
    const known = Variable.safeParse(variable).data;
    if ((known?.variable !== 'code' && known?.variable !== 'status') || known['values'] !== undefined)
      continue;
    throw new QflError('invalid_request', {
      detail: `a table by ${known.variable} needs the values to tell apart: keys that only the records know would be released above a threshold, which charges a delta that the privacy ledgers do not carry`,
      next: 'Name the values; all others are counted together as "other".',
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
  requireKeys(binned);
  const variables = [of, ...binned];
  const needsRows = asked['rows'] !== undefined || looksAtRows(variables);
  // Several sites can only add histograms up; one alone can select, which costs a quarter at equal epsilon.
  const method = sites === 1 ? 'select' : 'histogram';
  return {
    ...(asked.measure === 'quantiles' ? { method } : {}),
    ...asked,
    ...(of === undefined ? {} : { of }),
    ...(by === undefined ? {} : { by }),
    ...(needsRows ? { rows: rowsOf(asked['rows'], tree, today) } : {}),
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
  const query = MeasuresQuery.parse({
    kind: 'measures',
    cohort,
    measures,
    microEpsilon: asked.microEpsilon,
  });
  return { query, asked: JSON.stringify({ cohort, measures }) };
};
