/**
 * The filter of one ledger under any rule: prices a query as an amount and admits it while every order, and the sum of deltas, stays within
 * the budget. Of a ledger's delta a share may be reserved for that sum; the loss is then held to what remains of it.
 */
import { type Budget, costUnits, createFilter, type FilterRule } from '../../shared/privacy/filter.ts';
import { createCurveFilter, curveCost } from '../../shared/privacy/curve-filter.ts';
import type { Mechanism } from '../../shared/privacy/mechanism.ts';
import { divideDelta } from '../../shared/privacy/delta.ts';
import { ORDERS_TENTHS } from '../../shared/privacy/orders.ts';
import { deltaCost } from '../../shared/privacy/threshold.ts';
import { addTo, type Amount, lossOf, noAmount } from './amount.ts';

export const LEDGER_RULES = ['rdp_fixed_order', 'rdp_curve', 'zcdp', 'basic'] as const;
export type LedgerRule = FilterRule | 'rdp_curve';

export interface LedgerFilter {
  readonly rule: LedgerRule;
  /** Renyi order in tenths; 0 under rules that have none, and under the curve, which has all of the grid. */
  readonly orderTenths: number;
  /** Rounded down; its length is that of every amount of the ledger. */
  readonly budget: Amount;
  /** What the loss is converted at: delta less the reserved share. */
  readonly conversionDelta: number;
  /** What one run costs, rounded up. @throws QflError `invalid_request` when the rule cannot price the mechanism */
  cost(mechanism: Mechanism): Amount;
}

/** The loss, and one number more for delta. */
export const amountLength = (rule: LedgerRule): number =>
  (rule === 'rdp_curve' ? ORDERS_TENTHS.length : 1) + 1;

interface LossFilter {
  readonly orderTenths: number;
  readonly budget: Amount;
  cost(mechanism: Mechanism): Amount;
}

const lossFilter = (rule: LedgerRule, budget: Budget, orderTenths: number | undefined): LossFilter => {
  if (rule === 'rdp_curve')
    return { orderTenths: 0, budget: createCurveFilter(budget).budgetUnits, cost: curveCost };
  const filter = createFilter(rule, budget, orderTenths);
  return {
    orderTenths: filter.orderTenths,
    budget: [filter.budgetUnits],
    cost: (mechanism) => [costUnits(mechanism, filter)],
  };
};

/**
 * @param orderTenths of a ledger that has charges; the best one otherwise
 * @param deltaShare parts of a million of the budget's delta that are reserved for the sum of deltas
 */
export const createLedgerFilter = (
  rule: LedgerRule,
  budget: Budget,
  orderTenths: number | undefined,
  deltaShare = 0,
): LedgerFilter => {
  const { conversion, reservedUnits } = divideDelta(budget.delta, deltaShare);
  const loss = lossFilter(rule, { ...budget, delta: conversion }, orderTenths);
  return {
    rule,
    orderTenths: loss.orderTenths,
    budget: [...loss.budget, reservedUnits],
    conversionDelta: conversion,
    cost: (mechanism) => [...loss.cost(mechanism), deltaCost(mechanism)],
  };
};

export const costOfAll = (filter: LedgerFilter, mechanisms: readonly Mechanism[]): Amount => {
  const sum = noAmount(filter.budget.length);
  for (const mechanism of mechanisms) addTo(sum, filter.cost(mechanism));
  return sum;
};

/** Every order must hold, and the sum of deltas; "some order still fits" is no filter (`privacy.md` §3). */
export const fits = (filter: LedgerFilter, spent: Amount, cost: Amount): boolean => {
  for (let at = 0; at < filter.budget.length; at += 1)
    if (spent[at]! + cost[at]! > filter.budget[at]!) return false;
  return true;
};

/**
 * The loss of an amount as one number, for answers, receipts and heads. Under the curve this is the smallest rho whose line rho·order lies on or above
 * the amount everywhere (rounded up): whoever knows only the number can charge that line and charges enough.
 */
export const scalarOf = (rule: LedgerRule, amount: Amount): bigint =>
  rule === 'rdp_curve'
    ? lossOf(amount).reduce((most, units, at) => {
        const tenths = BigInt(ORDERS_TENTHS[at]!);
        const rho = (units * 10n + tenths - 1n) / tenths;
        return rho > most ? rho : most;
      }, 0n)
    : amount[0]!;

/** The other way: an amount of this delta that is at least any whose `scalarOf` is `units`. */
export const amountOfScalar = (rule: LedgerRule, units: bigint, deltaUnits = 0n): bigint[] => [
  ...(rule === 'rdp_curve' ? ORDERS_TENTHS.map((tenths) => (units * BigInt(tenths) + 9n) / 10n) : [units]),
  deltaUnits,
];

/** Where the budget of the loss is fullest after `cost`: what a reading shows of several orders. */
export const tightestOrder = ({ budget }: LedgerFilter, spent: Amount, cost?: Amount): number => {
  let tightest = 0;
  const filled = (at: number): bigint => spent[at]! + (cost?.[at] ?? 0n);
  // Compared crosswise, so that nothing is rounded; a budget of nothing is full.
  const fuller = (left: number, right: number): boolean =>
    budget[left] === 0n
      ? budget[right] !== 0n
      : filled(left) * budget[right]! > filled(right) * budget[left]!;
  for (let at = 1; at < budget.length - 1; at += 1) if (fuller(at, tightest)) tightest = at;
  return tightest;
};
