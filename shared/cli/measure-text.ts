/**
 * Figures as they are written on the command line → measures of `POST /v1/stats`:
 *
 *     value % 3..15 step 0.1                  a number of rows, its unit, bounds and granularity
 *     age 0..110                              whole years; the granularity is 1 unless a step is given
 *     0.25,0.5,0.75 value mm[Hg] 60..220      quantiles, then the number
 *     gender, age 0,40,60,80,110, status active,stopped, code A,B, date 2020-01-01,2021-01-01
 *                                             variables with public bins; several make a table
 *     code take 4 blind delta 1e-9 of Condition   with --keys: the codes that occur, told above a threshold
 *     … take 2 earliest of Observation?code=8480-6, … noise gaussian, … share 2, … otherwise 5
 */
import { QflError } from '../errors.ts';
import { multiply, type Rational, rational, rationalOfDecimal } from '../privacy/rational.ts';

export type MeasureText = Readonly<Record<string, unknown>>;
export const FIGURES = ['sum', 'mean', 'quantiles', 'histogram', 'table', 'keys'] as const;
export type Figure = (typeof FIGURES)[number];

/** Edges made by a step at most; the agent has its own bound. */
const EDGES_MAX = 10_001;

const refuse = (detail: string): QflError =>
  new QflError('invalid_request', {
    detail,
    next: 'For example --mean "value % 3..15 step 0.1", --quantiles "0.5,0.9 age 0..110", --histogram "age 0..100 step 10", --table "gender age 0,50,110", --keys "code take 4 of Condition".',
  });

/** Words from left to right. */
class Words {
  readonly #words: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#words = text.split(/\s+/).filter((word) => word !== '');
  }
  get current(): string | undefined {
    return this.#words[this.#at];
  }
  take(what: string): string {
    const word = this.#words[this.#at];
    if (word === undefined) throw refuse(`${what} is missing`);
    this.#at += 1;
    return word;
  }
  /** Takes `word` when it is next. */
  takeIf(word: string): boolean {
    if (this.current !== word) return false;
    this.#at += 1;
    return true;
  }
}

const RANGE = /^(-?[\d.]+)\.\.(-?[\d.]+)$/;
const rangeOf = (text: string): { low: string; high: string } => {
  const match = RANGE.exec(text);
  if (match === null) throw refuse(`"${text}" is not a range such as 3..15`);
  return { low: match[1] ?? '', high: match[2] ?? '' };
};

const numericOf = (words: Words): Record<string, unknown> => {
  const variable = words.take('what is measured, value or age,');
  if (variable !== 'value' && variable !== 'age')
    throw refuse(`"${variable}" is not a number; value and age are`);
  const unit = variable === 'value' ? { unit: words.take('the unit of the value') } : {};
  const range = rangeOf(words.take('the range'));
  const granularity = words.takeIf('step') ? words.take('the step') : '1';
  const otherwise = words.takeIf('otherwise')
    ? { otherwise: words.take('the value that stands for a missing one') }
    : {};
  return { variable, ...unit, ...range, granularity, ...otherwise };
};

const signed = (text: string): Rational =>
  text.startsWith('-') ? multiply(rationalOfDecimal(text.slice(1)), rational(-1n)) : rationalOfDecimal(text);

/** Text of low + at·step, with the digits of the two. */
const edgeText = (low: Rational, step: Rational, at: number, digits: number): string => {
  const scale = 10n ** BigInt(digits);
  const scaled =
    (low.numerator * scale) / low.denominator + (BigInt(at) * step.numerator * scale) / step.denominator;
  const size = String(scaled < 0n ? -scaled : scaled).padStart(digits + 1, '0');
  const whole = size.slice(0, size.length - digits);
  return `${scaled < 0n ? '-' : ''}${whole}${digits === 0 ? '' : `.${size.slice(size.length - digits)}`}`;
};

const digitsOf = (text: string): number => text.split('.')[1]?.length ?? 0;

/** `0..100 step 10` or `0,20,40`. */
const edgesOf = (words: Words): string[] => {
  const first = words.take('the bins');
  if (!first.includes('..')) return first.split(',');
  const { low, high } = rangeOf(first);
  if (!words.takeIf('step')) throw refuse(`the range ${first} needs a step to make bins`);
  const step = words.take('the step');
  const digits = Math.max(digitsOf(low), digitsOf(step));
  const [from, by, to] = [signed(low), signed(step), signed(high)];
  if (by.numerator <= 0n) throw refuse('a step is above 0');
  const edges: string[] = [];
  const isPast = (at: number): boolean =>
    (from.numerator * by.denominator + BigInt(at) * by.numerator * from.denominator) * to.denominator >
    to.numerator * from.denominator * by.denominator;
  for (let at = 0; !isPast(at); at += 1) {
    if (at >= EDGES_MAX) throw refuse(`more than ${EDGES_MAX} bins`);
    edges.push(edgeText(from, by, at, digits));
  }
  return edges;
};

const CLAUSES = new Set(['take', 'noise', 'share', 'otherwise', 'delta']);

/** @param keys are they those that occur? Then codes and statuses have no values to name. */
const binnedOf = (words: Words, keys = false): Record<string, unknown> => {
  const variable = words.take('a variable');
  switch (variable) {
    case 'gender':
      return { variable };
    case 'age':
    case 'value': {
      const unit = variable === 'value' ? { unit: words.take('the unit of the value') } : {};
      const edges = edgesOf(words);
      const otherwise = words.takeIf('otherwise')
        ? { otherwise: words.take('the value that stands for a missing one') }
        : {};
      return { variable, ...unit, edges, ...otherwise };
    }
    case 'date':
      return { variable, edges: words.take('the days between bins').split(',') };
    case 'status':
    case 'code':
      if (keys) return { variable };
      return { variable, values: words.take(`the ${variable} values`).split(',') };
    default:
      throw refuse(`"${variable}" is no variable; value, age, date, gender, status and code are`);
  }
};

const TAKES = ['earliest', 'latest', 'blind'];

interface Clauses {
  readonly rows?: Readonly<Record<string, unknown>>;
  readonly more: Readonly<Record<string, unknown>>;
}

const clausesOf = (words: Words, of: string | undefined): Clauses => {
  let rows: Record<string, unknown> | undefined = of === undefined ? undefined : { of };
  const more: Record<string, unknown> = {};
  while (words.current !== undefined) {
    const word = words.take('a clause');
    if (word === 'take') {
      rows = { ...rows, perPatientMax: Number(words.take('how many rows per patient')) };
      if (TAKES.includes(words.current ?? '')) rows['take'] = words.take('which rows');
    } else if (word === 'noise') more['noise'] = words.take('the kind of noise');
    else if (word === 'delta') more['delta'] = words.take('the delta');
    else if (word === 'share') more['share'] = Number(words.take('the share'));
    else throw refuse(`"${word}" is not understood`);
  }
  return rows === undefined ? { more } : { rows, more };
};

/** @throws QflError `invalid_request` */
export const parseMeasure = (figure: Figure, text: string): MeasureText => {
  const [head = '', of] = text.split(/\s+of\s+(?=[A-Z])/, 2);
  const words = new Words(head);
  const finish = (measure: Record<string, unknown>): MeasureText => {
    const { rows, more } = clausesOf(words, of);
    return { ...measure, ...(rows === undefined ? {} : { rows }), ...more };
  };
  if (figure === 'sum' || figure === 'mean') return finish({ measure: figure, of: numericOf(words) });
  if (figure === 'quantiles') {
    const quantiles = words.take('the quantiles').split(',');
    return finish({ measure: figure, quantiles, of: numericOf(words) });
  }
  const keys = figure === 'keys';
  const by = [binnedOf(words, keys)];
  if (figure !== 'histogram')
    while (words.current !== undefined && !CLAUSES.has(words.current)) by.push(binnedOf(words, keys));
  return finish({ measure: 'table', by, ...(keys ? { keys: 'unknown' } : {}) });
};
