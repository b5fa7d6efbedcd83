/**
 * What is spent, costs, or is allowed: the loss, which is one whole number under most rules and one per Renyi order under `rdp_curve`, and
 * behind it the delta that thresholds fail with (`shared/privacy/delta.ts`). Everything that counts works on the whole list, so that loss and
 * delta are charged, given back and restored together.
 */
import { z } from 'zod';
import { assert } from '../../shared/errors.ts';

/** Loss in units of the rule (2^-40 nat; 1e-12 under `basic`), then delta in units of 2^-80. All amounts of one ledger have one length. */
export type Amount = readonly bigint[];

const Units = z.string().regex(/^(0|[1-9]\d{0,38})$/);
const LossText = z.union([Units, z.array(Units).min(2).max(1_000)]);
/** As it stands in records: the loss alone where there is no delta, as in journals from before there were any; a number alone where there is one. */
export const AmountText = z.union([LossText, z.strictObject({ delta: Units, loss: LossText })]);
export type AmountText = z.infer<typeof AmountText>;

export const lossOf = (amount: Amount): Amount => amount.slice(0, -1);

export const deltaUnitsOf = (amount: Amount): bigint => {
  const delta = amount.at(-1);
  assert(delta !== undefined && amount.length >= 2, 'an amount is a loss and a delta');
  return delta;
};

export const amountToText = (amount: Amount): AmountText => {
  const delta = deltaUnitsOf(amount);
  const [first, ...others] = lossOf(amount).map(String);
  assert(first !== undefined, 'an amount has a loss');
  const loss = others.length === 0 ? first : [first, ...others];
  return delta === 0n ? loss : { delta: String(delta), loss };
};

export const amountOfText = (text: AmountText): bigint[] => {
  if (typeof text === 'string') return [BigInt(text), 0n];
  if (Array.isArray(text)) return [...text.map(BigInt), 0n];
  return [...[text.loss].flat().map(BigInt), BigInt(text.delta)];
};

/** @param length loss and delta together */
export const noAmount = (length: number): bigint[] => Array.from({ length }, () => 0n);

/** Changes `sum`: O(orders), no allocation. */
export const addTo = (sum: bigint[], amount: Amount): void => {
  assert(sum.length === amount.length, 'amounts of one ledger have the same orders');
  for (let at = 0; at < sum.length; at += 1) sum[at]! += amount[at]!;
};

/** Changes `sum`. A sum below zero is a broken invariant. */
export const takeFrom = (sum: bigint[], amount: Amount): void => {
  assert(sum.length === amount.length, 'amounts of one ledger have the same orders');
  for (let at = 0; at < sum.length; at += 1) {
    sum[at]! -= amount[at]!;
    assert(sum[at]! >= 0n, 'a privacy ledger never falls below zero');
  }
};
