/** Sums and binomials in logarithms, so that nothing overflows. */

/** ln(e^x + e^y). */
export const logAdd = (x: number, y: number): number => {
  const high = Math.max(x, y);
  return high === -Infinity || high === Infinity ? high : high + Math.log1p(Math.exp(Math.min(x, y) - high));
};

/** ln(e^x − 1) for x > 0. */
export const logExpm1 = (x: number): number =>
  x > 1 ? x + Math.log1p(-Math.exp(-x)) : Math.log(Math.expm1(x));

/** A running ln Σ e^x. */
export interface LogSum {
  add(logarithm: number): void;
  value(): number;
}

export const logSum = (): LogSum => {
  let high = -Infinity;
  let sum = 0;
  return {
    add(logarithm) {
      if (logarithm === -Infinity) return;
      if (logarithm <= high) sum += Math.exp(logarithm - high);
      else {
        sum = sum * Math.exp(high - logarithm) + 1;
        high = logarithm;
      }
    },
    value: () => (sum === 0 ? -Infinity : high + Math.log(sum)),
  };
};

/** ln C(n, k) for k = 0 … n, by the ratio of neighbours; relative error of each binomial under n·1e-16. */
export const logBinomials = (n: number): Float64Array => {
  const logs = new Float64Array(n + 1);
  for (let k = 1; k <= n; k += 1) logs[k] = logs[k - 1]! + Math.log((n - k + 1) / k);
  return logs;
};
