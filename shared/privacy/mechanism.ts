/**
 * A mechanism is what is done to a query's exact integer result before anybody sees it. It decides the cost; an epsilon per
 * query is only a way to choose its noise. Sensitivity and noise are stated apart, and the relation between
 * neighbouring data sets is part of the type: one patient with everything about them, added or removed.
 */
import { z } from 'zod';
import { QflError } from '../errors.ts';
import type { RandomBytes } from '../random.ts';
import { epsilonOf, type MicroEpsilon } from './epsilon.ts';
import { randomIntegers } from './random-bits.ts';
import { divide, type Rational, rational } from './rational.ts';
import { sampleDiscreteGaussian, sampleDiscreteLaplace } from './samplers.ts';

export type Relation = 'add_or_remove_patient';

/** P(x) ∝ exp(−|x|/scale) on an integer whose value one patient moves by at most `sensitivity`. */
export interface DiscreteLaplace {
  readonly kind: 'discrete_laplace';
  readonly relation: Relation;
  /** In units of the integer grid, at least 1. */
  readonly sensitivity: bigint;
  readonly scale: Rational;
}

/**
 * P(x) ∝ exp(−x²/(2σ²)) on each of one or more integers, which one patient moves by at most √sensitivitySquared in
 * Euclidean length. Squares, because √m (a patient in m bins) is not a fraction and only squares enter the cost.
 */
export interface DiscreteGaussian {
  readonly kind: 'discrete_gaussian';
  readonly relation: Relation;
  readonly sensitivitySquared: Rational;
  readonly sigmaSquared: Rational;
}

/** What adds integer noise to integers. */
export type NoiseMechanism = DiscreteLaplace | DiscreteGaussian;

/**
 * Picks one of `candidates` public candidates by an integer utility that one patient moves by at most `sensitivity`, and releases its
 * position alone. `exponential`: P ∝ exp(ε·utility/(2·sensitivity)), ε-bounded-range (McSherry, Talwar 2007). `permute_and_flip`:
 * the better utility for one pure release (McKenna, Sheldon 2020).
 */
export interface Selection {
  readonly kind: 'exponential' | 'permute_and_flip';
  readonly relation: Relation;
  readonly sensitivity: bigint;
  readonly epsilon: Rational;
  readonly candidates: number;
}

/**
 * Counts by keys that only the data knows: noise on the count of every key that occurs, and no word of those that stay below `threshold`.
 * It fails with a probability, which is charged beside the loss of its noise (`threshold.ts`).
 */
export interface ThresholdedHistogram {
  readonly kind: 'thresholded_histogram';
  readonly relation: Relation;
  /** Keys that one patient can add, each by one; the noise is for this many. */
  readonly keysPerPatient: bigint;
  readonly noise: NoiseMechanism;
  /** The least noisy count that is told, at least 2. */
  readonly threshold: bigint;
}

/**
 * Noise in shares: each of `shares` sites that keep to the protocol adds a discrete Gaussian of variance `sigmaSquared` to each of `words` integers, and
 * only the sum is seen. One patient moves the vector of integers by at most √sensitivitySquared in Euclidean length.
 */
export interface DistributedGaussian {
  readonly kind: 'distributed_gaussian';
  readonly relation: Relation;
  readonly sensitivitySquared: bigint;
  /** Of one share. */
  readonly sigmaSquared: Rational;
  readonly shares: number;
  readonly words: number;
}

export type Mechanism = NoiseMechanism | Selection | ThresholdedHistogram | DistributedGaussian;

export const isNoise = (mechanism: Mechanism): mechanism is NoiseMechanism =>
  mechanism.kind === 'discrete_laplace' || mechanism.kind === 'discrete_gaussian';

export const isSelection = (mechanism: Mechanism): mechanism is Selection =>
  mechanism.kind === 'exponential' || mechanism.kind === 'permute_and_flip';

/** What a site allows for one query, whatever is asked. */
export interface QueryPolicy {
  readonly microEpsilonPerQueryMax: MicroEpsilon;
}

const needPositive = (value: bigint, what: string): void => {
  if (value > 0n) return;
  throw new QflError('invalid_request', { detail: `${what} must be above 0` });
};

/** @throws QflError `invalid_request` */
export const discreteLaplace = (sensitivity: bigint, scale: Rational): DiscreteLaplace => {
  needPositive(sensitivity, 'sensitivity');
  needPositive(scale.numerator, 'scale');
  return { kind: 'discrete_laplace', relation: 'add_or_remove_patient', sensitivity, scale };
};

/** @throws QflError `invalid_request` */
export const discreteGaussian = (sensitivitySquared: Rational, sigmaSquared: Rational): DiscreteGaussian => {
  needPositive(sensitivitySquared.numerator, 'sensitivity');
  needPositive(sigmaSquared.numerator, 'sigma');
  return { kind: 'discrete_gaussian', relation: 'add_or_remove_patient', sensitivitySquared, sigmaSquared };
};

/** @throws QflError `invalid_request` when the noise is made for less than one patient can change */
export const thresholdedHistogram = (
  noise: NoiseMechanism,
  { keysPerPatient, threshold }: Pick<ThresholdedHistogram, 'keysPerPatient' | 'threshold'>,
): ThresholdedHistogram => {
  needPositive(keysPerPatient, 'the number of keys per patient');
  const covers =
    noise.kind === 'discrete_laplace'
      ? noise.sensitivity >= keysPerPatient
      : noise.sensitivitySquared.numerator >= keysPerPatient * noise.sensitivitySquared.denominator;
  if (!covers || threshold < 2n)
    throw new QflError('invalid_request', {
      detail: 'a thresholded histogram needs noise for all keys of a patient, and a threshold of 2 or more',
    });
  return {
    kind: 'thresholded_histogram',
    relation: 'add_or_remove_patient',
    keysPerPatient,
    noise,
    threshold,
  };
};

const SHARES_MAX = 1_000;
const WORDS_MAX = 400_000_000;

/** @throws QflError `invalid_request` */
export const distributedGaussian = ({
  sensitivitySquared,
  sigmaSquared,
  shares,
  words,
}: Omit<DistributedGaussian, 'kind' | 'relation'>): DistributedGaussian => {
  needPositive(sensitivitySquared, 'sensitivity');
  needPositive(sigmaSquared.numerator, 'sigma');
  const isCount = (value: number, most: number): boolean =>
    Number.isInteger(value) && value >= 1 && value <= most;
  if (!isCount(shares, SHARES_MAX) || !isCount(words, WORDS_MAX))
    throw new QflError('invalid_request', {
      detail: `noise comes in 1 to ${SHARES_MAX} shares of 1 to ${WORDS_MAX} words`,
    });
  return {
    kind: 'distributed_gaussian',
    relation: 'add_or_remove_patient',
    sensitivitySquared,
    sigmaSquared,
    shares,
    words,
  };
};

const SELECTION_CANDIDATES_MAX = 1_000_000;

/** @throws QflError `invalid_request` */
export const selection = (
  kind: Selection['kind'],
  { sensitivity, epsilon, candidates }: Pick<Selection, 'sensitivity' | 'epsilon' | 'candidates'>,
): Selection => {
  needPositive(sensitivity, 'sensitivity');
  needPositive(epsilon.numerator, 'epsilon');
  if (!Number.isInteger(candidates) || candidates < 1 || candidates > SELECTION_CANDIDATES_MAX)
    throw new QflError('invalid_request', {
      detail: `a selection is made from 1 to ${SELECTION_CANDIDATES_MAX} candidates`,
    });
  return { kind, relation: 'add_or_remove_patient', sensitivity, epsilon, candidates };
};

/**
 * The discrete Laplace mechanism that is epsilon-DP at this sensitivity: scale = sensitivity / epsilon, exactly.
 * @throws QflError `invalid_request` when the policy allows less per query.
 */
export const laplaceForEpsilon = (
  ask: { readonly epsilon: MicroEpsilon; readonly sensitivity: bigint },
  policy: QueryPolicy,
): DiscreteLaplace => {
  if (ask.epsilon > policy.microEpsilonPerQueryMax) {
    throw new QflError('invalid_request', {
      detail: 'epsilon for one query is above what this site allows',
      next: 'Ask with a smaller epsilon: more noise, less of the budget.',
      facts: { microEpsilon: ask.epsilon, microEpsilonPerQueryMax: policy.microEpsilonPerQueryMax },
    });
  }
  return discreteLaplace(ask.sensitivity, divide(rational(ask.sensitivity), epsilonOf(ask.epsilon)));
};

/** Fresh noise of this mechanism, one integer per call of the function returned. */
export const noiseOf = (mechanism: NoiseMechanism, random: RandomBytes): (() => bigint) => {
  const integers = randomIntegers(random);
  return mechanism.kind === 'discrete_laplace'
    ? () => sampleDiscreteLaplace(mechanism.scale, integers)
    : () => sampleDiscreteGaussian(mechanism.sigmaSquared, integers);
};

const Digits = z.string().regex(/^[1-9]\d{0,38}$/);
const RationalText = z.tuple([Digits, Digits]);

/** How a mechanism stands in ledgers and on the wire: integers as decimal strings, members in canonical order. */
const SelectionText = { candidates: z.int().min(1).max(SELECTION_CANDIDATES_MAX), epsilon: RationalText };
const NoiseText = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('discrete_laplace'), sensitivity: Digits, scale: RationalText }),
  z.strictObject({
    kind: z.literal('discrete_gaussian'),
    sensitivitySquared: RationalText,
    sigmaSquared: RationalText,
  }),
]);
export const MechanismText = z.discriminatedUnion('kind', [
  ...NoiseText.options,
  z.strictObject({
    keysPerPatient: Digits,
    kind: z.literal('thresholded_histogram'),
    noise: NoiseText,
    threshold: Digits,
  }),
  z.strictObject({
    kind: z.literal('distributed_gaussian'),
    sensitivitySquared: Digits,
    shares: z.int().min(1).max(SHARES_MAX),
    sigmaSquared: RationalText,
    words: z.int().min(1).max(WORDS_MAX),
  }),
  z.strictObject({ kind: z.literal('exponential'), ...SelectionText, sensitivity: Digits }),
  z.strictObject({ kind: z.literal('permute_and_flip'), ...SelectionText, sensitivity: Digits }),
]);
export type MechanismText = z.infer<typeof MechanismText>;

const rationalText = ({ numerator, denominator }: Rational): [string, string] => [
  String(numerator),
  String(denominator),
];
const rationalOfText = ([numerator, denominator]: readonly [string, string]): Rational =>
  rational(BigInt(numerator), BigInt(denominator));

type NoiseText = z.infer<typeof NoiseText>;

const noiseToText = (noise: NoiseMechanism): NoiseText =>
  noise.kind === 'discrete_laplace'
    ? { kind: noise.kind, scale: rationalText(noise.scale), sensitivity: String(noise.sensitivity) }
    : {
        kind: noise.kind,
        sensitivitySquared: rationalText(noise.sensitivitySquared),
        sigmaSquared: rationalText(noise.sigmaSquared),
      };

const noiseOfText = (text: NoiseText): NoiseMechanism =>
  text.kind === 'discrete_laplace'
    ? discreteLaplace(BigInt(text.sensitivity), rationalOfText(text.scale))
    : discreteGaussian(rationalOfText(text.sensitivitySquared), rationalOfText(text.sigmaSquared));

export const mechanismToText = (mechanism: Mechanism): MechanismText => {
  switch (mechanism.kind) {
    case 'discrete_laplace':
    case 'discrete_gaussian':
      return noiseToText(mechanism);
    case 'thresholded_histogram':
      return {
        keysPerPatient: String(mechanism.keysPerPatient),
        kind: mechanism.kind,
        noise: noiseToText(mechanism.noise),
        threshold: String(mechanism.threshold),
      };
    case 'distributed_gaussian':
      return {
        kind: mechanism.kind,
        sensitivitySquared: String(mechanism.sensitivitySquared),
        shares: mechanism.shares,
        sigmaSquared: rationalText(mechanism.sigmaSquared),
        words: mechanism.words,
      };
    case 'exponential':
    case 'permute_and_flip':
      break;
  }
  return {
    candidates: mechanism.candidates,
    epsilon: rationalText(mechanism.epsilon),
    kind: mechanism.kind,
    sensitivity: String(mechanism.sensitivity),
  };
};

/** @throws QflError `invalid_request` for a mechanism that cannot be */
export const mechanismOfText = (text: MechanismText): Mechanism => {
  switch (text.kind) {
    case 'discrete_laplace':
    case 'discrete_gaussian':
      return noiseOfText(text);
    case 'thresholded_histogram':
      return thresholdedHistogram(noiseOfText(text.noise), {
        keysPerPatient: BigInt(text.keysPerPatient),
        threshold: BigInt(text.threshold),
      });
    case 'distributed_gaussian':
      return distributedGaussian({
        sensitivitySquared: BigInt(text.sensitivitySquared),
        sigmaSquared: rationalOfText(text.sigmaSquared),
        shares: text.shares,
        words: text.words,
      });
    case 'exponential':
    case 'permute_and_flip':
      break;
  }
  return selection(text.kind, {
    candidates: text.candidates,
    epsilon: rationalOfText(text.epsilon),
    sensitivity: BigInt(text.sensitivity),
  });
};
