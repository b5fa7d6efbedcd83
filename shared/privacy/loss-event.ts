/**
 * What a run loses, as a typed tree: leaves are mechanisms, branches are composition and sampling. Every leaf names the
 * relation its figures hold for and keeps noise and sensitivity apart, so that "sigma over what?" has one answer: sensitivity is
 * the largest distance between the noiseless answers of two neighbours under that relation. A sum clipped to norm c per record
 * has sensitivity c when a record is added, removed or swapped for the null record, and 2c when it is replaced by another.
 */
import { QflError } from '../errors.ts';

/** Neighbours differ by one record: added or removed; replaced by any other; replaced by a null record that counts for nothing. */
export type Relation = 'add_or_remove_one' | 'replace_one' | 'replace_special';

interface Leaf<R extends Relation> {
  readonly relation: R;
}

/** N(0, sigma²) added; sensitivity in Euclidean length. */
export interface GaussianEvent<R extends Relation> extends Leaf<R> {
  readonly type: 'gaussian';
  readonly sigma: number;
  readonly sensitivity: number;
}
/** Continuous Laplace noise of this scale; sensitivity in the 1-norm. */
export interface LaplaceEvent<R extends Relation> extends Leaf<R> {
  readonly type: 'laplace';
  readonly scale: number;
  readonly sensitivity: number;
}
/** P(x) ∝ exp(−x²/(2 sigma²)) on the integers; an integer moves by at most this. */
export interface DiscreteGaussianEvent<R extends Relation> extends Leaf<R> {
  readonly type: 'discrete_gaussian';
  readonly sigma: number;
  readonly sensitivity: number;
}
/** P(x) ∝ exp(−|x|/scale) on the integers. */
export interface DiscreteLaplaceEvent<R extends Relation> extends Leaf<R> {
  readonly type: 'discrete_laplace';
  readonly scale: number;
  readonly sensitivity: number;
}
/** With probability `noise` the answer is uniform over all buckets, otherwise it is the truth. */
export interface RandomizedResponseEvent<R extends Relation> extends Leaf<R> {
  readonly type: 'randomized_response';
  readonly noise: number;
  readonly buckets: number;
}
/** Weights exp(epsilon·u/(2·sensitivity of u)): epsilon-bounded-range. */
export interface ExponentialMechanismEvent<R extends Relation> extends Leaf<R> {
  readonly type: 'exponential_mechanism';
  readonly epsilon: number;
}
export interface PermuteAndFlipEvent<R extends Relation> extends Leaf<R> {
  readonly type: 'permute_and_flip';
  readonly epsilon: number;
}
/** Any (epsilon, delta)-DP mechanism; delta 0 for a pure one. */
export interface EpsilonDeltaEvent<R extends Relation> extends Leaf<R> {
  readonly type: 'epsilon_delta';
  readonly epsilon: number;
  readonly delta: number;
}
/** Renyi divergence of order a at most xi + rho·a. */
export interface ZcdpEvent<R extends Relation> extends Leaf<R> {
  readonly type: 'zcdp';
  readonly rho: number;
  readonly xi: number;
}
/** Binary-tree sums with Gaussian noise per node; every record in one of the trees only, a tree per restart. */
export interface TreeAggregationEvent<R extends Relation> extends Leaf<R> {
  readonly type: 'tree_aggregation';
  readonly sigma: number;
  readonly sensitivity: number;
  readonly stepCounts: readonly number[];
}

/** Every record takes part with this probability, independently, and who did stays hidden. */
export interface PoissonSampledEvent<R extends Relation> {
  readonly type: 'poisson_sampled';
  readonly probability: number;
  readonly event: LossEvent<R>;
}
/** A uniform subset of fixed size. */
export interface SampledWithoutReplacementEvent<R extends Relation> {
  readonly type: 'sampled_without_replacement';
  readonly sourceSize: number;
  readonly sampleSize: number;
  readonly event: LossEvent<R>;
}
export interface ComposedEvent<R extends Relation> {
  readonly type: 'composed';
  readonly events: readonly LossEvent<R>[];
}
export interface SelfComposedEvent<R extends Relation> {
  readonly type: 'self_composed';
  readonly event: LossEvent<R>;
  readonly count: number;
}
/**
 * Run a random number of times, release the best. The number is negative binomial of this shape truncated at 1 (1: geometric,
 * 0: logarithmic, Infinity: Poisson) with this mean.
 */
export interface RepeatAndSelectEvent<R extends Relation> {
  readonly type: 'repeat_and_select';
  readonly event: LossEvent<R>;
  readonly mean: number;
  readonly shape: number;
}

export type LeafEvent<R extends Relation> =
  | GaussianEvent<R>
  | LaplaceEvent<R>
  | DiscreteGaussianEvent<R>
  | DiscreteLaplaceEvent<R>
  | RandomizedResponseEvent<R>
  | ExponentialMechanismEvent<R>
  | PermuteAndFlipEvent<R>
  | EpsilonDeltaEvent<R>
  | ZcdpEvent<R>
  | TreeAggregationEvent<R>;

export type LossEvent<R extends Relation = Relation> =
  | LeafEvent<R>
  | PoissonSampledEvent<R>
  | SampledWithoutReplacementEvent<R>
  | ComposedEvent<R>
  | SelfComposedEvent<R>
  | RepeatAndSelectEvent<R>;

const refuse = (detail: string): never => {
  throw new QflError('invalid_request', { detail, next: 'Correct the description of the mechanism.' });
};

/** The accountant has no rule for this; never answered by a guess. */
export const cannotPrice = (what: string, next: string): never => {
  throw new QflError('invalid_request', { detail: `no proven bound is known here for ${what}`, next });
};

const need = (holds: boolean, detail: string): void => {
  // Written so that NaN fails.
  if (!holds) refuse(detail);
};

const isProbability = (value: number): boolean => value >= 0 && value <= 1;
const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
const isFinitePositive = (value: number): boolean => value > 0 && value < Infinity;
const isFiniteNonNegative = (value: number): boolean => value >= 0 && value < Infinity;

const checkNoise = (noise: number, sensitivity: number): void => {
  need(isFinitePositive(noise), 'the noise must be above 0 and finite');
  need(isFiniteNonNegative(sensitivity), 'the sensitivity must be at least 0 and finite');
};

const checkLeaf = (event: LeafEvent<Relation>): void => {
  switch (event.type) {
    case 'gaussian':
      return checkNoise(event.sigma, event.sensitivity);
    case 'laplace':
      return checkNoise(event.scale, event.sensitivity);
    case 'discrete_gaussian':
      need(isCount(event.sensitivity), 'a sensitivity on the integers must be a whole number');
      return checkNoise(event.sigma, event.sensitivity);
    case 'discrete_laplace':
      need(isCount(event.sensitivity), 'a sensitivity on the integers must be a whole number');
      return checkNoise(event.scale, event.sensitivity);
    case 'randomized_response':
      need(isProbability(event.noise), 'the noise of randomised response must be a probability');
      return need(isCount(event.buckets) && event.buckets >= 1, 'there must be at least one bucket');
    case 'exponential_mechanism':
    case 'permute_and_flip':
      return need(isFiniteNonNegative(event.epsilon), 'epsilon must be at least 0 and finite');
    case 'epsilon_delta':
      need(isFiniteNonNegative(event.epsilon), 'epsilon must be at least 0 and finite');
      return need(isProbability(event.delta), 'delta must be a probability');
    case 'zcdp':
      return need(
        isFiniteNonNegative(event.rho) && isFiniteNonNegative(event.xi),
        'rho and xi must be at least 0',
      );
    case 'tree_aggregation':
      checkNoise(event.sigma, event.sensitivity);
      return need(event.stepCounts.length > 0 && event.stepCounts.every(isCount), 'steps must be counts');
  }
};

/** True for a mechanism, false for a composition or a sample of others. */
export const isLeaf = <R extends Relation>(event: LossEvent<R>): event is LeafEvent<R> => 'relation' in event;

/** Checks the figures of this node. @returns its parts. */
const checkOne = (event: LossEvent): readonly LossEvent[] => {
  if (isLeaf(event)) {
    checkLeaf(event);
    return [];
  }
  if (event.type === 'composed') return event.events;
  if (event.type === 'self_composed') need(isCount(event.count), 'a count of runs must be a whole number');
  else if (event.type === 'poisson_sampled')
    need(isProbability(event.probability), 'a sampling probability must be within 0 and 1');
  else if (event.type === 'sampled_without_replacement') {
    need(isCount(event.sampleSize) && isCount(event.sourceSize), 'sizes of samples must be whole numbers');
    need(event.sampleSize <= event.sourceSize, 'a sample cannot be larger than its source');
  } else {
    need(event.mean >= 1 && event.mean < Infinity, 'the mean number of runs must be at least 1');
    need(event.shape >= 0, 'the shape of the number of runs must be at least 0');
  }
  return [event.event];
};

const DEPTH_MAX = 64;

/**
 * Checks every figure of the tree and that all leaves hold for the same relation.
 * @returns that relation; undefined for a tree without leaves, which loses nothing.
 * @throws QflError `invalid_request`
 */
export const checkEvent = (event: LossEvent, depth = 0): Relation | undefined => {
  need(depth <= DEPTH_MAX, 'the description of the mechanism is nested too deeply');
  const relations = checkOne(event).map((part) => checkEvent(part, depth + 1));
  if (isLeaf(event)) relations.push(event.relation);
  const known = [...new Set(relations.filter((relation) => relation !== undefined))];
  need(known.length <= 1, 'parts of a composition hold for different neighbouring relations');
  return known[0];
};
