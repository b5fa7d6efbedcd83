/** Scaling that asks no patient: of the bounds, or of what is usual, cut at the bounds. */
import { describe, expect, it } from 'vitest';
import { clippedNormal, publicScaling } from '../../../shared/learning/moments.ts';
import { seeded } from '../../../shared/seeded.ts';
import { LearningData } from '../../../shared/wire/learning.ts';

const observation = (low: number, high: number, rest: object = {}) => ({
  kind: 'observation',
  code: 'hr',
  low,
  high,
  ...rest,
});
const usual = { value: 80, spread: 10 };

describe('a normal value that is cut at the bounds', () => {
  it('is the normal one where they are far', () => {
    const { mean, sd } = clippedNormal(80, 10, { low: 0, high: 200 });
    expect(mean).toBeCloseTo(80, 6);
    expect(sd).toBeCloseTo(10, 4);
  });

  it('cut in the middle has the mean φ(0) and the spread of a half-normal one', () => {
    const { mean, sd } = clippedNormal(0, 1, { low: 0, high: 100 });
    expect(mean).toBeCloseTo(1 / Math.sqrt(2 * Math.PI), 3);
    expect(sd).toBeCloseTo(Math.sqrt(1 / 2 - 1 / (2 * Math.PI)), 3);
  });

  it('has the moments of values that are drawn', () => {
    const random = seeded(5);
    const drawn = Array.from({ length: 100_000 }, () => {
      const normal =
        Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
      return Math.min(90, Math.max(75, 80 + 10 * normal));
    });
    const mean = drawn.reduce((sum, value) => sum + value, 0) / drawn.length;
    const variance = drawn.reduce((sum, value) => sum + (value - mean) ** 2, 0) / drawn.length;
    const told = clippedNormal(80, 10, { low: 75, high: 90 });
    expect(told.mean).toBeCloseTo(mean, 1);
    expect(told.sd).toBeCloseTo(Math.sqrt(variance), 1);
  });
});

describe('public scaling', () => {
  it('takes the middle and a quarter of the range where nothing more is said, and leaves flags alone', () => {
    const data = LearningData.parse({
      target: 'ill',
      features: [{ kind: 'sex', is: 'male' }, observation(40, 120), observation(0, 1, { take: 'known' })],
      series: { channels: [{ code: 'hr', low: 0, high: 8 }], hours: 1, stepHours: 1, stepsMax: 1 },
    });
    expect(publicScaling(data)).toEqual({ mean: [0, 80, 0, 4], sd: [1, 20, 1, 2] });
  });

  it('takes what is usual where it is said; a part that nobody reaches is not blown up', () => {
    const data = LearningData.parse({
      target: 'ill',
      features: [observation(0, 200, { usual }), observation(150, 250, { usual })],
    });
    const { mean, sd } = publicScaling(data);
    expect(mean[0]!).toBeCloseTo(80, 6);
    expect(mean[1]!).toBeCloseTo(150, 3);
    expect(sd[0]!).toBeCloseTo(10, 4);
    expect(sd[1]!).toBe(0.02 * 50);
  });
});
