/** From epsilon to noise: how a question's epsilon is split over its figures, and which mechanism each vector gets. */
import { QflError } from '../../../shared/errors.ts';
import { deltaOfText } from '../../../shared/privacy/delta.ts';
import { MICRO_PER_EPSILON } from '../../../shared/privacy/epsilon.ts';
import {
  discreteGaussian,
  discreteLaplace,
  type Mechanism,
  type NoiseMechanism,
  selection,
} from '../../../shared/privacy/mechanism.ts';
import { ceil, divide, multiply, type Rational, rational } from '../../../shared/privacy/rational.ts';
import { thresholdedForDelta } from '../../../shared/privacy/threshold.ts';
import type { Measure } from '../../../shared/wire/stats.ts';
import type { LedgerLimits } from '../../budget/ledger.ts';
import type { Vector } from './layout.ts';

/** One vector's part of epsilon, exactly: the question's, by shares over the measures, evenly over a measure's vectors. */
export const epsilonOfVector = (
  micro: number,
  measures: readonly Measure[],
  measure: Measure,
  vectors: number,
): Rational => {
  const shares = measures.reduce((sum, { share }) => sum + share, 0);
  return rational(BigInt(micro) * BigInt(measure.share), BigInt(MICRO_PER_EPSILON * shares * vectors));
};

/** Variances from here on are rounded up to whole numbers, smaller ones to 1/64: under 2 % more noise, and small exact fractions. */
const WHOLE_FROM = 64n;

const roundedUp = (variance: Rational): Rational =>
  variance.numerator >= WHOLE_FROM * variance.denominator
    ? rational(ceil(variance))
    : rational(ceil(multiply(variance, rational(WHOLE_FROM))), WHOLE_FROM);

/** σ² = D2²/ε²: rho = ε²/2, the zCDP of any ε-DP mechanism, so that both kinds cost a zCDP ledger the same. */
const gaussianFor = ({ l2Squared }: Vector, epsilon: Rational): NoiseMechanism =>
  discreteGaussian(rational(l2Squared), roundedUp(divide(rational(l2Squared), multiply(epsilon, epsilon))));

const laplaceFor = ({ l1 }: Vector, epsilon: Rational): NoiseMechanism =>
  discreteLaplace(l1, divide(rational(l1), epsilon));

/**
 * Laplace noise has variance 2·D1²/ε², Gaussian D2²/ε². For one number they differ by two at most, and Laplace noise keeps the pure ε that
 * was asked for; for a vector of which one patient moves several cells Gaussian noise is much the smaller.
 */
const prefersGaussian = ({ l1, l2Squared }: Vector): boolean => l1 * l1 > l2Squared;

/** @throws QflError `invalid_request` */
const deltaAsked = ({ delta }: Extract<Measure, { measure: 'keyed_table' }>): Rational => {
  const asked = deltaOfText(delta);
  if (asked !== undefined) return asked;
  throw new QflError('invalid_request', { detail: 'delta is a number between 0 and 1, such as 1e-9' });
};

/**
 * The mechanism of one vector at this epsilon. @throws QflError `invalid_request` for Gaussian noise under basic composition, which has
 * no price for it
 */
export const mechanismFor = (
  measure: Measure,
  vector: Vector,
  epsilon: Rational,
  { rule }: Pick<LedgerLimits, 'rule'>,
): Mechanism => {
  if (vector.candidates !== undefined)
    // Under basic composition both cost ε, and permute-and-flip is the better of the two; elsewhere the other costs a quarter.
    return selection(rule === 'basic' ? 'permute_and_flip' : 'exponential', {
      sensitivity: vector.l1,
      epsilon,
      candidates: vector.candidates,
    });
  if (measure.noise === 'gaussian' && rule === 'basic')
    throw new QflError('invalid_request', {
      detail: 'this site adds up pure epsilon only, and Gaussian noise has none',
      next: 'Ask with Laplace noise.',
    });
  const gaussian =
    measure.noise === 'gaussian' || (measure.noise === 'auto' && rule !== 'basic' && prefersGaussian(vector));
  const noise = gaussian ? gaussianFor(vector, epsilon) : laplaceFor(vector, epsilon);
  return measure.measure === 'keyed_table'
    ? thresholdedForDelta(noise, vector.l1, deltaAsked(measure))
    : noise;
};
