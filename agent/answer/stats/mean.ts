/** A mean from a noisy centred sum and a noisy count, with an interval that holds both noises. */
import { noiseHalfWidth } from '../../../shared/privacy/interval.ts';
import { isNoise } from '../../../shared/privacy/mechanism.ts';
import { multiply, type Rational, rational } from '../../../shared/privacy/rational.ts';
import type { Interval } from '../../../shared/wire/stats.ts';
import type { Summed } from './figures.ts';
import { decimalText, type Grid, meanDecimals } from './grid.ts';

/** The middle of the bounds plus half of sum/count, in units; clamped to the bounds. */
const meanOf = ({ low, high }: Grid, centredSum: bigint, count: bigint): Rational => {
  const mean = rational((low + high) * count + centredSum, 2n * count);
  if (mean.numerator < low * mean.denominator) return rational(low);
  return mean.numerator > high * mean.denominator ? rational(high) : mean;
};

/** Half of what may lie outside for each of the two noises: both hold together with the confidence asked. */
const widthOf = ({ mechanisms }: Summed, confidence: number): bigint =>
  noiseHalfWidth(mechanisms.filter(isNoise), (1 + confidence) / 2);

export const meanFigure = (
  grid: Grid,
  sum: Summed,
  count: Summed,
  confidence: number,
): { value: string | null; interval: Interval | null } => {
  const total = sum.values[0]!;
  const rows = count.values[0]!;
  const sumWidth = widthOf(sum, confidence);
  const countWidth = widthOf(count, confidence);
  const rowsMax = rows + countWidth;
  // The noise says that there may be no row at all: then there is no mean to speak of.
  if (rows < 1n || rowsMax < 1n) return { value: null, interval: null };
  const rowsMin = rows - countWidth < 1n ? 1n : rows - countWidth;
  const sumMin = total - sumWidth;
  const sumMax = total + sumWidth;
  // A sum below 0 is furthest down over few rows, one above 0 over many; the other way round at the top.
  const low = meanOf(grid, sumMin, sumMin < 0n ? rowsMin : rowsMax);
  const high = meanOf(grid, sumMax, sumMax > 0n ? rowsMin : rowsMax);
  const decimals = meanDecimals(grid.granularity);
  const shown = (units: Rational, rounding: 'nearest' | 'down' | 'up'): string =>
    decimalText(multiply(units, grid.granularity), decimals, rounding);
  return {
    value: shown(meanOf(grid, total, rows), 'nearest'),
    interval: { low: shown(low, 'down'), high: shown(high, 'up'), confidence },
  };
};
