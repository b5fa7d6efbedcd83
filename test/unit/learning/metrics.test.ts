import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { accuracyOf, aucOf, spreadOf } from '../../../shared/learning/metrics.ts';

/** By its definition: every pair of a positive and a negative example. */
const aucByPairs = (scores: readonly number[], targets: readonly number[]): number => {
  let [won, pairs] = [0, 0];
  for (const [positive, target] of targets.entries())
    for (const [negative, other] of targets.entries()) {
      if (target !== 1 || other !== 0) continue;
      pairs += 1;
      won += scores[positive]! > scores[negative]! ? 1 : scores[positive] === scores[negative] ? 0.5 : 0;
    }
  return won / pairs;
};

/** Few different scores, so that ties are common. */
const scored = fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 1 })), {
  minLength: 2,
  maxLength: 60,
});

describe('area under the curve', () => {
  test('known values', () => {
    expect(aucOf([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])).toBe(0.75);
    expect(aucOf([1, 2, 3], [0, 1, 1])).toBe(1);
    expect(aucOf([3, 2, 1], [0, 1, 1])).toBe(0);
    expect(aucOf([5, 5, 5], [0, 1, 0])).toBe(0.5);
    expect(aucOf([1, 2], [1, 1])).toBeNaN();
  });

  test('is what counting every pair gives, ties as halves', () => {
    fc.assert(
      fc.property(scored, (examples) => {
        const scores = examples.map(([score]) => score);
        const targets = examples.map(([, target]) => target);
        const expected = aucByPairs(scores, targets);
        if (Number.isNaN(expected)) expect(aucOf(scores, targets)).toBeNaN();
        else expect(aucOf(scores, targets)).toBeCloseTo(expected, 12);
      }),
    );
  });

  test('only the order of the scores counts, and turned round it is the rest to 1', () => {
    fc.assert(
      fc.property(scored, (examples) => {
        const scores = examples.map(([score]) => score);
        const targets = examples.map(([, target]) => target);
        fc.pre(new Set(targets).size === 2);
        const area = aucOf(scores, targets);
        expect(aucOf(scores.map(Math.exp), targets)).toBe(area);
        expect(
          aucOf(
            scores.map((score) => -score),
            targets,
          ),
        ).toBeCloseTo(1 - area, 12);
      }),
    );
  });
});

test('accuracy is the share on the right side of one half', () => {
  expect(accuracyOf([0.2, 0.5, 0.7, 0.9], [0, 1, 0, 1])).toBe(0.75);
  expect(accuracyOf([], [])).toBeNaN();
});

test('mean and spread', () => {
  const { mean, sd } = spreadOf([2, 4, 4, 4, 5, 5, 7, 9]);
  expect(mean).toBe(5);
  expect(sd).toBeCloseTo(Math.sqrt(32 / 7), 14);
  expect(spreadOf([3]).sd).toBeNaN();
});
