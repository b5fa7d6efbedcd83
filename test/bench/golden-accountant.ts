/** Reference cases over event trees: Renyi curves, loss distributions, calibration. */
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';
import { leastNoise, mostRuns } from '../../shared/privacy/calibrate.ts';
import type { LossEvent } from '../../shared/privacy/loss-event.ts';
import { type LossDistribution, lossDistribution } from '../../shared/privacy/pld/distribution.ts';
import { deltaOfCurve, epsilonOfCurve } from '../../shared/privacy/rdp/convert.ts';
import { DEFAULT_ORDERS, rdpCurve } from '../../shared/privacy/rdp/curve.ts';
import { type Checker, compare, compareAll, Real, Unsupported, within, WRONG } from './golden-compare.ts';
import { readEvent, RelationName, sensitivityOf } from './golden-event.ts';

const EventInput = z.object({
  event: z.unknown().optional(),
  neighboring_relation: RelationName,
  noise_multiplier_means: z.string().optional(),
  orders: z.union([z.string(), z.array(z.number())]).optional(),
  discretization: z.number().optional(),
});

const eventOf = (input: unknown, event: unknown = EventInput.parse(input).event): LossEvent => {
  const { neighboring_relation: relation, noise_multiplier_means: means } = EventInput.parse(input);
  return readEvent(event, { relation, sensitivity: sensitivityOf(means, relation) });
};

const ordersOf = (input: unknown): readonly number[] => {
  const { orders } = EventInput.parse(input);
  if (orders === undefined || orders === 'default') return DEFAULT_ORDERS;
  if (typeof orders === 'string') throw new Unsupported(`the list of orders "${orders}"`);
  return orders;
};

const Delta = z.object({ delta: z.number() });
const Epsilon = z.object({ epsilon: z.number() });

/** Samples of fixed size have an upper bound only; a tighter proven one may be lower. */
const rdpCurveCase: Checker = (one) => {
  const { rdp } = z.object({ rdp: z.array(Real) }).parse(one.expected);
  return compareAll(one, [...rdpCurve(eventOf(one.input), ordersOf(one.input)).rdp], rdp);
};

const rdpEpsilonCase: Checker = (one) => {
  const { epsilon } = z.object({ epsilon: Real }).parse(one.expected);
  const curve = rdpCurve(eventOf(one.input), ordersOf(one.input));
  return compare(one, epsilonOfCurve(curve, Delta.parse(one.input).delta).epsilon, epsilon);
};

const rdpDeltaCase: Checker = (one) => {
  const { delta } = Delta.parse(one.expected);
  const curve = rdpCurve(eventOf(one.input), ordersOf(one.input));
  return compare(one, deltaOfCurve(curve, Epsilon.parse(one.input).epsilon).delta, delta);
};

const distributions = new Map<string, LossDistribution>();
const DISTRIBUTIONS_MAX = 64;

/** Cases share events; each is composed once. */
const distributionOf = (input: unknown, rounding: 'pessimistic' | 'optimistic'): LossDistribution => {
  const event = eventOf(input);
  const step = EventInput.parse(input).discretization ?? 1e-4;
  const key = JSON.stringify([event, step, rounding]);
  const known = distributions.get(key) ?? lossDistribution(event, { step, rounding });
  if (distributions.size >= DISTRIBUTIONS_MAX) distributions.clear();
  distributions.set(key, known);
  return known;
};

/** Room for rounding where a reference bound and ours are the same number. */
const SAME = 1e-7;

/** Below what an answer is an under-count: for epsilons hardly any tolerance, for deltas the absolute one (the reference's own noise). */
const floorOf = (name: 'epsilon' | 'delta', lower: number, abs: number): number =>
  name === 'epsilon' ? lower * (1 - SAME) : lower - abs;

/** Our pessimistic figure is between the two reference bounds; our optimistic one exceeds neither it nor the reference from above. */
const boundsCase = (
  one: Parameters<Checker>[0],
  name: 'epsilon' | 'delta',
  figure: (distribution: LossDistribution) => number,
): number => {
  const expected = z.record(z.string(), Real).parse(one.expected);
  const upper = expected[`${name}_upper`] ?? Infinity;
  const lower = expected[`${name}_lower`] ?? 0;
  const pessimistic = figure(distributionOf(one.input, 'pessimistic'));
  const optimistic = figure(distributionOf(one.input, 'optimistic'));
  const { abs } = z.object({ abs: z.number() }).parse(one.tolerance);
  if (!(pessimistic >= floorOf(name, lower, abs))) return WRONG;
  if (optimistic > Math.min(upper, pessimistic) * (1 + SAME) + abs) return WRONG;
  return within(one, pessimistic, lower, upper);
};

const pldEpsilonCase: Checker = (one) =>
  boundsCase(one, 'epsilon', (distribution) => distribution.epsilon(Delta.parse(one.input).delta));

const pldDeltaCase: Checker = (one) =>
  boundsCase(one, 'delta', (distribution) => distribution.delta(Epsilon.parse(one.input).epsilon));

const CalibrationInput = z.object({
  accountant: z.enum(['rdp', 'pld']),
  event_template: z.unknown(),
  parameter: z.string(),
  target_epsilon: z.number(),
  delta: z.number(),
});

/** Puts the parameter's value where the template says "$x". */
const filled = (template: unknown, value: number): unknown =>
  JSON.parse(JSON.stringify(template).replaceAll('"$x"', String(value)));

/** Noise so small that its losses do not fit on the grid is not enough noise. */
const fittingEpsilon = (event: LossEvent, step: number, delta: number): number => {
  try {
    return lossDistribution(event, { step }).epsilon(delta);
  } catch (error) {
    if (error instanceof QflError && error.code === 'invalid_request') return Infinity;
    throw error;
  }
};

const calibrationCase: Checker = (one) => {
  const input = CalibrationInput.parse(one.input);
  const expected = z.object({ value: z.number() }).parse(one.expected);
  const epsilonAt = (value: number): number => {
    const event = eventOf(one.input, filled(input.event_template, value));
    if (input.accountant === 'rdp')
      return epsilonOfCurve(rdpCurve(event, ordersOf(one.input)), input.delta).epsilon;
    const step = EventInput.parse(one.input).discretization ?? 1e-4;
    return fittingEpsilon(event, step, input.delta);
  };
  const counts = input.parameter === 'count';
  const value = counts
    ? mostRuns(epsilonAt, input.target_epsilon)
    : leastNoise(epsilonAt, input.target_epsilon, input.accountant === 'rdp' ? 1e-6 : 1e-4);
  if (epsilonAt(value) > input.target_epsilon) return WRONG;
  if (counts) return value === expected.value ? 0 : WRONG;
  return compare(one, value, expected.value);
};

export const accountantCheckers: Readonly<Record<string, Checker>> = {
  rdp_curve: rdpCurveCase,
  rdp_epsilon: rdpEpsilonCase,
  rdp_delta: rdpDeltaCase,
  pld_epsilon: pldEpsilonCase,
  pld_delta: pldDeltaCase,
  calibration: calibrationCase,
};
