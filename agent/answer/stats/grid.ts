/**
 * Numbers of records as integers of a public grid. Between the record's decimal text and the sum there is no float, so the sensitivity on
 * paper is the sensitivity in the machine (Casacuberta et al. 2022). What is no number on the grid is undefined here, never NaN.
 */
import { QflError } from '../../../shared/errors.ts';
import { parseDecimal } from '../../records/decimals.ts';
import { ceil, divide, floor, multiply, type Rational, rational } from '../../../shared/privacy/rational.ts';

/** A decimal, with or without exponent, exactly; undefined for anything else, NaN and infinities included. */
export const decimalOf = (text: string): Rational | undefined => {
  const decimal = parseDecimal(text);
  if (decimal === undefined) return undefined;
  const { digits, power } = decimal;
  return power >= 0 ? rational(digits * 10n ** BigInt(power)) : rational(digits, 10n ** BigInt(-power));
};

const HALF = rational(1n, 2n);
const plus = (left: Rational, right: Rational): Rational =>
  rational(
    left.numerator * right.denominator + right.numerator * left.denominator,
    left.denominator * right.denominator,
  );

export interface Grid {
  readonly granularity: Rational;
  /** Bounds in units, low < high. */
  readonly low: bigint;
  readonly high: bigint;
  /** Nearest unit (halves up), clamped to the bounds; undefined for what is no number. */
  unitsOf(text: string | undefined): bigint | undefined;
}

const refuse = (detail: string, next: string): never => {
  throw new QflError('invalid_request', { detail, next });
};

/** @throws QflError `invalid_request` */
const requireDecimal = (text: string, what: string): Rational =>
  decimalOf(text) ?? refuse(`${what} is not a number`, 'Write it as a plain decimal such as 0.5.');

export const clamp = (value: bigint, low: bigint, high: bigint): bigint => {
  if (value < low) return low;
  return value > high ? high : value;
};

/** What a range of bounds and a granularity become. @throws QflError `invalid_request` */
export const gridOf = (range: { low: string; high: string; granularity: string }): Grid => {
  const granularity = requireDecimal(range.granularity, 'the granularity');
  if (granularity.numerator <= 0n) refuse('the granularity must be above 0', 'Use for example 0.1.');
  const low = ceil(divide(requireDecimal(range.low, 'the lower bound'), granularity));
  const high = floor(divide(requireDecimal(range.high, 'the upper bound'), granularity));
  if (low >= high)
    refuse(
      'the lower bound must be below the upper one, with a step of the granularity between them',
      'Give bounds that most values lie within, such as 3..15.',
    );
  return {
    granularity,
    low,
    high,
    unitsOf(text) {
      const value = text === undefined ? undefined : decimalOf(text);
      if (value === undefined) return undefined;
      return clamp(floor(plus(divide(value, granularity), HALF)), low, high);
    },
  };
};

/** Digits after the point of a fraction whose denominator divides a power of ten. */
const decimalsOf = ({ denominator }: Rational): number => {
  let decimals = 0;
  for (let scale = 1n; scale % denominator !== 0n; scale *= 10n) decimals += 1;
  return decimals;
};

export type Rounding = 'nearest' | 'down' | 'up';

const rounded = (value: Rational, rounding: Rounding): bigint => {
  if (rounding === 'down') return floor(value);
  return rounding === 'up' ? ceil(value) : floor(plus(value, HALF));
};

/** Decimal text with this many digits after the point, trailing zeros dropped. */
export const decimalText = (value: Rational, decimals: number, rounding: Rounding = 'nearest'): string => {
  const scaled = rounded(multiply(value, rational(10n ** BigInt(decimals))), rounding);
  const digits = String(scaled < 0n ? -scaled : scaled).padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '');
  return `${scaled < 0n ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`;
};

/** A multiple of the granularity, exactly. */
export const unitsText = (units: bigint, granularity: Rational): string =>
  decimalText(multiply(rational(units), granularity), decimalsOf(granularity));

/** Digits after the point for figures that lie between grid points: a mean is told ten times finer than its values. */
export const meanDecimals = (granularity: Rational): number => decimalsOf(granularity) + 1;

/** Position of the bin of `value` among edges e0 < e1 < …: [e0, e1), …; outside goes to the first or last. */
export const binOf = <Value>(
  value: Value,
  edges: readonly Value[],
  below: (left: Value, right: Value) => boolean,
): number => {
  let low = 0;
  let high = edges.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (below(value, edges[middle]!)) high = middle - 1;
    else low = middle;
  }
  return low;
};

export const isBelow = (left: Rational, right: Rational): boolean =>
  left.numerator * right.denominator < right.numerator * left.denominator;

/** Edges of numbers, rising. @throws QflError `invalid_request` */
export const edgesOf = (texts: readonly string[]): readonly Rational[] => {
  const edges = texts.map((text) => requireDecimal(text, 'an edge'));
  edges.forEach((edge, at) => {
    if (at > 0 && !isBelow(edges[at - 1]!, edge))
      refuse('the edges of bins must rise', 'Write them in order, each once, such as 4 5 6 7.');
  });
  return edges;
};
