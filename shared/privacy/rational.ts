/** Exact fractions on BigInt. Every privacy parameter is one; a float enters only where a figure is displayed. */
import { assert, QflError } from '../errors.ts';

/** In lowest terms, denominator positive. */
export interface Rational {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

const gcd = (left: bigint, right: bigint): bigint => (right === 0n ? left : gcd(right, left % right));
const magnitude = (value: bigint): bigint => (value < 0n ? -value : value);

export const rational = (numerator: bigint, denominator = 1n): Rational => {
  assert(denominator !== 0n, 'a fraction has a denominator other than 0');
  const sign = denominator < 0n ? -1n : 1n;
  const divisor = gcd(magnitude(numerator), magnitude(denominator));
  return { numerator: (sign * numerator) / divisor, denominator: (sign * denominator) / divisor };
};

export const multiply = (left: Rational, right: Rational): Rational =>
  rational(left.numerator * right.numerator, left.denominator * right.denominator);

export const divide = (left: Rational, right: Rational): Rational =>
  rational(left.numerator * right.denominator, left.denominator * right.numerator);

/** Largest integer at or below. */
export const floor = ({ numerator, denominator }: Rational): bigint =>
  numerator >= 0n ? numerator / denominator : -((-numerator + denominator - 1n) / denominator);

/** Smallest integer at or above. */
export const ceil = (value: Rational): bigint =>
  -floor({ numerator: -value.numerator, denominator: value.denominator });

const bits = (value: bigint): number => magnitude(value).toString(2).length;

/**
 * Nearest double, for displays and for arithmetic whose error is bounded where it is done. The quotient keeps 64 bits,
 * so the relative error is under 2^-52 whatever the size of the two integers.
 */
export const toNumber = ({ numerator, denominator }: Rational): number => {
  const shift = BigInt(64 + bits(denominator) - bits(numerator));
  const quotient = shift >= 0n ? (numerator << shift) / denominator : numerator / (denominator << -shift);
  return Number(quotient) * 2 ** -Number(shift);
};

const DECIMAL = /^(\d{1,30})(?:\.(\d{1,30}))?$/;

/**
 * A plain decimal such as `0.1` or `12`, exactly.
 * @throws QflError `invalid_request` for signs, exponents and anything else.
 */
export const rationalOfDecimal = (text: string): Rational => {
  const [, whole, fraction = ''] = DECIMAL.exec(text) ?? [];
  if (whole === undefined)
    throw new QflError('invalid_request', {
      detail: 'a number was expected in plain decimal form',
      next: 'Write it as digits with at most one point, for example 0.1.',
    });
  return rational(BigInt(whole + fraction), 10n ** BigInt(fraction.length));
};

/** Floor of the square root (Newton's method). */
export const integerSquareRoot = (value: bigint): bigint => {
  assert(value >= 0n, 'a square root is taken of a number at or above 0');
  if (value < 2n) return value;
  let guess = 1n << BigInt((value.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (guess + value / guess) >> 1n;
    if (next >= guess) return guess;
    guess = next;
  }
};
