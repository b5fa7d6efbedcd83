import { describe, expect, test } from 'vitest';
import { batchedError, chooseByLaterTime, splitByTime } from '../../../coordinator/planning/later-time.ts';
import { seeded, type Seeded } from '../../../shared/seeded.ts';

/** Uniform in ±1, where each value keeps `kept` of the one before. */
const alike = (count: number, kept: number, random: Seeded): Float64Array => {
  let value = 0;
  return Float64Array.from({ length: count }, () => {
    value = kept * value + 2 * random.uniform() - 1;
    return value;
  });
};

const COUNT = 2_000;
const incumbent = alike(COUNT, 0, seeded(1)).map((error) => 1 + error / 2);

describe('the choice by later time', () => {
  test('a candidate that equals the incumbent is not chosen', () => {
    expect(chooseByLaterTime(incumbent, incumbent)).toEqual({ used: 'incumbent', gain: 0, gainError: 0 });
  });

  test('one that is nearer by more than the standard error is, one that is further is not', () => {
    const noise = alike(COUNT, 0, seeded(2));
    const shifted = (by: number) => incumbent.map((error, at) => error + by + noise[at]! / 10);
    expect(chooseByLaterTime(incumbent, shifted(-0.02))).toMatchObject({ used: 'candidate' });
    expect(chooseByLaterTime(incumbent, shifted(0.02))).toMatchObject({ used: 'incumbent' });
  });

  test('a gain within its standard error is none', () => {
    const noise = alike(COUNT, 0, seeded(3));
    const mean = noise.reduce((sum, value) => sum + value, 0) / COUNT;
    const error = batchedError(noise);
    const gaining = (by: number) => incumbent.map((one, at) => one - (noise[at]! - mean) - by);
    expect(chooseByLaterTime(incumbent, gaining(0.9 * error)).used).toBe('incumbent');
    expect(chooseByLaterTime(incumbent, gaining(1.1 * error)).used).toBe('candidate');
  });

  test('few requests tell nothing, and none tell nothing either', () => {
    const few = new Float64Array(99).fill(1);
    expect(chooseByLaterTime(few, new Float64Array(99)).used).toBe('incumbent');
    expect(chooseByLaterTime([], []).used).toBe('incumbent');
    expect(chooseByLaterTime(new Float64Array(100).fill(1), new Float64Array(100)).used).toBe('candidate');
  });

  test('errors of other requests, or none for some, are a fault of the program', () => {
    expect(() => chooseByLaterTime([1, 2], [1])).toThrow(/paired/);
    expect(() => chooseByLaterTime([1, NaN], [1, 1])).toThrow(/told every request/);
  });
});

describe('the standard error of a mean', () => {
  /** How far means of such series really lie from 0, over many of them. */
  const measured = (kept: number): { readonly real: number; readonly told: number } => {
    let [squares, told] = [0, 0];
    const series = 300;
    for (let seed = 1; seed <= series; seed += 1) {
      const values = alike(COUNT, kept, seeded(seed));
      squares += (values.reduce((sum, value) => sum + value, 0) / COUNT) ** 2 / series;
      told += batchedError(values) / series;
    }
    return { real: Math.sqrt(squares), told };
  };

  test.each([0, 0.8])('is what the mean really strays by, where a value keeps %d of the last', (kept) => {
    const { real, told } = measured(kept);
    expect(told / real).toBeGreaterThan(0.8);
    expect(told / real).toBeLessThan(1.2);
  });

  test('takes neighbours that are alike for fewer than they are', () => {
    const values = alike(COUNT, 0.8, seeded(4));
    const mean = values.reduce((sum, value) => sum + value, 0) / COUNT;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    const asIfApart = Math.sqrt(squares / (COUNT - 1) / COUNT);
    expect(batchedError(values)).toBeGreaterThan(2 * asIfApart);
  });
});

describe('time in parts', () => {
  const rows = Array.from({ length: 10 }, (_, at) => ({ askedMs: at * 10, endedMs: at * 10 + 15 }));

  test('what had not ended at a cut is not learned from', () => {
    const { first, middle, later } = splitByTime(rows, { first: 0.5, middle: 0.2 });
    expect(first.map(({ askedMs }) => askedMs)).toEqual([0, 10, 20, 30]);
    expect(middle.map(({ askedMs }) => askedMs)).toEqual([50]);
    expect(later.map(({ askedMs }) => askedMs)).toEqual([70, 80, 90]);
  });

  /** Remembers what it was shown and tells the value of the nearest in time: half of it from the future, if it may. */
  const remembering = (shown: readonly Row[]) => (askedMs: number) =>
    shown.reduce((near, row) =>
      Math.abs(row.askedMs - askedMs) < Math.abs(near.askedMs - askedMs) ? row : near,
    ).value;

  interface Row {
    readonly askedMs: number;
    readonly endedMs: number;
    readonly value: number;
    /** A moving average of what had ended before. */
    readonly averaged: number;
  }

  /** A level that wanders. */
  const wandering = (): readonly Row[] => {
    const values = alike(COUNT, 0.999, seeded(7));
    let average = values[0]!;
    return Array.from(values, (value, at) => {
      const averaged = average;
      average += 0.2 * (value - average);
      return { askedMs: at, endedMs: at, value, averaged };
    });
  };

  const choiceOn = (told: readonly Row[], shown: readonly Row[]) => {
    const tell = remembering(shown);
    return chooseByLaterTime(
      told.map(({ value, averaged }) => Math.abs(value - averaged)),
      told.map(({ value, askedMs }) => Math.abs(value - tell(askedMs))),
    );
  };

  test('a candidate that lives on the future wins on shuffled time, and not on later time', () => {
    const all = wandering();
    const random = seeded(9);
    const drawn = all.map((row) => ({ row, isTold: random.uniform() < 0.3 }));
    const pick = (isTold: boolean) => drawn.filter((one) => one.isTold === isTold).map(({ row }) => row);
    expect(choiceOn(pick(true), pick(false)).used).toBe('candidate');
    const { first, middle, later } = splitByTime(all, { first: 0.5, middle: 0.2 });
    const honest = choiceOn(later, [...first, ...middle]);
    expect(honest.used).toBe('incumbent');
    expect(honest.gain).toBeLessThan(0);
  });
});
