/** Short ways to write events in tests. */
import type { LossEvent, Relation } from '../../../shared/privacy/loss-event.ts';

export const gaussian = (
  sigma: number,
  sensitivity = 1,
  relation: Relation = 'add_or_remove_one',
): LossEvent => ({ type: 'gaussian', relation, sigma, sensitivity });

export const laplace = (scale: number): LossEvent => ({
  type: 'laplace',
  relation: 'add_or_remove_one',
  scale,
  sensitivity: 1,
});

export const pure = (epsilon: number, delta = 0): LossEvent => ({
  type: 'epsilon_delta',
  relation: 'add_or_remove_one',
  epsilon,
  delta,
});

export const sampled = (probability: number, event: LossEvent): LossEvent => ({
  type: 'poisson_sampled',
  probability,
  event,
});

export const times = (count: number, event: LossEvent): LossEvent => ({
  type: 'self_composed',
  count,
  event,
});
export const all = (...events: readonly LossEvent[]): LossEvent => ({ type: 'composed', events });

/** One of each kind that can be run any number of times, under one relation it allows. */
export const oneOfEach: Readonly<Record<string, LossEvent>> = {
  gaussian: gaussian(3),
  laplace: laplace(8),
  discrete_gaussian: { type: 'discrete_gaussian', relation: 'add_or_remove_one', sigma: 4, sensitivity: 2 },
  discrete_laplace: { type: 'discrete_laplace', relation: 'add_or_remove_one', scale: 10, sensitivity: 2 },
  randomized_response: { type: 'randomized_response', relation: 'replace_one', noise: 0.5, buckets: 2 },
  'randomized_response, null record': {
    type: 'randomized_response',
    relation: 'replace_special',
    noise: 0.3,
    buckets: 5,
  },
  exponential_mechanism: { type: 'exponential_mechanism', relation: 'add_or_remove_one', epsilon: 0.1 },
  permute_and_flip: { type: 'permute_and_flip', relation: 'add_or_remove_one', epsilon: 0.1 },
  epsilon_delta: pure(0.1, 1e-9),
  'poisson_sampled gaussian': sampled(0.1, gaussian(2)),
  'poisson_sampled laplace': sampled(0.1, laplace(2)),
  'poisson_sampled discrete_laplace': sampled(0.1, {
    type: 'discrete_laplace',
    relation: 'add_or_remove_one',
    scale: 3,
    sensitivity: 1,
  }),
  'poisson_sampled gaussian, replaced': sampled(0.1, gaussian(2, 2, 'replace_one')),
  zcdp: { type: 'zcdp', relation: 'add_or_remove_one', rho: 0.01, xi: 0 },
  sampled_without_replacement: {
    type: 'sampled_without_replacement',
    sourceSize: 1000,
    sampleSize: 50,
    event: gaussian(2, 1, 'replace_one'),
  },
  tree_aggregation: {
    type: 'tree_aggregation',
    relation: 'replace_special',
    sigma: 8,
    sensitivity: 1,
    stepCounts: [64],
  },
  repeat_and_select: { type: 'repeat_and_select', event: gaussian(10), mean: 5, shape: 1 },
};

/** Those a Renyi curve is known for, and those a loss distribution is known for. */
export const withCurve = Object.entries(oneOfEach).filter(
  ([name]) => !name.startsWith('poisson_sampled') || name === 'poisson_sampled gaussian',
);
const NO_DISTRIBUTION = ['zcdp', 'sampled_without_replacement', 'tree_aggregation', 'repeat_and_select'];
export const withDistribution = Object.entries(oneOfEach).filter(([name]) => !NO_DISTRIBUTION.includes(name));
