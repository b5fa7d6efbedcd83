/** Reference cases of closed forms and exact sums. */
import { z } from 'zod';
import { auditEpsilon, auditPValue } from '../../shared/privacy/analytic/audit.ts';
import {
  distributedGaussian,
  distributedGaussianEpsilon,
  gaussianSumGap,
  gaussianSumRdp,
  integerL1,
  roundedLengthSquared,
  skellamRdp,
  skellamRdpExact,
} from '../../shared/privacy/analytic/distributed.ts';
import {
  composeGaussians,
  gaussianDelta,
  gaussianEpsilon,
  gaussianSigma,
  gdpDelta,
  gdpEpsilon,
} from '../../shared/privacy/analytic/gaussian.ts';
import {
  discreteGaussianDelta,
  discreteLaplaceDelta,
  laplaceDelta,
  subsampledGaussianDelta,
} from '../../shared/privacy/analytic/hockey-stick.ts';
import {
  advancedComposition,
  amplifyBySampling,
  basicComposition,
  boundedRange,
  exponentialProbabilities,
  kairouzComposition,
  optimalComposition,
  optimalDelta,
  pureAsRenyi,
} from '../../shared/privacy/analytic/pure.ts';
import { zcdpDelta, zcdpEpsilon, zcdpEpsilonSimple } from '../../shared/privacy/analytic/zcdp.ts';
import { continuousLaplaceRdp } from '../../shared/privacy/event.ts';
import { subsampledGaussianRdp } from '../../shared/privacy/rdp/subsampled-gaussian.ts';
import { type Checker, compare, compareAll, within, worst, WRONG } from './golden-compare.ts';

const numbers = z.record(z.string(), z.unknown());

/** The named numbers of a case's input or expectation. */
const read = <const Names extends readonly string[]>(
  from: unknown,
  ...names: Names
): Record<Names[number], number> => {
  const all = numbers.parse(from);
  // The keys are the names just listed.
  return z
    .record(z.enum(names), z.number())
    .parse(Object.fromEntries(names.map((name) => [name, all[name]])));
};

/** Figures by their name in the file; those the file does not have are not compared. */
const compareNamed = (one: Parameters<Checker>[0], got: Readonly<Record<string, number>>): number => {
  const expected = numbers.parse(one.expected);
  return worst(
    ...Object.entries(got).map(([name, value]) =>
      expected[name] === undefined ? 0 : compare(one, value, z.number().parse(expected[name])),
    ),
  );
};

/** One figure `name` computed from the input. */
const figure =
  (
    name: string,
    compute: (input: Readonly<Record<string, number>>) => number,
    ...inputs: string[]
  ): Checker =>
  (one) => {
    const input = read(one.input, ...inputs);
    return compare(one, compute(input), read(one.expected, name)[name]!);
  };

const sigmaCase: Checker = (one) => {
  const { epsilon, delta } = read(one.input, 'epsilon', 'delta');
  const { noise_multiplier: expected } = read(one.expected, 'noise_multiplier');
  const sigma = gaussianSigma(epsilon, delta);
  // Rounded up, never down: down would be an under-count, however small.
  if (gaussianDelta(sigma, epsilon) > delta || sigma < expected * (1 - 1e-15)) return WRONG;
  return compare(one, sigma, expected);
};

const gaussianCompositionCase: Checker = (one) => {
  const { noise_multipliers: sigmas } = z.object({ noise_multipliers: z.array(z.number()) }).parse(one.input);
  const { mu, rho } = composeGaussians(sigmas);
  return compareNamed(one, { mu, rho, epsilon_exact: gdpEpsilon(mu, read(one.input, 'delta').delta) });
};

/** A search over all real orders must meet the optimum, and may not go below it. */
const zcdpEpsilonCase: Checker = (one) => {
  const { rho, delta } = read(one.input, 'rho', 'delta');
  const { epsilon_optimal: optimal } = read(one.expected, 'epsilon_optimal');
  const { epsilon } = zcdpEpsilon(rho, delta);
  if (epsilon < optimal * (1 - 1e-13)) return WRONG;
  return compareNamed(one, { epsilon_simple: zcdpEpsilonSimple(rho, delta), epsilon_optimal: epsilon });
};

const subsampledRdpCase: Checker = (one) => {
  const { sampling_probability: q, noise_multiplier: sigma } = read(
    one.input,
    'sampling_probability',
    'noise_multiplier',
  );
  const { orders } = z.object({ orders: z.array(z.number()) }).parse(one.input);
  const { rdp } = z.object({ rdp: z.array(z.number()) }).parse(one.expected);
  return compareAll(
    one,
    orders.map((order) => subsampledGaussianRdp(q, sigma, order)),
    rdp,
  );
};

const subsampledDeltaCase: Checker = (one) => {
  const input = read(one.input, 'sampling_probability', 'noise_multiplier', 'epsilon');
  const { remove, add } = subsampledGaussianDelta(
    input.sampling_probability,
    input.noise_multiplier,
    input.epsilon,
  );
  return compareNamed(one, { delta_remove: remove, delta_add: add, delta: Math.max(remove, add) });
};

/** The bound is the published one and the exact figure is exact, so that bound ≥ exact is the file's own claim. */
const skellamCase: Checker = (one) => {
  const { variance, l1, l2, order } = read(one.input, 'variance', 'l1', 'l2', 'order');
  const expected = read(one.expected, 'rdp_exact_1d', 'rdp_bound');
  const bound = skellamRdp(variance, l1, l2 * l2, order);
  if (bound < expected.rdp_exact_1d) return WRONG;
  return worst(
    within(one, bound, expected.rdp_exact_1d, expected.rdp_bound),
    compareNamed(one, { rdp_exact_1d: skellamRdpExact(variance, l1, order) }),
  );
};

const gaussianSumCase: Checker = (one) => {
  const input = read(one.input, 'sigma_per_client_integer_units', 'clients', 'sensitivity', 'order');
  const expected = read(one.expected, 'rdp_exact', 'rdp_bound');
  const { sigma_per_client_integer_units: sigma, clients, sensitivity, order } = input;
  const epsilon = distributedGaussianEpsilon(
    sensitivity ** 2,
    1,
    sigma,
    clients,
    gaussianSumGap(sigma, clients),
  );
  const bound = (order * epsilon ** 2) / 2;
  if (bound < expected.rdp_exact) return WRONG;
  return worst(
    within(one, bound, expected.rdp_exact, expected.rdp_bound),
    compareNamed(one, { rdp_exact: gaussianSumRdp(sigma, clients, sensitivity, order) }),
  );
};

const distributedCase: Checker = (one) => {
  const input = read(one.input, 'clients', 'dimension', 'clip_l2', 'granularity', 'sigma_per_client', 'beta');
  const { lengthSquared, gap, epsilon, rho } = distributedGaussian({
    clip: input.clip_l2,
    dimension: input.dimension,
    granularity: input.granularity,
    sigmaPerShare: input.sigma_per_client,
    shares: input.clients,
    logInverseBeta: -Math.log(input.beta),
  });
  return compareNamed(one, { rounded_l2_squared: lengthSquared, tau: gap, cdp_epsilon: epsilon, rho });
};

const skellamVectorCase: Checker = (one) => {
  const input = read(
    one.input,
    'clients',
    'dimension',
    'clip_l2',
    'scale',
    'variance_per_client',
    'beta_log_inv',
  );
  const { orders } = z.object({ orders: z.array(z.number()) }).parse(one.input);
  const { rdp } = z.object({ rdp: z.array(z.number()) }).parse(one.expected);
  const { clip_l2: clip, scale, dimension } = input;
  const lengthSquared = roundedLengthSquared(clip * scale, dimension, 1, input.beta_log_inv);
  const l1 = integerL1(dimension, lengthSquared);
  const variance = input.clients * input.variance_per_client;
  return worst(
    compareNamed(one, { rounded_l2_squared: lengthSquared, l1 }),
    compareAll(
      one,
      orders.map((order) => skellamRdp(variance, l1, lengthSquared, order)),
      rdp,
    ),
  );
};

const pureCompositionCase: Checker = (one) => {
  const {
    epsilon_each: each,
    delta_each: deltaEach,
    count,
    delta,
  } = read(one.input, 'epsilon_each', 'delta_each', 'count', 'delta');
  const optimal = optimalComposition(each, deltaEach, count, delta);
  if (optimal < read(one.expected, 'epsilon_optimal').epsilon_optimal * (1 - 1e-10)) return WRONG;
  return compareNamed(one, {
    epsilon_basic: basicComposition(each, count),
    epsilon_optimal: optimal,
    epsilon_drv10: advancedComposition(each, count, delta),
    epsilon_kov15_closed: kairouzComposition(each, count, delta),
  });
};

const pureToRdpCase: Checker = (one) => {
  const { epsilon, order } = read(one.input, 'epsilon', 'order');
  const { rdp, rdpSimple, rho, rhoLeast } = pureAsRenyi(epsilon, order);
  return compareNamed(one, {
    rdp_tight: rdp,
    rdp_bun_steinke: rdpSimple,
    rho_zcdp: rho,
    rho_zcdp_tight: rhoLeast,
  });
};

const boundedRangeCase: Checker = (one) => {
  const { rho, epsilon } = boundedRange(read(one.input, 'epsilon_br').epsilon_br);
  return compareNamed(one, { rho_zcdp: rho, pure_epsilon: epsilon });
};

const amplificationCase: Checker = (one) => {
  const {
    sampling_probability: q,
    epsilon,
    delta,
  } = read(one.input, 'sampling_probability', 'epsilon', 'delta');
  const amplified = amplifyBySampling(q, epsilon, delta);
  return compareNamed(one, { epsilon: amplified.epsilon, delta: amplified.delta });
};

const exponentialCase: Checker = (one) => {
  const { epsilon, sensitivity } = read(one.input, 'epsilon', 'sensitivity');
  const { scores } = z.object({ scores: z.array(z.number()) }).parse(one.input);
  const expected = z
    .object({ general: z.array(z.number()), monotone: z.array(z.number()) })
    .parse(one.expected);
  return worst(
    compareAll(one, exponentialProbabilities(scores, epsilon, sensitivity, false), expected.general),
    compareAll(one, exponentialProbabilities(scores, epsilon, sensitivity, true), expected.monotone),
  );
};

const auditCase: Checker = (one) => {
  const {
    canaries,
    guesses,
    correct,
    delta,
    p_value: pValue,
  } = read(one.input, 'canaries', 'guesses', 'correct', 'delta', 'p_value');
  const run = { canaries, guesses, correct, delta };
  return compareNamed(one, {
    epsilon_lower_bound: auditEpsilon(run, pValue),
    p_value_at_1: auditPValue(run, 1),
  });
};

export const analyticCheckers: Readonly<Record<string, Checker>> = {
  gaussian_delta: figure(
    'delta',
    (input) => gaussianDelta(input['noise_multiplier']!, input['epsilon']!),
    'noise_multiplier',
    'epsilon',
  ),
  gaussian_epsilon: figure(
    'epsilon',
    (input) => gaussianEpsilon(input['noise_multiplier']!, input['delta']!),
    'noise_multiplier',
    'delta',
  ),
  gaussian_sigma: sigmaCase,
  gaussian_composition: gaussianCompositionCase,
  gdp_delta: figure('delta', (input) => gdpDelta(input['mu']!, input['epsilon']!), 'mu', 'epsilon'),
  zcdp_epsilon: zcdpEpsilonCase,
  zcdp_delta: figure(
    'delta_optimal',
    (input) => zcdpDelta(input['rho']!, input['epsilon']!),
    'rho',
    'epsilon',
  ),
  discrete_gaussian_delta: figure(
    'delta',
    (input) => discreteGaussianDelta(input['sigma']!, input['sensitivity']!, input['epsilon']!),
    'sigma',
    'sensitivity',
    'epsilon',
  ),
  discrete_laplace_delta: figure(
    'delta',
    (input) => discreteLaplaceDelta(input['scale']!, input['sensitivity']!, input['epsilon']!),
    'scale',
    'sensitivity',
    'epsilon',
  ),
  laplace_delta: figure(
    'delta',
    (input) => laplaceDelta(input['scale_over_sensitivity']!, input['epsilon']!),
    'scale_over_sensitivity',
    'epsilon',
  ),
  laplace_rdp_exact: figure(
    'rdp',
    (input) => continuousLaplaceRdp(input['scale_over_sensitivity']!, input['order']!),
    'scale_over_sensitivity',
    'order',
  ),
  subsampled_gaussian_rdp_exact: subsampledRdpCase,
  subsampled_gaussian_delta_exact: subsampledDeltaCase,
  skellam_rdp: skellamCase,
  ddg_sum_rdp_exact: gaussianSumCase,
  ddg: distributedCase,
  skellam_vector: skellamVectorCase,
  pure_composition: pureCompositionCase,
  pure_composition_delta: figure(
    'delta',
    (input) => optimalDelta(input['epsilon_each']!, input['delta_each']!, input['count']!, input['epsilon']!),
    'epsilon_each',
    'delta_each',
    'count',
    'epsilon',
  ),
  pure_to_rdp: pureToRdpCase,
  bounded_range: boundedRangeCase,
  subsample_amplification: amplificationCase,
  exponential_mechanism_probabilities: exponentialCase,
  one_run_audit: auditCase,
};
