/** Figures from counts of scores, with how noisy they are. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { figuresOfScores, scoreBin, scoreVector } from '../../../shared/learning/scores.ts';
import { seeded } from '../../../shared/seeded.ts';

/** Counts of patients, by their scores one by one. */
const countsOf = (patients: readonly (readonly [0 | 1, number])[], bins: number): number[] => {
  const sum = Array.from({ length: 2 * bins }, () => 0);
  const one = new Float64Array(2 * bins);
  for (const [target, score] of patients) {
    scoreVector(target, score, one);
    one.forEach((value, at) => (sum[at] = sum[at]! + value));
  }
  return sum;
};

describe('figures of scores', () => {
  it('are those of patients who can be looked at one by one', () => {
    const { auc, accuracy, patients, positives, noise } = figuresOfScores(
      countsOf(
        [
          [0, 0.1],
          [0, 0.3],
          [1, 0.3],
          [1, 0.9],
          [0, 0.8],
          [1, 0.95],
        ],
        10,
      ),
      0,
    );
    // Pairs: 0.3 beats one of three and ties one; 0.9 and 0.95 beat all three.
    expect(auc).toBeCloseTo((1.5 + 3 + 3) / 9, 12);
    expect(accuracy).toBeCloseTo(4 / 6, 12);
    expect([patients, positives]).toEqual([6, 3]);
    expect([noise.patients, noise.positives]).toEqual([0, 0]);
    expect(noise.auc).toBeCloseTo(0, 12);
    expect(noise.accuracy).toBeCloseTo(0, 12);
  });

  it('are those of exact ranks where each score has a bin of its own', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom<0 | 1>(0, 1), fc.nat({ max: 99 })), { minLength: 2 }),
        (drawn) => {
          const patients = drawn.map(([target, at]) => [target, (at + 0.5) / 100] as const);
          const { auc } = figuresOfScores(countsOf(patients, 100), 0);
          const pairs = patients.flatMap(([target, score]) =>
            target === 1 ? patients.flatMap(([other, below]) => (other === 0 ? [score - below] : [])) : [],
          );
          if (pairs.length === 0) {
            expect(auc).toBeNull();
            return;
          }
          const won = pairs.reduce((sum, by) => sum + (by > 0 ? 1 : by === 0 ? 0.5 : 0), 0);
          expect(auc).toBeCloseTo(won / pairs.length, 9);
        },
      ),
    );
  });

  it('say how far noise moves them: about as far as it does', () => {
    const random = seeded(5);
    const patients = Array.from({ length: 2_000 }, () => {
      const target = random.uniform() < 0.3 ? (1 as const) : (0 as const);
      return [target, (random.uniform() + target) / 2] as const;
    });
    const exact = countsOf(patients, 10);
    const uniform = () => Array.from({ length: 12 }, () => random.uniform()).reduce((a, b) => a + b, -6);
    const aucs = Array.from(
      { length: 300 },
      () =>
        figuresOfScores(
          exact.map((count) => count + 8 * uniform()),
          0,
        ).auc!,
    );
    const mean = aucs.reduce((sum, one) => sum + one, 0) / aucs.length;
    const sd = Math.sqrt(aucs.reduce((sum, one) => sum + (one - mean) ** 2, 0) / aucs.length);
    const said = figuresOfScores(exact, 8).noise;
    expect(said.auc! / sd).toBeGreaterThan(0.8);
    expect(said.auc! / sd).toBeLessThan(1.25);
    expect(said.patients).toBeCloseTo(8 * Math.sqrt(20), 9);
  });

  it('are null where there is nobody', () => {
    const { auc, accuracy, noise } = figuresOfScores([0, 0, 0, 0], 0);
    expect([auc, accuracy, noise.auc, noise.accuracy]).toEqual([null, null, null, null]);
    expect([scoreBin(0, 10), scoreBin(1, 10), scoreBin(0.999, 10)]).toEqual([0, 9, 9]);
  });
});
