/** Reference cases of what ledgers and samplers rest on: integer noise, filters, exact sums. */
import { z } from 'zod';
import { epsilonOf, parseEpsilon } from '../../shared/privacy/epsilon.ts';
import {
  createCurveFilter,
  curveAdmits,
  curveCost,
  curveEventCost,
  curveSum,
  type CurveUnits,
  noCurveSpent,
} from '../../shared/privacy/curve-filter.ts';
import { ORDERS_TENTHS } from '../../shared/privacy/orders.ts';
import { eventCostUnits, type PrivacyEvent } from '../../shared/privacy/event.ts';
import { rdpBudgetAt, rhoBudget } from '../../shared/privacy/conversion.ts';
import {
  admits,
  bestOrder,
  costUnits,
  createFilter,
  type Filter,
  type FilterRule,
  natsOfUnits,
} from '../../shared/privacy/filter.ts';
import {
  gaussianMass,
  gaussianMeanAbsolute,
  gaussianNormaliser,
  gaussianRdp,
  gaussianTail,
  gaussianVariance,
} from '../../shared/privacy/gaussian.ts';
import {
  laplaceMass,
  laplaceMeanAbsolute,
  laplaceRdp,
  laplaceTail,
  laplaceVariance,
} from '../../shared/privacy/laplace.ts';
import { discreteGaussian, discreteLaplace, type Mechanism } from '../../shared/privacy/mechanism.ts';
import { multiply, type Rational, rational, rationalOfDecimal } from '../../shared/privacy/rational.ts';
import { type Checker, compare, compareAll, Unsupported, worst, WRONG } from './golden-compare.ts';

const Distribution = z.object({
  pmf: z.array(z.number()),
  tail_gt: z.array(z.number()),
  variance: z.number(),
  mean_abs: z.number(),
  normaliser: z.number().optional(),
});

const discreteLaplaceCase: Checker = (one) => {
  const { scale, points } = z.object({ scale: z.number(), points: z.array(z.number()) }).parse(one.input);
  const expected = Distribution.parse(one.expected);
  return worst(
    compareAll(
      one,
      points.map((x) => laplaceMass(scale, x)),
      expected.pmf,
    ),
    compareAll(
      one,
      points.map((x) => laplaceTail(scale, x)),
      expected.tail_gt,
    ),
    compare(one, laplaceVariance(scale), expected.variance),
    compare(one, laplaceMeanAbsolute(scale), expected.mean_abs),
  );
};

const discreteGaussianCase: Checker = (one) => {
  const { sigma, points } = z.object({ sigma: z.number(), points: z.array(z.number()) }).parse(one.input);
  const expected = Distribution.parse(one.expected);
  return worst(
    compareAll(
      one,
      points.map((x) => gaussianMass(sigma, x)),
      expected.pmf,
    ),
    compareAll(
      one,
      points.map((x) => gaussianTail(sigma, x)),
      expected.tail_gt,
    ),
    compare(one, gaussianVariance(sigma), expected.variance),
    compare(one, gaussianMeanAbsolute(sigma), expected.mean_abs),
    expected.normaliser === undefined ? 0 : compare(one, gaussianNormaliser(sigma), expected.normaliser),
  );
};

const laplaceRdpCase: Checker = (one) => {
  const input = z.object({ scale: z.number(), sensitivity: z.number(), order: z.number() }).parse(one.input);
  const { rdp } = z.object({ rdp: z.number() }).parse(one.expected);
  return compare(one, laplaceRdp(input.scale, input.sensitivity, input.order), rdp);
};

/** Between the exact divergence and the published bound. */
const gaussianRdpCase: Checker = (one) => {
  const input = z.object({ sigma: z.number(), sensitivity: z.number(), order: z.number() }).parse(one.input);
  const expected = z.object({ rdp_exact: z.number(), rdp_bound: z.number() }).parse(one.expected);
  const got = gaussianRdp(input.sigma, input.sensitivity, input.order);
  if (got < expected.rdp_exact) return worst(1, compare(one, got, expected.rdp_exact) * 2);
  return got <= expected.rdp_bound ? 0 : compare(one, got, expected.rdp_bound);
};

/** A JSON number as the decimal it was written as. */
const exact = (value: number): Rational => rationalOfDecimal(value.toFixed(9).replace(/\.?0+$/, ''));

const Budget = z.object({ epsilon: z.number(), delta: z.number() });
const budgetOf = (input: unknown): Parameters<typeof createFilter>[1] => {
  const { epsilon, delta } = Budget.parse(input);
  return { epsilon: parseEpsilon(String(epsilon)), delta };
};

const filterBudgetCase: Checker = (one) => {
  const budget = budgetOf(one.input);
  const { epsilon, delta } = Budget.parse(one.input);
  const expected = z
    .object({ order: z.number(), rdp_budget_at_order: z.number(), rho_budget: z.number() })
    .parse(one.expected);
  const order = bestOrder(budget) / 10;
  const fixed = createFilter('rdp_fixed_order', budget);
  const zcdp = createFilter('zcdp', budget);
  const downwards =
    natsOfUnits('zcdp', zcdp.budgetUnits) <= rhoBudget(epsilon, delta) &&
    natsOfUnits('rdp_fixed_order', fixed.budgetUnits) <= rdpBudgetAt(epsilon, delta, order);
  if (order !== expected.order || !downwards) return WRONG;
  return worst(
    compare(one, natsOfUnits('rdp_fixed_order', fixed.budgetUnits), expected.rdp_budget_at_order),
    compare(one, natsOfUnits('zcdp', zcdp.budgetUnits), expected.rho_budget),
  );
};

const EventInput = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('pure'), epsilon: z.number() }),
  z.strictObject({ type: z.literal('zcdp'), rho: z.number(), xi: z.literal(0).optional() }),
  z.strictObject({ type: z.literal('gaussian'), noise_multiplier: z.number() }),
  z.strictObject({ type: z.literal('laplace'), noise_multiplier: z.number() }),
  z.strictObject({ type: z.literal('discrete_gaussian'), sigma: z.number(), sensitivity: z.int() }),
  z.strictObject({
    type: z.literal('discrete_laplace'),
    noise_parameter: z.number(),
    sensitivity: z.int(),
  }),
]);
type EventInput = z.infer<typeof EventInput>;

const square = (value: Rational): Rational => multiply(value, value);

const mechanismOf = (event: EventInput): Mechanism | undefined => {
  if (event.type === 'discrete_gaussian')
    return discreteGaussian(rational(BigInt(event.sensitivity) ** 2n), square(exact(event.sigma)));
  if (event.type !== 'discrete_laplace') return undefined;
  const { numerator, denominator } = exact(event.noise_parameter);
  return discreteLaplace(BigInt(event.sensitivity), rational(denominator, numerator));
};

const statedOf = (event: EventInput): PrivacyEvent | undefined => {
  if (event.type === 'pure') return { type: 'pure', epsilon: exact(event.epsilon) };
  if (event.type === 'zcdp') return { type: 'zcdp', rho: exact(event.rho) };
  if (event.type === 'gaussian' || event.type === 'laplace')
    return { type: event.type, noiseMultiplier: exact(event.noise_multiplier) };
  return undefined;
};

const parseEvent = (input: unknown): Mechanism | PrivacyEvent => {
  const event = EventInput.safeParse(input);
  if (!event.success) throw new Unsupported('an event this program does not know');
  const known = mechanismOf(event.data) ?? statedOf(event.data);
  if (known === undefined) throw new Unsupported('an event this program does not know');
  return known;
};

const costOf = (input: unknown, filter: Filter): bigint => {
  const event = parseEvent(input);
  return 'kind' in event ? costUnits(event, filter) : eventCostUnits(event, filter);
};

const curveCostOf = (input: unknown): CurveUnits => {
  const event = parseEvent(input);
  return 'kind' in event ? curveCost(event) : curveEventCost(event);
};

const ReplayInput = z.object({ rule: z.string(), events: z.array(z.unknown()) });
const sameDecisions = (got: readonly boolean[], expected: readonly boolean[]): boolean =>
  got.length === expected.length && got.every((fits, at) => fits === expected[at]);

/** At every order of the grid at once. */
const curveReplay: Checker = (one) => {
  const { events } = ReplayInput.parse(one.input);
  const expected = z
    .object({ accepted: z.array(z.boolean()), spent_at: z.record(z.string(), z.number()) })
    .parse(one.expected);
  const filter = createCurveFilter(budgetOf(one.input));
  let spent = noCurveSpent;
  const accepted = events.map((event) => {
    const cost = curveCostOf(event);
    const fits = curveAdmits(filter, spent, cost);
    if (fits) spent = curveSum(spent, cost);
    return fits;
  });
  if (!sameDecisions(accepted, expected.accepted)) return WRONG;
  return worst(
    ...Object.entries(expected.spent_at).map(([order, nats]) => {
      const units = spent[ORDERS_TENTHS.indexOf(Math.round(Number(order) * 10))]!;
      return compare(one, natsOfUnits('rdp_fixed_order', units), nats);
    }),
  );
};

const RULES: readonly FilterRule[] = ['basic', 'zcdp', 'rdp_fixed_order'];

const filterReplayCase: Checker = (one) => {
  const input = ReplayInput.parse(one.input);
  if (input.rule === 'rdp_curve') return curveReplay(one);
  const rule = RULES.find((known) => known === input.rule);
  if (rule === undefined) throw new Unsupported(`rule ${input.rule}`);
  const expected = z.object({ accepted: z.array(z.boolean()), spent: z.number() }).parse(one.expected);
  const filter = createFilter(rule, budgetOf(one.input));
  let spent = 0n;
  const accepted = input.events.map((event) => {
    const cost = costOf(event, filter);
    const fits = admits(filter, spent, cost);
    if (fits) spent += cost;
    return fits;
  });
  return sameDecisions(accepted, expected.accepted)
    ? compare(one, natsOfUnits(rule, spent), expected.spent)
    : WRONG;
};

const floatAccumulationCase: Checker = (one) => {
  const input = z.object({ epsilon_each: z.number(), count: z.int(), budget: z.number() }).parse(one.input);
  const { max_accepted: acceptedMax } = z.object({ max_accepted: z.int() }).parse(one.expected);
  const filter = createFilter('basic', { epsilon: parseEpsilon(String(input.budget)), delta: 1e-5 });
  const epsilon = epsilonOf(parseEpsilon(String(input.epsilon_each)));
  const cost = eventCostUnits({ type: 'pure', epsilon }, filter);
  let spent = 0n;
  let accepted = 0;
  // One charge more than the case has: it must not pass.
  for (let at = 0; at <= input.count; at += 1) {
    if (!admits(filter, spent, cost)) break;
    spent += cost;
    accepted += 1;
  }
  return accepted === acceptedMax ? 0 : WRONG;
};

export const ledgerCheckers: Readonly<Record<string, Checker>> = {
  discrete_laplace: discreteLaplaceCase,
  discrete_gaussian: discreteGaussianCase,
  discrete_laplace_rdp: laplaceRdpCase,
  discrete_gaussian_rdp_exact: gaussianRdpCase,
  filter_budget: filterBudgetCase,
  filter_replay: filterReplayCase,
  float_accumulation: floatAccumulationCase,
};
