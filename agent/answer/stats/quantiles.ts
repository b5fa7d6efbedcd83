/** Quantiles from merged noisy histograms, or from a selection made at one site. */
import { isNoise, isSelection } from '../../../shared/privacy/mechanism.ts';
import { toNumber } from '../../../shared/privacy/rational.ts';
import { weightedHalfWidth } from '../../../shared/privacy/weighted-interval.ts';
import type { Interval, Measure } from '../../../shared/wire/stats.ts';
import type { Summed } from './figures.ts';
import { candidatesOf, quantileOf } from './layout.ts';
import { unitsText } from './grid.ts';

type Quantiles = Extract<Measure, { measure: 'quantiles' }>;

export interface QuantilePoint {
  readonly quantile: string;
  readonly value: string | null;
  readonly interval: Interval | null;
  /**
   * Of a selection: with the confidence asked, the value's rank is at most this many rows further from the asked one than the best
   * value's of the grid; null for a histogram, whose interval says more.
   */
  readonly rankWithin: string | null;
}

/** b·C_k − a·N for every k: below 0 before the quantile a/b, at least 0 from it on. */
const crossings = (values: readonly bigint[], a: bigint, b: bigint): bigint[] => {
  const total = values.reduce((sum, value) => sum + value, 0n);
  let below = 0n;
  return values.map((value) => {
    below += value;
    return b * below - a * total;
  });
};

/** Noise makes the sums waver; between their running maximum and the minimum still to come they rise again. */
const smoothed = (sums: readonly bigint[]): bigint[] => {
  const highest: bigint[] = [];
  sums.forEach((sum, at) => highest.push(at > 0 && highest[at - 1]! > sum ? highest[at - 1]! : sum));
  let lowest = sums.at(-1) ?? 0n;
  return sums
    .map((sum, at): [bigint, number] => [sum, at])
    .toReversed()
    .map(([sum, at]) => {
      lowest = sum < lowest ? sum : lowest;
      return lowest + highest[at]!;
    })
    .toReversed();
};

/**
 * The first value of the grid whose share of rows reaches the quantile, and an interval that holds the exact one. If k is its position, the
 * sum at k is at least 0 and the one before is below 0. Two one-sided noises, at k and at k − 1, are all that can go wrong: then the
 * exact k lies between the first position that may have reached 0 and the one after the last that may not have.
 */
const mergedQuantile = (measure: Quantiles, text: string, histogram: Summed, confidence: number) => {
  const { numerator: a, denominator: b } = quantileOf(text);
  const { grid, count } = candidatesOf(measure.of);
  const sums = crossings(histogram.values, a, b);
  const noises = histogram.mechanisms.filter(isNoise);
  const last = count - 1;
  const widthAt = (k: number): bigint =>
    weightedHalfWidth(
      noises.flatMap((mechanism) => [
        { mechanism, weight: Number(b - a), count: k + 1 },
        { mechanism, weight: Number(-a), count: last - k },
      ]),
      confidence,
    );
  const valueAt = (at: number): string => unitsText(grid.low + BigInt(at), grid.granularity);
  const from = sums.findIndex((sum, k) => sum + widthAt(k) >= 0n);
  const lastBelow = sums.findLastIndex((sum, k) => sum - widthAt(k) < 0n);
  const at = smoothed(sums).findIndex((sum) => sum >= 0n);
  const low = from < 0 ? last : from;
  const high = Math.min(last, lastBelow + 1);
  const total = histogram.values.reduce((sum, value) => sum + value, 0n);
  const middle = Math.min(Math.max(at < 0 ? last : at, low), high);
  return {
    quantile: text,
    value: total < 1n ? null : valueAt(middle),
    interval: total < 1n ? null : { low: valueAt(low), high: valueAt(high), confidence },
    rankWithin: null,
  };
};

export const mergedQuantiles = (measure: Quantiles, histogram: Summed, confidence: number): QuantilePoint[] =>
  measure.quantiles.map((text) => mergedQuantile(measure, text, histogram, confidence));

/** McSherry, Talwar 2007: utility is within (2D/ε)·ln(n/β) of the best with probability 1 − β; in rows, divided by the denominator b. */
export const selectedQuantile = (
  measure: Quantiles,
  text: string,
  chosen: Summed,
  confidence: number,
): QuantilePoint => {
  const { grid, count } = candidatesOf(measure.of);
  const [mechanism] = chosen.mechanisms;
  const { denominator } = quantileOf(text);
  const rank =
    mechanism === undefined || !isSelection(mechanism)
      ? undefined
      : ((2 * Number(mechanism.sensitivity)) / toNumber(mechanism.epsilon)) *
        Math.log(count / (1 - confidence));
  return {
    quantile: text,
    value: unitsText(grid.low + chosen.values[0]!, grid.granularity),
    interval: null,
    rankWithin: rank === undefined ? null : String(Math.ceil(rank / Number(denominator))),
  };
};
