/**
 * The noise of `ask` and what it hides. Epsilon chooses it by the price of one pure query: rho = ε²/2, so ε 0.1 is rho 0.005 for every
 * question, and more cells per patient mean more noise, not a higher charge.
 */
import { epsilonOf, type MicroEpsilon } from '../../../shared/privacy/epsilon.ts';
import { noiseHalfWidth } from '../../../shared/privacy/interval.ts';
import { discreteGaussian, type DiscreteGaussian } from '../../../shared/privacy/mechanism.ts';
import { divide, multiply, rational, toNumber } from '../../../shared/privacy/rational.ts';

/**
 * Discrete Gaussian with σ² = D²/ε², that is rho = D²/(2σ²) = ε²/2. D² = k where a patient moves at most k cells by one (concepts),
 * 2k where a shard's answer changes from one set of k terms to another (tally).
 */
export const askMechanism = (epsilon: MicroEpsilon, sensitivitySquared: bigint): DiscreteGaussian => {
  const given = epsilonOf(epsilon);
  const squared = rational(sensitivitySquared);
  return discreteGaussian(squared, divide(squared, multiply(given, given)));
};

export const sigmaOf = ({ sigmaSquared }: DiscreteGaussian): number => Math.sqrt(toNumber(sigmaSquared));

export const rhoOf = ({ sensitivitySquared, sigmaSquared }: DiscreteGaussian): number =>
  toNumber(divide(sensitivitySquared, multiply(sigmaSquared, rational(2n))));

/** Odds that any cell without patients is shown, over all cells of an answer. */
export const FALSE_SHOWN_MAX = 0.05;
/** A count from which on a cell is shown at least this often. */
export const SHOWN_RELIABLY = 0.95;

export interface Visibility {
  /** A noisy count is shown from here on. */
  readonly cut: bigint;
  /** An exact count from here on is shown in 95 % of answers. */
  readonly reliableFrom: bigint;
}

/** Smallest w with P(noise > w) ≤ outside; the sum of symmetric noises is symmetric. */
const upperWidth = (mechanisms: readonly DiscreteGaussian[], outside: number): bigint =>
  noiseHalfWidth(mechanisms, 1 - 2 * outside);

/**
 * From public facts alone: the noises of the sites whose counts are added, and how many cells compete.
 * Cells without patients: each above the cut with odds at most FALSE_SHOWN_MAX/cells, so any of them with at most FALSE_SHOWN_MAX.
 */
export const visibilityOf = (mechanisms: readonly DiscreteGaussian[], cells: number): Visibility => {
  const cut = upperWidth(mechanisms, FALSE_SHOWN_MAX / Math.max(1, cells)) + 1n;
  return { cut, reliableFrom: cut + upperWidth(mechanisms, 1 - SHOWN_RELIABLY) };
};
