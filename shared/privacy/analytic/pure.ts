/** What is known of a mechanism when only its (epsilon, delta) is: composition, Renyi and concentrated bounds, subsampling. */
import { QflError } from '../../errors.ts';
import { bisect } from '../math/search.ts';
import { logBinomials } from '../math/logarithms.ts';
import { pureRdp } from '../laplace.ts';

/** k·epsilon. */
export const basicComposition = (epsilon: number, count: number): number => epsilon * count;

/** Dwork, Rothblum, Vadhan 2010, Theorem III.3. May exceed the basic bound; take the smaller. */
export const advancedComposition = (epsilon: number, count: number, delta: number): number =>
  epsilon * Math.sqrt(2 * count * Math.log(1 / delta)) + count * epsilon * Math.expm1(epsilon);

/** Kairouz, Oh, Viswanath 2015, Theorem 3.4: the mean loss of randomised response and a Hoeffding term. */
export const kairouzComposition = (epsilon: number, count: number, delta: number): number =>
  count * epsilon * Math.tanh(epsilon / 2) + epsilon * Math.sqrt(2 * count * Math.log(1 / delta));

/**
 * Delta of k runs of any epsilon-DP mechanisms at `target`, exactly: the hockey-stick divergence of k-fold randomised response,
 * which every epsilon-DP mechanism is a post-processing of (Kairouz, Oh, Viswanath 2015; Murtagh, Vadhan 2016). With j lies of
 * k the loss is (k − 2j)·epsilon.
 */
const pureDelta = (epsilon: number, count: number, target: number): number => {
  const binomials = logBinomials(count);
  const logTruth = -Math.log1p(Math.exp(-epsilon));
  let sum = 0;
  for (let lies = Math.min(count, Math.floor((count - target / epsilon) / 2)); lies >= 0; lies -= 1) {
    const loss = (count - 2 * lies) * epsilon;
    if (loss <= target) continue;
    sum += Math.exp(binomials[lies]! + count * logTruth - lies * epsilon) * -Math.expm1(target - loss);
  }
  return Math.min(1, sum);
};

/** Bounds time and memory: a table of as many binomials. */
const COUNT_MAX = 10_000_000;

/**
 * The same for (epsilon, delta)-DP mechanisms: 1 − (1 − delta)^k·(1 − pure part). Beyond a hundred thousand runs in a worker.
 * @throws QflError `invalid_request` for more than ten million runs.
 */
export const optimalDelta = (epsilon: number, deltaEach: number, count: number, target: number): number => {
  if (!(count <= COUNT_MAX))
    throw new QflError('invalid_request', {
      detail: 'the exact composition of so many runs is not computed',
      next: 'Take the loss distribution of the run instead.',
    });
  const pure = epsilon === 0 ? 0 : pureDelta(epsilon, count, target);
  const kept = count * Math.log1p(-deltaEach);
  return -Math.expm1(kept) + Math.exp(kept) * pure;
};

/** Smallest epsilon of the k-fold composition at `delta`, exactly, rounded up; Infinity when delta is not above the parts' own. */
export const optimalComposition = (
  epsilon: number,
  deltaEach: number,
  count: number,
  delta: number,
): number => {
  if (optimalDelta(epsilon, deltaEach, count, count * epsilon) > delta) return Infinity;
  if (optimalDelta(epsilon, deltaEach, count, 0) <= delta) return 0;
  return bisect(0, count * epsilon, (target) => optimalDelta(epsilon, deltaEach, count, target) <= delta)
    .above;
};

export interface PureAsRenyi {
  /** The largest Renyi divergence of that order any epsilon-DP mechanism can have: randomised response. */
  readonly rdp: number;
  /** Bun, Steinke 2016, Proposition 3.3: min(a·epsilon²/2, epsilon). */
  readonly rdpSimple: number;
  /** epsilon²/2. */
  readonly rho: number;
  /** KL divergence of randomised response, epsilon·tanh(epsilon/2): the smallest rho any bound can give. */
  readonly rhoLeast: number;
}

export const pureAsRenyi = (epsilon: number, order: number): PureAsRenyi => ({
  rdp: pureRdp(epsilon, order),
  rdpSimple: Math.min((order * epsilon * epsilon) / 2, epsilon),
  rho: (epsilon * epsilon) / 2,
  rhoLeast: epsilon * Math.tanh(epsilon / 2),
});

/**
 * An epsilon-bounded-range mechanism (the loss varies by at most epsilon over the answers): epsilon-DP and epsilon²/8-zCDP
 * (Dong, Durfee, Rogers 2020; Cesar, Rogers 2021).
 */
export const boundedRange = (epsilon: number): { readonly epsilon: number; readonly rho: number } => ({
  epsilon,
  rho: (epsilon * epsilon) / 8,
});

/**
 * Poisson sampling under add/remove, or a uniform subset under replace-one: epsilon' = ln(1 + q(e^ε − 1)), delta' = q·delta
 * (Balle, Barthe, Gaboardi 2018, Theorems 8 and 9).
 */
export const amplifyBySampling = (
  q: number,
  epsilon: number,
  delta: number,
): { readonly epsilon: number; readonly delta: number } => ({
  epsilon:
    epsilon > 30 ? epsilon + Math.log(q + (1 - q) * Math.exp(-epsilon)) : Math.log1p(q * Math.expm1(epsilon)),
  delta: q * delta,
});

/**
 * Probabilities of the exponential mechanism; monotone scores (adding a record moves all the same way) need half the noise.
 * For displays and tests; releases sample exactly, on integers.
 */
export const exponentialProbabilities = (
  scores: readonly number[],
  epsilon: number,
  sensitivity: number,
  monotone: boolean,
): number[] => {
  const best = Math.max(...scores);
  const weights = scores.map((score) =>
    Math.exp(((score - best) * epsilon) / (sensitivity * (monotone ? 1 : 2))),
  );
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
};
