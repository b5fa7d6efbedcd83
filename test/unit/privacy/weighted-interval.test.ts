import { describe, expect, test } from 'vitest';
import { discreteGaussian, discreteLaplace, noiseOf } from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { weightedHalfWidth } from '../../../shared/privacy/weighted-interval.ts';
import { seededRandom } from '../../fixtures/drbg.ts';

const LAPLACE = discreteLaplace(1n, rational(5n));
const GAUSSIAN = discreteGaussian(rational(1n), rational(49n));

describe('weighted sums of noise', () => {
  test.each([
    ['one Laplace', [{ mechanism: LAPLACE, weight: 1, count: 1 }]],
    [
      'many Laplace',
      [
        { mechanism: LAPLACE, weight: 3, count: 40 },
        { mechanism: LAPLACE, weight: -1, count: 60 },
      ],
    ],
    [
      'Gaussian',
      [
        { mechanism: GAUSSIAN, weight: 1, count: 30 },
        { mechanism: GAUSSIAN, weight: -1, count: 5 },
      ],
    ],
    [
      'both',
      [
        { mechanism: GAUSSIAN, weight: 1, count: 10 },
        { mechanism: LAPLACE, weight: 2, count: 10 },
      ],
    ],
  ])(
    '%s: covers at least as often as said, and by less than two and a half times the width needed',
    (_, terms) => {
      const confidence = 0.9;
      const half = Number(weightedHalfWidth(terms, confidence));
      const sums = Array.from({ length: 4_000 }, () => 0);
      for (const { mechanism, weight, count } of terms) {
        const noise = noiseOf(mechanism, seededRandom(count));
        for (const at of sums.keys())
          for (let draw = 0; draw < count; draw += 1) sums[at]! += weight * Number(noise());
      }
      const sizes = sums.map(Math.abs).toSorted((left, right) => left - right);
      const covered = sizes.filter((size) => size <= half).length / sizes.length;
      expect(covered).toBeGreaterThan(confidence);
      expect(half).toBeLessThan(2.5 * sizes[Math.floor(confidence * sizes.length)]!);
    },
  );

  test('nothing weighs nothing', () => {
    expect(weightedHalfWidth([{ mechanism: LAPLACE, weight: 0, count: 3 }], 0.95)).toBe(0n);
    expect(() => weightedHalfWidth([], 2)).toThrowError('confidence');
  });
});
