/**
 * Privacy filters (Rogers et al. 2016; Feldman, Zrnic 2021; Lecuyer 2021): a budget (epsilon, delta) becomes one number,
 * every mechanism costs one number, and a charge is admitted while the sum stays within the budget. This holds however the
 * mechanisms and their parameters are chosen from earlier answers, because the order is fixed before the first charge.
 */
import { assert, QflError } from '../errors.ts';
import { rdpBudgetAt, rhoBudget } from './conversion.ts';
import { epsilonOf, type MicroEpsilon } from './epsilon.ts';
import { laplaceRdp, pureRdp } from './laplace.ts';
import { distributedRho } from './distributed.ts';
import type {
  DiscreteGaussian,
  DiscreteLaplace,
  DistributedGaussian,
  Mechanism,
  Selection,
} from './mechanism.ts';
import { orderNumber, orderRational, ORDERS_TENTHS } from './orders.ts';
import { divide, multiply, type Rational, rational, toNumber } from './rational.ts';
import { exponentialMechanismRdp } from './rdp/selection.ts';
import {
  DECIMAL_UNITS_PER_NAT,
  decimalUnitsDown,
  decimalUnitsUp,
  UNITS_PER_NAT,
  unitsDown,
  unitsUp,
  unitsUpExact,
} from './units.ts';

export type FilterRule = 'rdp_fixed_order' | 'zcdp' | 'basic';

/** What a ledger may lose in all. */
export interface Budget {
  readonly epsilon: MicroEpsilon;
  /** In (0, 1); well under one over the number of patients. Not used by `basic`. */
  readonly delta: number;
}

export interface Filter {
  readonly rule: FilterRule;
  /** Renyi order in tenths; 0 under rules that have none. Never changes once something was charged. */
  readonly orderTenths: number;
  /** In the rule's units (`units.ts`), rounded down. */
  readonly budgetUnits: bigint;
}

/** The order of the grid that maximises B(a)/a: the most charges of Gaussian shape. */
export const bestOrder = ({ epsilon, delta }: Budget): number => {
  const nats = toNumber(epsilonOf(epsilon));
  const gain = (tenths: number): number => {
    const a = orderNumber(tenths);
    return rdpBudgetAt(nats, delta, a) / a;
  };
  return ORDERS_TENTHS.reduce((best, tenths) => (gain(tenths) > gain(best) ? tenths : best));
};

const budgetUnits = (rule: FilterRule, { epsilon, delta }: Budget, orderTenths: number): bigint => {
  const exact = epsilonOf(epsilon);
  if (rule === 'basic') return decimalUnitsDown(exact);
  const nats = toNumber(exact);
  return unitsDown(
    rule === 'zcdp' ? rhoBudget(nats, delta) : rdpBudgetAt(nats, delta, orderNumber(orderTenths)),
  );
};

/**
 * The filter of a budget. `orderTenths` is given when a ledger that has charges gets another budget: its order stays, because
 * what it has spent was measured there. Otherwise the best order of the grid is taken.
 */
export const createFilter = (rule: FilterRule, budget: Budget, orderTenths?: number): Filter => {
  if (!(budget.delta > 0 && budget.delta < 1))
    throw new QflError('config_invalid', { detail: 'delta of a privacy budget must be above 0 and below 1' });
  const order = rule === 'rdp_fixed_order' ? (orderTenths ?? bestOrder(budget)) : 0;
  return { rule, orderTenths: order, budgetUnits: budgetUnits(rule, budget, order) };
};

/** Zero-concentrated loss of an epsilon-DP mechanism: epsilon²/2 (Bun, Steinke 2016, Proposition 1.4). */
const rhoOfPure = (epsilon: Rational): Rational => multiply(multiply(epsilon, epsilon), rational(1n, 2n));

/**
 * The sensitivity is in the 1-norm. That of one integer shifted by s covers every vector shifted by s in all: e^((a−1)·D_a(s)) is
 * A·e^((a−1)st) + B·e^(−ast) with A, B ≥ 0 and A + B = 1, so its logarithm is convex and 0 at 0, hence superadditive.
 */
const laplaceCost = ({ sensitivity, scale }: DiscreteLaplace, filter: Filter): bigint => {
  const epsilon = divide(rational(sensitivity), scale);
  if (filter.rule === 'basic') return decimalUnitsUp(epsilon);
  if (filter.rule === 'zcdp') return unitsUpExact(rhoOfPure(epsilon));
  return unitsUp(laplaceRdp(toNumber(scale), Number(sensitivity), orderNumber(filter.orderTenths)));
};

const needPureEpsilon = (): QflError =>
  new QflError('invalid_request', {
    detail: 'basic composition counts pure epsilon only, and Gaussian noise has none',
    next: 'Ask with discrete Laplace noise, or set composition_method to rdp or zcdp.',
  });

const gaussianCost = ({ sensitivitySquared, sigmaSquared }: DiscreteGaussian, filter: Filter): bigint => {
  const rho = multiply(divide(sensitivitySquared, sigmaSquared), rational(1n, 2n));
  if (filter.rule === 'zcdp') return unitsUpExact(rho);
  if (filter.rule === 'rdp_fixed_order')
    return unitsUpExact(multiply(rho, orderRational(filter.orderTenths)));
  throw needPureEpsilon();
};

const distributedCost = (mechanism: DistributedGaussian, filter: Filter): bigint => {
  const rho = distributedRho(mechanism);
  if (filter.rule === 'zcdp') return unitsUp(rho);
  if (filter.rule === 'rdp_fixed_order') return unitsUp(rho * orderNumber(filter.orderTenths));
  throw needPureEpsilon();
};

/**
 * An exponential mechanism is ε-bounded-range: ε²/8 zCDP, and its own curve lies a little below (Dong, Durfee, Rogers 2020; Cesar, Rogers
 * 2021). Permute-and-flip is priced as the worst of all ε-DP mechanisms.
 */
const selectionCost = ({ kind, epsilon }: Selection, filter: Filter): bigint => {
  if (filter.rule === 'basic') return decimalUnitsUp(epsilon);
  if (filter.rule === 'zcdp') {
    const rho = rhoOfPure(epsilon);
    return unitsUpExact(kind === 'exponential' ? multiply(rho, rational(1n, 4n)) : rho);
  }
  const a = orderNumber(filter.orderTenths);
  return kind === 'exponential'
    ? unitsUp(Math.max(0, exponentialMechanismRdp(toNumber(epsilon), a)))
    : unitsUp(pureRdp(toNumber(epsilon), a));
};

const priceOf = (mechanism: Mechanism, filter: Filter): bigint => {
  // Its delta is charged apart (`threshold.ts`).
  if (mechanism.kind === 'thresholded_histogram') return priceOf(mechanism.noise, filter);
  if (mechanism.kind === 'distributed_gaussian') return distributedCost(mechanism, filter);
  if (mechanism.kind === 'discrete_laplace') return laplaceCost(mechanism, filter);
  return mechanism.kind === 'discrete_gaussian'
    ? gaussianCost(mechanism, filter)
    : selectionCost(mechanism, filter);
};

/**
 * What one run of the mechanism costs under this filter, in the rule's units, rounded up; at least 1. Loss alone: what it may fail with is
 * `deltaCost`.
 * @throws QflError `invalid_request` when the rule cannot price the mechanism.
 */
export const costUnits = (mechanism: Mechanism, filter: Filter): bigint => {
  const cost = priceOf(mechanism, filter);
  assert(cost > 0n, 'noise always costs something');
  return cost;
};

/** The filter's test, on integers. */
export const admits = (filter: Filter, spentUnits: bigint, cost: bigint): boolean =>
  spentUnits + cost <= filter.budgetUnits;

/** Units of this rule as nats (of RDP, rho or epsilon), for displays only. */
export const natsOfUnits = (rule: FilterRule, units: bigint): number =>
  Number(units) / (rule === 'basic' ? DECIMAL_UNITS_PER_NAT : UNITS_PER_NAT);
