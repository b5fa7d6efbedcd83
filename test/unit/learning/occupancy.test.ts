import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { dataPath } from '../../bench/learning-data.ts';
import { loadOccupancy } from '../../bench/occupancy-data.ts';

const missing = !existsSync(dataPath('occupancy'));
const why = missing ? ' (skipped: the occupancy data is not there; set QFL_DATA)' : '';

describe(`occupancy windows${why}`, () => {
  test.skipIf(missing)('are cut by the rules of the paper', () => {
    const { training, test: told, channels } = loadOccupancy({ light: true, changes: false });
    expect(channels).toBe(5);
    // One for each of 8,143 minutes that has 15 after it; every eighth of 2,665 and of 9,752.
    expect(training).toHaveLength(8_143 - 15);
    expect(told).toHaveLength(Math.floor((2_665 - 16) / 8) + 1 + Math.floor((9_752 - 16) / 8) + 1);
    const firstOf = training.map(({ series }) => series.values[0]!);
    expect(firstOf.reduce((sum, value) => sum + value, 0) / firstOf.length).toBeCloseTo(0, 2);
  });

  test.skipIf(missing)(
    'changes look at nothing outside the window, and the levels stay what they were',
    () => {
      const plain = loadOccupancy({ light: false, changes: false }).test[0]!;
      const { series } = loadOccupancy({ light: false, changes: true }).test[0]!;
      expect(series.channels).toBe(12);
      expect(series.values.subarray(0, 4)).toEqual(plain.series.values.subarray(0, 4));
      expect(series.values.subarray(4, 12)).toEqual(new Float64Array(8));
      expect(series.values.subarray(15 * 12 + 4, 16 * 12).some((change) => change !== 0)).toBe(true);
    },
  );

  test.skipIf(missing)('only levels differ from day to day', () => {
    const { daySpread } = loadOccupancy({ light: false, changes: true });
    expect(daySpread.slice(0, 4).every((spread) => spread > 0)).toBe(true);
    expect(daySpread.slice(4)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });
});
