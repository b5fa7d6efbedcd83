/**
 * The additive account of delta: whole units of 2^-80 (about 8e-25), as a bigint. What a query may fail with is rounded up, what a ledger
 * reserves for such failures is rounded down, and the sum is compared exactly. Deltas add even when parameters are chosen from earlier
 * answers: approximate RDP composes by adding both its parts (Bun, Steinke 2016, Lemma 8.2; Whitehouse et al. 2023 for filters).
 * 1 − (1 − δ1)(1 − δ2) would not do: it needs parameters fixed beforehand.
 */
import { assert } from '../errors.ts';
import { rational, type Rational, toNumber } from './rational.ts';

const UNIT_BITS = 80;
const UNITS_PER_ONE = 2 ** UNIT_BITS;
/** More than the error of any formula here, which is a few hundred times 2^-53. */
const MARGIN = 2 ** -40;

/** A probability computed in doubles, rounded up past its error; at least one unit. */
export const deltaUnitsUp = (probability: number): bigint => {
  assert(probability >= 0 && probability < Infinity, 'a delta is a finite number at or above 0');
  return BigInt(Math.ceil(probability * (1 + MARGIN) * UNITS_PER_ONE)) + 1n;
};

/** A delta that is reserved, rounded down past the error of its double. */
export const deltaUnitsDown = (probability: number): bigint => {
  assert(probability >= 0 && probability < Infinity, 'a delta is a finite number at or above 0');
  return BigInt(Math.floor(probability * (1 - MARGIN) * UNITS_PER_ONE));
};

/** For displays only. */
export const deltaOfUnits = (units: bigint): number => toNumber(rational(units, 1n << BigInt(UNIT_BITS)));

/** Parts of a million of a ledger's delta that are reserved for thresholds. */
export const SHARE_WHOLE = 1_000_000;
/** The loss needs most of delta for itself. */
export const SHARE_MAX = 900_000;

/** How a ledger's delta is divided: what the loss is converted at, and what thresholds may use up. Their sum is at most delta. */
export const divideDelta = (
  delta: number,
  shareMillionths: number,
): { readonly conversion: number; readonly reservedUnits: bigint } => {
  assert(shareMillionths >= 0 && shareMillionths <= SHARE_MAX, 'a share of delta is from 0 to 0.9');
  // Without a share nothing is rounded: such a filter is what it always was.
  if (shareMillionths === 0) return { conversion: delta, reservedUnits: 0n };
  return {
    conversion: delta * (1 - shareMillionths / SHARE_WHOLE) * (1 - MARGIN),
    reservedUnits: deltaUnitsDown((delta * shareMillionths) / SHARE_WHOLE),
  };
};

const TEXT = /^(?:0\.(\d{1,30})|([1-9])(?:\.(\d{1,15}))?e-(\d{1,3}))$/;

/** A delta as it is written in questions, `1e-8` or `0.00000001`, exactly; undefined for anything else and for 0. */
export const deltaOfText = (text: string): Rational | undefined => {
  const [, plain, digit, fraction = '', exponent = '0'] = TEXT.exec(text) ?? [];
  const value =
    plain !== undefined
      ? rational(BigInt(plain), 10n ** BigInt(plain.length))
      : digit !== undefined
        ? rational(BigInt(digit + fraction), 10n ** BigInt(fraction.length + Number(exponent)))
        : undefined;
  return value === undefined || value.numerator === 0n || value.numerator >= value.denominator
    ? undefined
    : value;
};
