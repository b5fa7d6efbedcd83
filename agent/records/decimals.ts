/** Decimals of records, compared exactly. */
const DECIMAL = /^(-?)(\d{1,400})(?:\.(\d{1,400}))?(?:[eE]([+-]?\d{1,3}))?$/;

export interface Decimal {
  readonly digits: bigint;
  /** value = digits · 10^power */
  readonly power: number;
}

/** A decimal, with or without exponent; undefined for anything else, NaN and infinities included. */
export const parseDecimal = (text: string): Decimal | undefined => {
  const match = DECIMAL.exec(text);
  if (match === null) return undefined;
  const [, sign, whole = '', fraction = '', exponent = '0'] = match;
  const digits = BigInt(whole + fraction);
  return { digits: sign === '-' ? -digits : digits, power: Number(exponent) - fraction.length };
};

const shifted = ({ digits, power }: Decimal, to: number): bigint => digits * 10n ** BigInt(power - to);

/** Below 0, 0 or above 0; undefined when one of them is no decimal. */
export const compareDecimals = (left: string, right: string): number | undefined => {
  const one = parseDecimal(left);
  const other = parseDecimal(right);
  if (one === undefined || other === undefined) return undefined;
  const power = Math.min(one.power, other.power);
  const difference = shifted(one, power) - shifted(other, power);
  if (difference === 0n) return 0;
  return difference < 0n ? -1 : 1;
};
