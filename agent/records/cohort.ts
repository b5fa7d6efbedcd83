/**
 * Which rows are meant: one resource type and row-wise, public conditions on it (privacy.md §4: map and filter
 * with public predicates have stability 1; joins, limits and orders have no form here and are refused with the reason).
 * A condition looks at one row, or at the row's own patient. Several conditions must all hold for the same row.
 * Patients are put together from such rows by and, or and not in `cohort-tree.ts`.
 */
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';
import { bornBetween, daysOf } from './dates.ts';
import { COHORT_TYPES, type CohortType } from './fhir/types.ts';
import { refuseUnstable } from './stability.ts';
import { resolveTerm } from './terms.ts';

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
const Decimal = z.string().regex(/^-?\d{1,20}(\.\d{1,12})?$/, 'a plain decimal such as 6.5');
export const CODES_MAX = 64;

export const CohortCondition = z.discriminatedUnion('field', [
  /** Without `system`: the code under any system; with '': only where the resource gives no system. */
  z.strictObject({ field: z.literal('code'), system: System.optional(), code: Token }),
  /** Any of these; what a term of the public list becomes. */
  z.strictObject({
    field: z.literal('codes'),
    of: z
      .array(z.strictObject({ system: System.optional(), code: Token }))
      .min(1)
      .max(CODES_MAX),
  }),
  /** `Observation.valueQuantity` in this unit, compared exactly. */
  z.strictObject({
    field: z.literal('value'),
    unit: z.string().min(1).max(64),
    gt: Decimal.optional(),
    ge: Decimal.optional(),
    lt: Decimal.optional(),
    le: Decimal.optional(),
  }),
  z.strictObject({ field: z.literal('status'), value: Token }),
  z.strictObject({ field: z.literal('date'), ...interval }),
  z.strictObject({ field: z.literal('gender'), value: z.enum(['male', 'female', 'other', 'unknown']) }),
  z.strictObject({ field: z.literal('birthdate'), ...interval }),
]);
export type CohortCondition = z.infer<typeof CohortCondition>;

export const COHORT_CONDITIONS_MAX = 8;

const ROW_FIELDS = new Set<CohortCondition['field']>(['code', 'codes', 'value', 'status', 'date']);
const isUnbounded = (condition: CohortCondition): boolean =>
  condition.field === 'value' &&
  [condition.gt, condition.ge, condition.lt, condition.le].every((bound) => bound === undefined);

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
  .refine(
    ({ resource, where }) => resource === 'Observation' || where.every(({ field }) => field !== 'value'),
    { message: 'only an Observation has a value', path: ['where'] },
  )
  .refine(({ where }) => !where.some(isUnbounded), {
    message: 'a value needs a bound: gt, ge, lt or le',
    path: ['where'],
  })
  .refine(({ where }) => !where.some(isEmptyInterval), {
    message: 'a date interval needs "from" before "before", or one of them',
    path: ['where'],
  });
export type Cohort = z.infer<typeof Cohort>;

const NEXT =
  'Use a resource type and conditions such as code=http://snomed.info/sct|44054006, term=Asthma, status=active, ' +
  'date=ge2015-01-01|lt2020-01-01, value=ge6.5|lt10 %, age=ge65, gender=female, birthdate=ge1960|lt2000.';

const refuse = (detail: string): QflError => new QflError('invalid_request', { detail, next: NEXT });

/** What stands for another condition: a term becomes its codes, an age the days of birth that it means. */
const plain = (condition: unknown, today: string | undefined): unknown => {
  const given = Shorthand.safeParse(condition).data;
  if (given === undefined) return condition;
  if (given.field === 'term') {
    const of = resolveTerm(given.text);
    return { field: 'codes', of };
  }
  const { at = today, from, below } = given;
  if (at === undefined) throw refuse('age: name the day that it is counted on, as "at"');
  return { field: 'birthdate', ...bornBetween(at, from, below) };
};

const Years = z.int().min(0).max(150);
const Shorthand = z.discriminatedUnion('field', [
  z.strictObject({ field: z.literal('term'), text: z.string().min(1).max(256) }),
  z
    .strictObject({
      field: z.literal('age'),
      at: Day.optional(),
      from: Years.optional(),
      below: Years.optional(),
    })
    .refine(({ from, below }) => from !== undefined || below !== undefined),
]);

const Outline = z.looseObject({ where: z.array(z.unknown()).optional() });

const expanded = (value: unknown, today: string | undefined): unknown => {
  const outline = Outline.safeParse(value).data;
  if (outline?.where === undefined) return value;
  return { ...outline, where: outline.where.map((condition) => plain(condition, today)) };
};

const parsed = (value: unknown, today: string | undefined): Cohort => {
  refuseUnstable(value);
  const result = Cohort.safeParse(expanded(value, today));
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

const BOUND = /^(ge|gt|le|lt)(-?\d[\d.]*)$/;

/** `ge6.5|lt10 %`: bounds, then the unit. */
const parseValue = (text: string): unknown => {
  const space = text.indexOf(' ');
  if (space < 0) throw refuse('value: give the unit behind the bounds, as in value=ge6.5 %');
  const bounds = text
    .slice(0, space)
    .split('|')
    .map((part) => BOUND.exec(part) ?? undefined);
  if (bounds.some((bound) => bound === undefined))
    throw refuse('value: a bound is ge, gt, le or lt and a number');
  const named = bounds.map((bound) => [bound?.[1] ?? '', bound?.[2] ?? '']);
  return { field: 'value', unit: text.slice(space + 1).trim(), ...Object.fromEntries(named) };
};

const AGE = /^(eq|ge|gt|le|lt)?(\d{1,3})$/;

/** Whole years: `ge65`, `ge18|lt65`, `40`. */
const parseAge = (text: string): unknown => {
  const bounds = text.split('|').map((part) => {
    const match = AGE.exec(part);
    if (match === null) throw refuse('age: give whole years, as in age=ge65|lt80');
    const years = Number(match[2]);
    switch (match[1] ?? 'eq') {
      case 'ge':
        return { from: years };
      case 'gt':
        return { from: years + 1 };
      case 'lt':
        return { below: years };
      case 'le':
        return { below: years + 1 };
      default:
        return { from: years, below: years + 1 };
    }
  });
  return Object.assign({ field: 'age' }, ...bounds) as unknown;
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
    case 'value':
      return parseValue(value);
    case 'age':
      return parseAge(value);
    case 'term':
      return { field, text: value };
    case 'status':
    case 'gender':
      return { field, value };
    default:
      refuseUnstable({ [field]: value });
      throw refuse('a condition is about code, term, value, status, date, gender, age or birthdate');
  }
};

/** Today's day in UTC, for ages that name no day. */
export const todayOf = (nowMs: number): string => new Date(nowMs).toISOString().slice(0, 10);

/**
 * `--count Condition --where code=… --where gender=female`: each text holds one condition or several joined with `&`.
 * @param today the day that ages are counted on that name none; fixed in the cohort from here on. Without it such an age is refused: what
 *   arrives from another site names its days
 * @throws QflError `invalid_request`
 */
export const parseCohortOptions = (resource: string, where: readonly string[], today?: string): Cohort =>
  parsed({ resource, where: where.flatMap((text) => text.split('&')).map(parseCondition) }, today);

/**
 * A cohort from its JSON form (an object), or from `Type` or `Type?field=value&field=value`.
 * @throws QflError `invalid_request`
 */
export const parseCohort = (input: unknown, today?: string): Cohort => {
  if (typeof input !== 'string') return parsed(input, today);
  const mark = input.indexOf('?');
  if (mark < 0) return parseCohortOptions(input.trim(), [], today);
  return parseCohortOptions(input.slice(0, mark).trim(), [input.slice(mark + 1)], today);
};

const FIELD_ORDER = [
  'field',
  'system',
  'code',
  'of',
  'value',
  'unit',
  'gt',
  'ge',
  'lt',
  'le',
  'from',
  'before',
] as const;

const sortedCodes = (of: Extract<CohortCondition, { field: 'codes' }>['of']) =>
  [...new Map(of.map(({ system, code }) => [`${system ?? ''}|${code}`, { system, code }])).entries()]
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([, code]) => code);

const canonicalCondition = (condition: CohortCondition): string => {
  const given = condition.field === 'codes' ? { ...condition, of: sortedCodes(condition.of) } : condition;
  const fields = new Map<string, unknown>(Object.entries(given));
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
