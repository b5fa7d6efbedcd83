/**
 * What a budget that renews every day comes to after many days. Each day's filter bounds that day; the days together are their
 * composition, and nothing of it expires.
 */
import { zcdpEpsilon } from './analytic/zcdp.ts';
import { type FilterRule, natsOfUnits } from './filter.ts';
import { orderNumber, ORDERS_TENTHS } from './orders.ts';
import { epsilonOfCurve } from './rdp/convert.ts';

/** One filter, as a ledger reads it out. */
export interface DailyFilter {
  readonly rule: FilterRule;
  /** Renyi order in tenths; 0 under rules without one. */
  readonly orderTenths: number;
  readonly budgetUnits: bigint;
}

export interface HorizonBound {
  readonly days: number;
  /** Whatever mechanisms were run, at the ledger's delta (0 under `basic`). */
  readonly epsilonAnyMechanism: number;
  /** If every charge was Gaussian noise, whose loss grows in proportion to the order; null where the rule cannot hold such charges. */
  readonly epsilonGaussian: number | null;
}

/**
 * The loss at the filter's order bounds the loss at every lower one (Renyi divergences grow with the order; van Erven, Harremoës 2014,
 * Theorem 3), so that the conversion may choose among those.
 */
const fixedOrderBound = (nats: number, orderTenths: number, delta: number): number => {
  const orders = ORDERS_TENTHS.filter((tenths) => tenths <= orderTenths).map(orderNumber);
  return epsilonOfCurve({ orders, rdp: new Float64Array(orders.length).fill(nats), delta: 0 }, delta).epsilon;
};

/** The filter used up on each of `days` days. */
export const boundOverDays = (
  { rule, orderTenths, budgetUnits }: DailyFilter,
  days: number,
  delta: number,
): HorizonBound => {
  const nats = natsOfUnits(rule, budgetUnits) * days;
  if (rule === 'basic') return { days, epsilonAnyMechanism: nats, epsilonGaussian: null };
  if (rule === 'zcdp') {
    const { epsilon } = zcdpEpsilon(nats, delta);
    return { days, epsilonAnyMechanism: epsilon, epsilonGaussian: epsilon };
  }
  return {
    days,
    epsilonAnyMechanism: fixedOrderBound(nats, orderTenths, delta),
    epsilonGaussian: zcdpEpsilon(nats / orderNumber(orderTenths), delta).epsilon,
  };
};
