/** The health score: each metric in its direction, what is not measured left out, no flicker. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type HealthMetric,
  healthScore,
  type HealthVerdict,
  nextVerdict,
  scoreMetric,
} from '../../../shared/health/score.ts';

const metric = (rest: Partial<HealthMetric> = {}): HealthMetric => ({
  name: 'm',
  value: 0,
  better: 'lower',
  good: 0,
  bad: 1,
  weight: 1,
  ...rest,
});

describe('the health score', () => {
  test.each([
    [metric({ value: 0.25 }), 0.75],
    [metric({ value: 7 }), 0],
    [metric({ value: -1 }), 1],
    [metric({ better: 'higher', good: 1, bad: 0, value: 0.25 }), 0.25],
    [metric({ value: null }), null],
    [metric({ value: Number.NaN }), null],
  ])('%o counts %s', (one, expected) => {
    expect(scoreMetric(one).score).toBe(expected);
  });

  test('a direction that contradicts its bounds stops the program', () => {
    expect(() => scoreMetric(metric({ better: 'higher' }))).toThrowError('better side');
  });

  test('nothing measured is no score, not a good one', () => {
    expect(healthScore([metric({ value: null })]).score).toBeNull();
  });

  test('one broken part among many good ones makes it unhealthy', () => {
    const good = Array.from({ length: 9 }, () => metric());
    const { score } = healthScore([...good, metric({ value: 1 })]);
    expect(nextVerdict('healthy', score)).toBe('unhealthy');
  });

  test('a worse value never gives a better score', () => {
    const values = fc.array(fc.tuple(fc.double({ min: -1, max: 2, noNaN: true }), fc.boolean()), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(values, fc.nat(5), fc.double({ min: 0, max: 1, noNaN: true }), (all, which, worse) => {
        const at = which % all.length;
        const scoreWith = (change: number): number =>
          healthScore(
            all.map(([value, isHigher], index) => {
              const now = index === at ? value + (isHigher ? -change : change) : value;
              return isHigher
                ? metric({ better: 'higher', good: 1, bad: 0, value: now })
                : metric({ value: now });
            }),
          ).score!;
        expect(scoreWith(worse)).toBeLessThanOrEqual(scoreWith(0));
      }),
    );
  });

  test('a score that swings around a bound does not make the verdict swing', () => {
    let verdict: HealthVerdict = 'healthy';
    const after = (score: number): HealthVerdict => (verdict = nextVerdict(verdict, score));
    expect([0.75, 0.69, 0.75, 0.79, 0.69].map(after)).toEqual([
      'healthy',
      'degraded',
      'degraded',
      'degraded',
      'degraded',
    ]);
    expect([0.8, 0.75].map(after)).toEqual(['healthy', 'healthy']);
    expect([0.39, 0.45, 0.49, 0.5, 0.45].map(after)).toEqual([
      'unhealthy',
      'unhealthy',
      'unhealthy',
      'degraded',
      'degraded',
    ]);
    expect(nextVerdict('degraded', null)).toBe('degraded');
  });
});
