/** The last measurements of one kind: mean and exact quantiles of a sliding window, so that a site that changed is known anew soon. */

export interface Window {
  add(value: number): void;
  readonly count: number;
  mean(): number;
  /** Linear between neighbours (Hyndman and Fan 1996, type 7); NaN when empty. */
  quantile(share: number): number;
  /** Standard deviation of the values, 0 below two. */
  deviation(): number;
}

export const WINDOW_VALUES = 64;

const deviationOf = (values: readonly number[]): number => {
  if (values.length < 2) return 0;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
};

export const createWindow = (size = WINDOW_VALUES): Window => {
  const values: number[] = [];
  let next = 0;
  let sum = 0;
  let sorted: Float64Array | undefined;
  let spread: number | undefined;
  return {
    add(value) {
      sum += value - (values[next] ?? 0);
      values[next] = value;
      next = (next + 1) % size;
      sorted = undefined;
      spread = undefined;
    },
    get count() {
      return values.length;
    },
    mean: () => sum / values.length,
    quantile(share) {
      sorted ??= Float64Array.from(values).toSorted();
      const at = share * (sorted.length - 1);
      const low = sorted[Math.floor(at)] ?? Number.NaN;
      return low + (at - Math.floor(at)) * ((sorted[Math.ceil(at)] ?? low) - low);
    },
    deviation() {
      spread ??= deviationOf(values);
      return spread;
    },
  };
};
