/**
 * Training on the examples of one place: mini-batches in a seeded order. With `proximal`, the local problem of FedProx (Li et al. 2020,
 * "Federated optimization in heterogeneous networks", algorithm 2), which holds the weights near those of the federation.
 */
import type { Steps } from '../rounds/slowly.ts';
import { type Seeded, seeded } from '../seeded.ts';
import { type AdamState, adamStart, adamStep } from './adam.ts';
import type { Example, Gradient, Model, TensorPart } from './model.ts';

/** What is made small: a mean loss over examples. */
export interface Objective {
  readonly size: number;
  readonly tensors: readonly TensorPart[];
  readonly examples: number;
  /** Writes the gradient of example `at` to `into`, which is overwritten. */
  gradient(weights: Float64Array, at: number, into: Float64Array): Pick<Gradient, 'loss'>;
  /** How much example `at` counts: 1 unless classes are weighted. */
  weightOf?(at: number): number;
}

export interface LocalSettings {
  readonly epochs: number;
  /** Examples to a batch; the last batch of an epoch may have fewer. */
  readonly batch: number;
  /** Step size. */
  readonly rate: number;
  readonly optimiser?: 'adam' | 'descent';
  /** λ of λ/2·|w|², over weights but neither biases nor decay rates. */
  readonly l2?: number;
  /** μ of μ/2·|w − w₀|², over all numbers, w₀ being the weights that training began from. */
  readonly proximal?: number;
  /** A batch's gradient longer than this is cut to it: recurrent networks have cliffs (Pascanu et al. 2013). */
  readonly lengthMax?: number;
  /** The step size falls to this share of itself by the end, along a half cosine. */
  readonly rateEnd?: number;
  readonly seed: number;
  /** Called after each epoch with the weights then and the mean loss met on the way; true ends the training. */
  readonly afterEpoch?: (epoch: number, weights: Float64Array, loss: number) => boolean;
}

export interface Trained {
  readonly weights: Float64Array<ArrayBuffer>;
  /** Mean loss in nats met during each epoch, while the weights moved; penalties are not in it. */
  readonly losses: readonly number[];
}

/** The mean log loss of a model, where a positive example counts `positiveWeight` times a negative one. */
export const objectiveOf = (model: Model, examples: readonly Example[], positiveWeight = 1): Objective => ({
  size: model.size,
  tensors: model.tensors,
  examples: examples.length,
  gradient: (weights, at, into) => model.gradient(weights, examples[at]!, into),
  weightOf: (at) => (examples[at]!.target === 1 ? positiveWeight : 1),
});

/** Fisher-Yates, in place. */
export const shuffle = (order: Int32Array, random: Seeded): void => {
  for (let at = order.length - 1; at > 0; at -= 1) {
    const other = random.below(at + 1);
    const value = order[at]!;
    order[at] = order[other]!;
    order[other] = value;
  }
};

const addScaled = (into: Float64Array, from: Float64Array, scale: number): void => {
  for (let at = 0; at < into.length; at += 1) into[at]! += scale * from[at]!;
};

/** λ for the numbers that are held small, 0 for the others. */
const decayOf = ({ size, tensors }: Objective, l2: number): Float64Array => {
  const decay = new Float64Array(size);
  for (const { name, shape, offset } of tensors)
    if (!/bias$|^decay\./.test(name))
      decay.fill(l2, offset, offset + shape.reduce((product, length) => product * length, 1));
  return decay;
};

const cutTo = (gradient: Float64Array, lengthMax: number): void => {
  let squares = 0;
  for (let at = 0; at < gradient.length; at += 1) squares += gradient[at]! * gradient[at]!;
  const scale = lengthMax / Math.sqrt(squares);
  if (scale < 1) for (let at = 0; at < gradient.length; at += 1) gradient[at]! *= scale;
};

interface Batch {
  readonly gradient: Float64Array;
  /** Summed over the batch, unweighted. */
  readonly loss: number;
}

/** The weighted mean gradient of `order[from]` … `order[to − 1]`; a step for each example. */
const batchOf = function* (
  objective: Objective,
  weights: Float64Array,
  order: Int32Array,
  from: number,
  to: number,
): Steps<Batch> {
  const gradient = new Float64Array(objective.size);
  const one = new Float64Array(objective.size);
  let loss = 0;
  let total = 0;
  for (let at = from; at < to; at += 1) {
    const example = order[at]!;
    loss += objective.gradient(weights, example, one).loss;
    const weight = objective.weightOf?.(example) ?? 1;
    total += weight;
    addScaled(gradient, one, weight);
    yield;
  }
  for (let at = 0; at < gradient.length; at += 1) gradient[at]! /= total;
  return { gradient, loss };
};

const addPenalties = (
  gradient: Float64Array,
  weights: Float64Array,
  start: Float64Array,
  decay: Float64Array,
  proximal: number,
): void => {
  for (let at = 0; at < gradient.length; at += 1)
    gradient[at]! += decay[at]! * weights[at]! + proximal * (weights[at]! - start[at]!);
};

const descended = (
  weights: Float64Array,
  gradient: Float64Array,
  rate: number,
): Float64Array<ArrayBuffer> => {
  const next = Float64Array.from(weights);
  addScaled(next, gradient, -rate);
  return next;
};

/**
 * Trains from `start`, which stays as it is. A step is one example, so that whoever runs it (`slowly`, `atOnce`) can let others have
 * their turn.
 */
export const trainLocal = function* (
  objective: Objective,
  start: Float64Array,
  settings: LocalSettings,
): Steps<Trained> {
  const {
    epochs,
    batch,
    rate,
    optimiser = 'adam',
    proximal = 0,
    lengthMax = Infinity,
    rateEnd = 1,
  } = settings;
  const random = seeded(settings.seed);
  const order = Int32Array.from({ length: objective.examples }, (_, at) => at);
  const decay = decayOf(objective, settings.l2 ?? 0);
  const batches = epochs * Math.ceil(objective.examples / batch);
  let weights = Float64Array.from(start);
  let adam: AdamState = adamStart(objective.size);
  let done = 0;
  const losses: number[] = [];
  for (let epoch = 0; epoch < epochs; epoch += 1) {
    shuffle(order, random);
    let lossSum = 0;
    for (let from = 0; from < order.length; from += batch) {
      const to = Math.min(from + batch, order.length);
      const { gradient, loss } = yield* batchOf(objective, weights, order, from, to);
      addPenalties(gradient, weights, start, decay, proximal);
      cutTo(gradient, lengthMax);
      const rateNow = rate * (rateEnd + (1 - rateEnd) * 0.5 * (1 + Math.cos((Math.PI * done) / batches)));
      if (optimiser === 'descent') weights = descended(weights, gradient, rateNow);
      else ({ weights, state: adam } = adamStep(weights, gradient, adam, { rate: rateNow }));
      lossSum += loss;
      done += 1;
    }
    losses.push(lossSum / order.length);
    if (settings.afterEpoch?.(epoch, weights, lossSum / order.length) === true) break;
  }
  return { weights, losses };
};
