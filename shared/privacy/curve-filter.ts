/**
 * The filter that keeps every order of the grid under a zCDP budget: at order a the sum may reach rho·a. Valid for adaptively
 * chosen mechanisms, because no order is ever given up ("some order still fits" would not be). Against the zCDP filter,
 * mechanisms are charged their own curve and not its steepest slope.
 */
import { QflError } from '../errors.ts';
import { rhoBudget } from './conversion.ts';
import { epsilonOf } from './epsilon.ts';
import { eventCostUnits, type PrivacyEvent } from './event.ts';
import { type Budget, costUnits, type Filter } from './filter.ts';
import type { Mechanism } from './mechanism.ts';
import { orderNumber, ORDERS_TENTHS } from './orders.ts';
import { toNumber } from './rational.ts';
import { unitsDown } from './units.ts';

/** Renyi divergence at each order of the grid, in units of 2^-40 nat. */
export type CurveUnits = readonly bigint[];

export interface CurveFilter {
  readonly rule: 'rdp_curve';
  /** rho·a at each order, rounded down. */
  readonly budgetUnits: CurveUnits;
}

export const createCurveFilter = ({ epsilon, delta }: Budget): CurveFilter => {
  if (!(delta > 0 && delta < 1))
    throw new QflError('config_invalid', { detail: 'delta of a privacy budget must be above 0 and below 1' });
  const rho = rhoBudget(toNumber(epsilonOf(epsilon)), delta);
  return {
    rule: 'rdp_curve',
    budgetUnits: ORDERS_TENTHS.map((tenths) => unitsDown(rho * orderNumber(tenths))),
  };
};

const atEachOrder = (cost: (filter: Filter) => bigint): CurveUnits =>
  ORDERS_TENTHS.map((orderTenths) => cost({ rule: 'rdp_fixed_order', orderTenths, budgetUnits: 0n }));

/** What one run of the mechanism costs at each order, rounded up. */
export const curveCost = (mechanism: Mechanism): CurveUnits =>
  atEachOrder((filter) => costUnits(mechanism, filter));

/** What a stated loss costs at each order, rounded up. */
export const curveEventCost = (event: PrivacyEvent): CurveUnits =>
  atEachOrder((filter) => eventCostUnits(event, filter));

export const noCurveSpent: CurveUnits = ORDERS_TENTHS.map(() => 0n);

/** The sum to store once the charge is taken. */
export const curveSum = (spent: CurveUnits, cost: CurveUnits): CurveUnits =>
  spent.map((units, at) => units + (cost[at] ?? 0n));

/** The filter's test: every order must hold. */
export const curveAdmits = (filter: CurveFilter, spent: CurveUnits, cost: CurveUnits): boolean =>
  curveSum(spent, cost).every((units, at) => units <= (filter.budgetUnits[at] ?? 0n));
