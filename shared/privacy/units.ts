/**
 * The ledger's unit: 2^-40 nat (about 9e-13), as a bigint. Costs are rounded up, budgets down, so that a sum of costs within
 * a budget is a sum of true losses within it. Basic composition alone counts in 1e-12, because there people expect
 * decimals to add up: 100 charges of 0.1 fill a budget of 10, which no power of two gives.
 */
import { assert } from '../errors.ts';
import { ceil, floor, multiply, type Rational, rational } from './rational.ts';

const UNIT_BITS = 40;
export const UNITS_PER_NAT = 2 ** UNIT_BITS;
const UNITS_PER_NAT_RATIONAL = rational(1n << BigInt(UNIT_BITS));

/** Room for the error of a formula in doubles: two units cover 1.8e-12 nat, the relative part what grows with the value. */
const MARGIN_UNITS = 2;
const MARGIN_RELATIVE = 2 ** -44;

/** A loss computed in doubles with an error under 1e-12 nat or 2^-44 of itself, rounded up past that error. */
export const unitsUp = (nats: number): bigint => {
  assert(Number.isFinite(nats) && nats >= 0, 'a privacy loss is a finite number at or above 0');
  return BigInt(Math.ceil(nats * (1 + MARGIN_RELATIVE) * UNITS_PER_NAT)) + BigInt(MARGIN_UNITS);
};

/** A budget computed in doubles, rounded down past its error; never below 0. */
export const unitsDown = (nats: number): bigint => {
  assert(Number.isFinite(nats), 'a privacy budget is a finite number');
  const units = BigInt(Math.floor(nats * (1 - MARGIN_RELATIVE) * UNITS_PER_NAT)) - BigInt(MARGIN_UNITS);
  return units > 0n ? units : 0n;
};

/** An exact loss, rounded up to the next unit. */
export const unitsUpExact = (nats: Rational): bigint => ceil(multiply(nats, UNITS_PER_NAT_RATIONAL));

export const DECIMAL_UNITS_PER_NAT = 1e12;
const DECIMAL_UNITS_PER_NAT_RATIONAL = rational(10n ** 12n);

/** An exact loss in decimal units, rounded up. */
export const decimalUnitsUp = (nats: Rational): bigint =>
  ceil(multiply(nats, DECIMAL_UNITS_PER_NAT_RATIONAL));

/** An exact budget in decimal units, rounded down. */
export const decimalUnitsDown = (nats: Rational): bigint =>
  floor(multiply(nats, DECIMAL_UNITS_PER_NAT_RATIONAL));
