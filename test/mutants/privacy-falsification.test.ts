/** Mechanisms that are not what they claim, which the falsification must refute; the real ones pass in test/unit/privacy/falsification.test.ts. */
import { expect, test } from 'vitest';
import { discreteGaussianDelta } from '../../shared/privacy/analytic/hockey-stick.ts';
import {
  discreteGaussian,
  discreteLaplace,
  type NoiseMechanism,
  noiseOf,
} from '../../shared/privacy/mechanism.ts';
import { rational } from '../../shared/privacy/rational.ts';
import { seededRandom } from '../fixtures/drbg.ts';
import { refutedEpsilon } from '../fixtures/falsification.ts';

const DRAWS = 200_000;

const draws = (mechanism: NoiseMechanism, exact: number, seed: number): Int32Array => {
  const noise = noiseOf(mechanism, seededRandom(seed));
  return Int32Array.from({ length: DRAWS }, () => exact + Number(noise()));
};

/** A count that claims epsilon 1. */
const claimedEpsilon = 1;

test('half the scale is refuted', () => {
  const halved = discreteLaplace(1n, rational(1n, 2n));
  expect(refutedEpsilon(draws(halved, 0, 1), draws(halved, 1, 2))).toBeGreaterThan(claimedEpsilon);
});

test('sensitivity 1 where a patient has 3 rows is refuted', () => {
  const forOneRow = discreteLaplace(1n, rational(1n));
  expect(refutedEpsilon(draws(forOneRow, 4, 3), draws(forOneRow, 1, 4))).toBeGreaterThan(claimedEpsilon);
});

test('noise in rounded doubles is refuted where its grid shows', () => {
  // Textbook inversion on floats, unrounded: the last bits tell the data sets apart. Here the outcome is whether a value is reachable.
  const float = (exact: number, seed: number): Int32Array => {
    const random = seededRandom(seed);
    return Int32Array.from({ length: DRAWS }, () => {
      const u = Buffer.from(random(4)).readUInt32BE() / 2 ** 32 - 0.5;
      const released = exact - Math.sign(u) * Math.log(1 - 2 * Math.abs(u));
      // Could this value have come from an exact 0? Added to 1, the noise lost its low bits.
      return (released * 2 ** 52) % 1 === 0 ? 1 : 0;
    });
  };
  expect(refutedEpsilon(float(0, 5), float(1, 6))).toBeGreaterThan(claimedEpsilon);
});

test('replace-one priced as add/remove is refuted', () => {
  // Replacing one patient moves a histogram by 1 in two bins: their difference by 2.
  const bins = (mechanism: NoiseMechanism, difference: number, seed: number): Int32Array => {
    const noise = noiseOf(mechanism, seededRandom(seed));
    return Int32Array.from({ length: DRAWS }, () => difference + Number(noise() - noise()));
  };
  const forOneBin = discreteLaplace(1n, rational(1n));
  expect(refutedEpsilon(bins(forOneBin, 1, 7), bins(forOneBin, -1, 8))).toBeGreaterThan(claimedEpsilon);
});

test('new noise on a retry is refuted', () => {
  // Two draws for one charge: their sum tells more than one draw may.
  const mechanism = discreteLaplace(1n, rational(1n));
  const twice = (exact: number, seed: number): Int32Array => {
    const noise = noiseOf(mechanism, seededRandom(seed));
    return Int32Array.from({ length: DRAWS }, () => 2 * exact + Number(noise() + noise()));
  };
  expect(refutedEpsilon(twice(0, 9), twice(1, 10))).toBeGreaterThan(claimedEpsilon);
});

test('Gaussian noise with half the sigma is refuted at its own delta', () => {
  const epsilon = 0.5;
  const delta = discreteGaussianDelta(4, 1, epsilon);
  const halved = discreteGaussian(rational(1n), rational(4n));
  expect(refutedEpsilon(draws(halved, 1, 11), draws(halved, 0, 12), delta)).toBeGreaterThan(epsilon);
});
