/** How well probabilities tell the targets. Each function takes one probability and one target (0 or 1) an example. */

/** Share of examples on the right side of one half. NaN without any. */
export const accuracyOf = (odds: ArrayLike<number>, targets: ArrayLike<number>): number => {
  let right = 0;
  for (let at = 0; at < odds.length; at += 1) if (odds[at]! >= 0.5 === (targets[at] === 1)) right += 1;
  return right / odds.length;
};

/**
 * Area under the receiver operating characteristic: the probability that a positive example scores above a negative one, ties counting
 * half (Mann, Whitney 1947, by mean ranks). Exact. NaN unless both targets are there.
 */
export const aucOf = (scores: ArrayLike<number>, targets: ArrayLike<number>): number => {
  const order = Int32Array.from({ length: scores.length }, (_, at) => at).toSorted(
    (left, right) => scores[left]! - scores[right]!,
  );
  let positives = 0;
  // Twice the ranks' sum, so that ties stay whole numbers.
  let doubled = 0;
  for (let from = 0; from < order.length;) {
    let to = from + 1;
    while (to < order.length && scores[order[to]!] === scores[order[from]!]) to += 1;
    for (let at = from; at < to; at += 1)
      if (targets[order[at]!] === 1) {
        positives += 1;
        doubled += from + to + 1;
      }
    from = to;
  }
  const negatives = order.length - positives;
  return (doubled / 2 - (positives * (positives + 1)) / 2) / (positives * negatives);
};

export interface Spread {
  readonly mean: number;
  /** Sample standard deviation (n − 1); NaN for fewer than two. */
  readonly sd: number;
}

export const spreadOf = (values: readonly number[]): Spread => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, sd: values.length < 2 ? NaN : Math.sqrt(squares / (values.length - 1)) };
};
