/**
 * What a count may ask for: one resource type and row-wise, public conditions on it (privacy.md §4: map and filter
 * with public predicates have stability 1; joins, limits and orders are refused by having no form here).
 * A condition looks at one row, or at the row's own patient. Several conditions must all hold for the same row.
 */
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';
import { daysOf } from './dates.ts';
import { COHORT_TYPES, type CohortType } from './fhir/types.ts';

const Day = z
  .string()
  .refine((text) => text.length === 10 && daysOf(text) !== undefined, 'not a calendar day');
const Token = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[^\s\p{Cc}|&]+( [^\s\p{Cc}|&]+)*$/u, 'a code has no "|", "&" or control characters');
const System = z
  .string()
  .max(512)
  .regex(/^[^\s\p{Cc}|&]*$/u, 'a system is a URI without "|" and "&"');

const interval = { from: Day.optional(), before: Day.optional() };

export const CohortCondition = z.discriminatedUnion('field', [
  /** Without `system`: the code under any system; with '': only where the resource gives no system. */
  z.strictObject({ field: z.literal('code'), system: System.optional(), code: Token }),
  z.strictObject({ field: z.literal('status'), value: Token }),
  z.strictObject({ field: z.literal('date'), ...interval }),
  z.strictObject({ field: z.literal('gender'), value: z.enum(['male', 'female', 'other', 'unknown']) }),
  z.strictObject({ field: z.literal('birthdate'), ...interval }),
]);
export type CohortCondition = z.infer<typeof CohortCondition>;

export const COHORT_CONDITIONS_MAX = 8;

const ROW_FIELDS = new Set<CohortCondition['field']>(['code', 'status', 'date']);

const isEmptyInterval = (condition: CohortCondition): boolean => {
  if (condition.field !== 'date' && condition.field !== 'birthdate') return false;
  const { from, before } = condition;
  return (
    (from === undefined && before === undefined) ||
    (from !== undefined && before !== undefined && from >= before)
  );
};

/** The wire and API form. */
export const Cohort = z
  .strictObject({
    resource: z.enum(COHORT_TYPES),
    where: z.array(CohortCondition).max(COHORT_CONDITIONS_MAX).default([]),
  })
  .refine(
    ({ resource, where }) => resource !== 'Patient' || where.every(({ field }) => !ROW_FIELDS.has(field)),
    {
      message: 'a Patient cohort takes gender and birthdate only',
      path: ['where'],
    },
  )
  .refine(({ where }) => !where.some(isEmptyInterval), {
    message: 'a date interval needs "from" before "before", or one of them',
    path: ['where'],
  });
export type Cohort = z.infer<typeof Cohort>;

const NEXT =
  'Use a resource type and conditions such as code=http://snomed.info/sct|44054006, status=active, ' +
  'date=ge2015-01-01|lt2020-01-01, gender=female, birthdate=ge1960|lt2000.';

const refuse = (detail: string): QflError => new QflError('invalid_request', { detail, next: NEXT });

const parsed = (value: unknown): Cohort => {
  const result = Cohort.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw refuse(`the cohort is not valid: ${(issue?.path ?? []).join('.')} ${issue?.message ?? ''}`.trim());
};

/** FHIR search prefixes over whole days: `gt1999` starts on 2000-01-01, `le1999` ends before it. */
const parseBound = (field: string, text: string): { from?: string; before?: string } => {
  const match = /^(eq|ge|gt|le|lt)?(\d{4}(?:-\d{2}){0,2})$/.exec(text);
  const days = match === null ? undefined : daysOf(match[2]!);
  if (match === null || days === undefined) throw refuse(`${field}: not a date or a prefix and a date`);
  switch (match[1] ?? 'eq') {
    case 'ge':
      return { from: days.first };
    case 'gt':
      return { from: days.after };
    case 'lt':
      return { before: days.first };
    case 'le':
      return { before: days.after };
    default:
      return { from: days.first, before: days.after };
  }
};

const parseInterval = (field: string, text: string): { from?: string; before?: string } => {
  const bounds = text.split('|').map((part) => parseBound(field, part));
  const from = bounds
    .flatMap((bound) => bound.from ?? [])
    .toSorted()
    .at(-1);
  const before = bounds
    .flatMap((bound) => bound.before ?? [])
    .toSorted()
    .at(0);
  return { ...(from === undefined ? {} : { from }), ...(before === undefined ? {} : { before }) };
};

const parseCode = (text: string): Record<string, string> => {
  const bar = text.lastIndexOf('|');
  return bar < 0 ? { code: text } : { system: text.slice(0, bar), code: text.slice(bar + 1) };
};

/** One condition in its command-line form; checked by `Cohort` afterwards. */
const parseCondition = (text: string): unknown => {
  const equals = text.indexOf('=');
  if (equals <= 0) throw refuse('a condition is field=value');
  const field = text.slice(0, equals).trim();
  const value = text.slice(equals + 1).trim();
  switch (field) {
    case 'code':
      return { field, ...parseCode(value) };
    case 'date':
    case 'birthdate':
      return { field, ...parseInterval(field, value) };
    case 'status':
    case 'gender':
      return { field, value };
    default:
      throw refuse('a condition is about code, status, date, gender or birthdate');
  }
};

/**
 * `--count Condition --where code=… --where gender=female`: each text holds one condition or several joined with `&`.
 * @throws QflError `invalid_request`
 */
export const parseCohortOptions = (resource: string, where: readonly string[]): Cohort =>
  parsed({ resource, where: where.flatMap((text) => text.split('&')).map(parseCondition) });

/**
 * A cohort from its JSON form (an object), or from `Type` or `Type?field=value&field=value`.
 * @throws QflError `invalid_request`
 */
export const parseCohort = (input: unknown): Cohort => {
  if (typeof input !== 'string') return parsed(input);
  const mark = input.indexOf('?');
  if (mark < 0) return parseCohortOptions(input.trim(), []);
  return parseCohortOptions(input.slice(0, mark).trim(), [input.slice(mark + 1)]);
};

const FIELD_ORDER = ['field', 'system', 'code', 'value', 'from', 'before'] as const;

const canonicalCondition = (condition: CohortCondition): string => {
  const fields = new Map(Object.entries(condition));
  return JSON.stringify(
    Object.fromEntries(
      FIELD_ORDER.flatMap((name) => (fields.get(name) === undefined ? [] : [[name, fields.get(name)]])),
    ),
  );
};

/** One text per meaning of the form: conditions sorted, repeated ones once. What is hashed, signed and logged. */
export const canonicalCohort = ({ resource, where }: Cohort): string => {
  const conditions = [...new Set(where.map(canonicalCondition))].toSorted();
  return `{"resource":${JSON.stringify(resource)},"where":[${conditions.join(',')}]}`;
};

export type { CohortType };
