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
  type Selection,
  selection,
} from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { prepareRelease } from '../../../shared/privacy/release.ts';
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

/** A selection draws a pool of trials before it looks: a million of them take minutes, so that many only by night. */
const SELECTIONS = process.env['QFL_NIGHTLY'] === '1' ? DRAWS : 40_000;

describe('what a selection claims is not refuted', () => {
  const select = async (kind: Selection['kind'], utilities: readonly bigint[], seed: number) => {
    const mechanism = selection(kind, {
      sensitivity: 1n,
      epsilon: rational(2n),
      candidates: utilities.length,
    });
    const random = seededRandom(seed);
    const chosen = new Int32Array(SELECTIONS);
    for (let at = 0; at < SELECTIONS; at += 1)
      chosen[at] = Number((await prepareRelease(mechanism, 1, random))(utilities)[0]);
    return chosen;
  };

  // One patient moves every utility by one: up where the best is, down elsewhere, which is the worst they can do.
  test.each(['exponential', 'permute_and_flip'] as const)(
    '%s, epsilon 2',
    async (kind) => {
      const left = await select(kind, [1n, -1n, -1n], 21);
      const right = await select(kind, [0n, 0n, 0n], 22);
      const refuted = refutedEpsilon(left, right);
      expect(refuted).toBeLessThanOrEqual(2);
      expect(refuted).toBeGreaterThan(0.3);
    },
    600_000,
  );
});

test('bounds of odds hold at their level', () => {
  const { low, high } = oddsBounds(50_000, 500_000, 1e-9);
  expect(low).toBeLessThan(0.1);
  expect(high).toBeGreaterThan(0.1);
  expect(high - low).toBeLessThan(0.006);
  expect(oddsBounds(0, 100, 1e-9).low).toBe(0);
  expect(oddsBounds(100, 100, 1e-9).high).toBe(1);
});
