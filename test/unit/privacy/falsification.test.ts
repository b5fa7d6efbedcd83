/**
 * Tries to refute the loss that each mechanism claims, on neighbouring data sets, with a million draws from each. What is drawn is
 * what `contribute` adds: `noiseOf` on a secure-sized grid, seeded here so that a failure repeats.
 */
import { describe, expect, test } from 'vitest';
import { discreteGaussianDelta } from '../../../shared/privacy/analytic/hockey-stick.ts';
import {
  discreteGaussian,
  discreteLaplace,
  type NoiseMechanism,
  noiseOf,
} from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { seededRandom } from '../../fixtures/drbg.ts';
import { oddsBounds, refutedEpsilon } from '../../fixtures/falsification.ts';

const DRAWS = 1_000_000;

/** Released sums of the vector's cells: where all cells move the same way, the sum carries all there is to know. */
const release = (mechanism: NoiseMechanism, exact: readonly number[], seed: number): Int32Array => {
  const noise = noiseOf(mechanism, seededRandom(seed));
  return Int32Array.from({ length: DRAWS }, () =>
    exact.reduce((sum, value) => sum + value + Number(noise()), 0),
  );
};

describe('what is claimed is not refuted', () => {
  // A count, empty against one patient; a sum clamped to 7, all at the bound against one more; three rows of one patient.
  test.each([
    ['a count, empty against one', discreteLaplace(1n, rational(1n)), 0, 1, 1],
    ['a sum of values up to 7, epsilon 1/2', discreteLaplace(7n, rational(14n)), 70, 77, 0.5],
    ['three rows of one patient', discreteLaplace(3n, rational(3n)), 5, 2, 1],
  ] as const)('discrete Laplace: %s', (_name, mechanism, one, other, epsilon) => {
    const refuted = refutedEpsilon(release(mechanism, [one], 1), release(mechanism, [other], 2));
    expect(refuted).toBeLessThanOrEqual(epsilon);
    // The search has teeth: it comes close to the truth.
    expect(refuted).toBeGreaterThan(0.93 * epsilon);
  });

  test('discrete Gaussian on two bins: no more than its exact delta at this epsilon', () => {
    // One patient in each of two bins: sensitivity √2, sigma 4 on each bin; the sum of both is normal-shaped to fifteen digits.
    const mechanism = discreteGaussian(rational(2n), rational(16n));
    const [left, right] = [release(mechanism, [3, 3], 3), release(mechanism, [2, 2], 4)];
    const sigmaOfSum = Math.sqrt(32);
    const shift = 2;
    for (const epsilon of [0.25, 0.5, 1]) {
      const delta = discreteGaussianDelta(sigmaOfSum, shift, epsilon);
      expect(refutedEpsilon(left, right, delta)).toBeLessThanOrEqual(epsilon);
    }
  });
});

test('bounds of odds hold at their level', () => {
  const { low, high } = oddsBounds(50_000, 500_000, 1e-9);
  expect(low).toBeLessThan(0.1);
  expect(high).toBeGreaterThan(0.1);
  expect(high - low).toBeLessThan(0.006);
  expect(oddsBounds(0, 100, 1e-9).low).toBe(0);
  expect(oddsBounds(100, 100, 1e-9).high).toBe(1);
});
