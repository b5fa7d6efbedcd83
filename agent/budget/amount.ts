/**
 * What is spent, costs, or is allowed: one whole number under most rules, one per Renyi order under `rdp_curve`. Everything that counts
 * works on the list; a rule with one number has a list of one.
 */
import { z } from 'zod';
import { assert } from '../../shared/errors.ts';

/** Units of the rule (2^-40 nat; 1e-12 under `basic`). All amounts of one ledger have one length. */
export type Amount = readonly bigint[];

const Units = z.string().regex(/^(0|[1-9]\d{0,38})$/);
/** As it stands in records: the number alone where there is one. */
export const AmountText = z.union([Units, z.array(Units).min(2).max(1_000)]);
export type AmountText = z.infer<typeof AmountText>;

export const amountToText = (amount: Amount): AmountText =>
  amount.length === 1 ? String(amount[0]) : amount.map(String);

export const amountOfText = (text: AmountText): bigint[] =>
  typeof text === 'string' ? [BigInt(text)] : text.map(BigInt);

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
