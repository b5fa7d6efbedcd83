/** How each kind of reference case is computed and compared. */
import { z } from 'zod';
import { epsilonOf, parseEpsilon } from '../../shared/privacy/epsilon.ts';
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
import type { GoldenCase } from './golden.ts';

/** The case holds something this program does not compute yet. */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
}

/** Error in multiples of the tolerance: at most 1 passes. */
type Checker = (one: GoldenCase) => number;

const Tolerance = z.object({ rel: z.number().default(0), abs: z.number().default(0) });

const compare = (one: GoldenCase, got: number, expected: number): number => {
  const { rel, abs } = Tolerance.parse(one.tolerance);
  const difference = Math.abs(got - expected);
  const allowed = abs + rel * Math.abs(expected);
  return difference === 0 ? 0 : Number.isNaN(difference) ? Infinity : difference / allowed;
};

const worst = (...errors: readonly number[]): number => Math.max(...errors);

const Distribution = z.object({
  pmf: z.array(z.number()),
  tail_gt: z.array(z.number()),
  variance: z.number(),
  mean_abs: z.number(),
  normaliser: z.number().optional(),
});

const compareAll = (one: GoldenCase, got: readonly number[], expected: readonly number[]): number =>
  got.length === expected.length
    ? worst(...got.map((value, at) => compare(one, value, expected[at]!)))
    : Infinity;

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
  if (order !== expected.order || !downwards) return Infinity;
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

const costOf = (input: unknown, filter: Filter): bigint => {
  const parsed = EventInput.safeParse(input);
  if (!parsed.success) throw new Unsupported('an event this program does not know');
  const mechanism = mechanismOf(parsed.data);
  if (mechanism !== undefined) return costUnits(mechanism, filter);
  const stated = statedOf(parsed.data);
  if (stated === undefined) throw new Unsupported('an event this program does not know');
  return eventCostUnits(stated, filter);
};

const RULES: readonly FilterRule[] = ['basic', 'zcdp', 'rdp_fixed_order'];

const filterReplayCase: Checker = (one) => {
  const input = z.object({ rule: z.string(), events: z.array(z.unknown()) }).parse(one.input);
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
  const same = accepted.every((fits, at) => fits === expected.accepted[at]);
  return same ? compare(one, natsOfUnits(rule, spent), expected.spent) : Infinity;
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
  return accepted === acceptedMax ? 0 : Infinity;
};

export const checkers: Readonly<Record<string, Checker | undefined>> = {
  discrete_laplace: discreteLaplaceCase,
  discrete_gaussian: discreteGaussianCase,
  discrete_laplace_rdp: laplaceRdpCase,
  discrete_gaussian_rdp_exact: gaussianRdpCase,
  filter_budget: filterBudgetCase,
  filter_replay: filterReplayCase,
  float_accumulation: floatAccumulationCase,
};
