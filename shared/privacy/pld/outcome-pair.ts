/** Pairs (P, Q) over finitely many outcomes: integer noise, randomised response, and whatever an (epsilon, delta) guarantee allows. */
import { gaussianNormaliser } from '../gaussian.ts';
import { gridBuilder, type GridSettings, type LossGrid } from './loss-grid.ts';

/** Masses of the same outcomes under both; the remainder of either is left to outcomes with an infinite loss. */
export interface OutcomePair {
  readonly p: Float64Array;
  readonly q: Float64Array;
}

export const reversed = ({ p, q }: OutcomePair): OutcomePair => ({ p: q, q: p });

/** Q is P in the reverse order, so that the loss has the same law from both sides. */
export const isSymmetric = ({ p, q }: OutcomePair): boolean =>
  p.every((mass, at) => mass === q[q.length - 1 - at]);

/** The record (P with it, Q without) takes part with this probability (Zhu, Dong, Wang 2022, Theorem 11). */
export const sampledOutcomes = ({ p, q }: OutcomePair, probability: number): OutcomePair => ({
  p: p.map((mass, at) => probability * mass + (1 - probability) * q[at]!),
  q,
});

/**
 * Discrete Laplace noise around 0 against around `shift` ≥ 1: outside those two the loss is constant, so that each side is one outcome.
 */
export const discreteLaplaceOutcomes = (scale: number, shift: number): OutcomePair => {
  const side = 1 / (1 + Math.exp(-1 / scale));
  const peak = Math.tanh(1 / (2 * scale));
  const p = new Float64Array(shift + 1);
  p[0] = side;
  for (let x = 1; x < shift; x += 1) p[x] = peak * Math.exp(-x / scale);
  p[shift] = side * Math.exp(-shift / scale);
  return { p, q: p.toReversed() };
};

const SPAN_SIGMAS = 9.6;

/** Discrete Gaussian noise around 0 against around `shift`; answers further out than 9.6 sigma from both have an odds under 1e-21. */
export const discreteGaussianOutcomes = (sigma: number, shift: number): OutcomePair => {
  const span = Math.ceil(SPAN_SIGMAS * sigma) + 2;
  const norm = gaussianNormaliser(sigma);
  const p = Float64Array.from(
    { length: 2 * span + shift + 1 },
    (_, at) => Math.exp(-(((at - span) / sigma) ** 2) / 2) / norm,
  );
  return { p, q: p.toReversed() };
};

/** The pair every (epsilon, delta)-DP mechanism is a post-processing of (Kairouz, Oh, Viswanath 2015, Theorem 3.3). */
export const guaranteeOutcomes = (epsilon: number, delta: number): OutcomePair => {
  const truth = (1 - delta) / (1 + Math.exp(-epsilon));
  const lie = truth * Math.exp(-epsilon);
  return { p: Float64Array.of(delta, truth, lie, 0), q: Float64Array.of(0, lie, truth, delta) };
};

/** k-ary randomised response for two true answers. */
export const responseOutcomes = (noise: number, buckets: number): OutcomePair => {
  const truth = 1 - noise + noise / buckets;
  const lie = noise / buckets;
  const rest = lie * (buckets - 2);
  return { p: Float64Array.of(truth, rest, lie), q: Float64Array.of(lie, rest, truth) };
};

/** The same against the null record, whose answer is uniform. */
export const nullResponseOutcomes = (noise: number, buckets: number): OutcomePair => {
  const truth = 1 - noise + noise / buckets;
  return {
    p: Float64Array.of(truth, 1 - truth),
    q: Float64Array.of(1 / buckets, 1 - 1 / buckets),
  };
};

/** The pair's loss on a grid. */
export const gridOfOutcomes = ({ p, q }: OutcomePair, settings: GridSettings): LossGrid => {
  let low = 0;
  let high = 0;
  p.forEach((mass, at) => {
    if (mass === 0 || q[at] === 0) return;
    const loss = Math.log(mass / q[at]!);
    low = Math.min(low, loss);
    high = Math.max(high, loss);
  });
  const builder = gridBuilder(low, high, settings);
  p.forEach((mass, at) => {
    builder.addOutcome(mass, q[at]!);
  });
  return builder.build();
};
