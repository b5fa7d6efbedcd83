/** Held-out evaluation from counts: how many patients of each outcome got which score. Noisy counts give noisy figures. */

export interface ScoreFigures {
  /** Area under the receiver operating characteristic, scores of one bin counting as ties; null without both outcomes. */
  readonly auc: number | null;
  /** Share on the right side of one half; null without anybody. */
  readonly accuracy: number | null;
  readonly patients: number;
  readonly positives: number;
  /** Of each bin: noisy counts of both outcomes. */
  readonly bins: readonly { readonly negatives: number; readonly positives: number }[];
}

export const scoreBin = (probability: number, bins: number): number =>
  Math.min(bins - 1, Math.max(0, Math.floor(probability * bins)));

/** One patient's vector: a single 1. @param into of twice the bins */
export const scoreVector = (target: 0 | 1, probability: number, into: Float64Array): void => {
  const bins = into.length / 2;
  into.fill(0);
  into[target * bins + scoreBin(probability, bins)] = 1;
};

const inside = (share: number): number => Math.min(1, Math.max(0, share));

/** @param sum negatives by bin, then positives by bin */
export const figuresOfScores = (sum: ArrayLike<number>): ScoreFigures => {
  const count = sum.length / 2;
  const bins = Array.from({ length: count }, (_, bin) => ({
    negatives: sum[bin]!,
    positives: sum[count + bin]!,
  }));
  const positives = bins.reduce((total, one) => total + one.positives, 0);
  const negatives = bins.reduce((total, one) => total + one.negatives, 0);
  let [below, pairs, right] = [0, 0, 0];
  for (const [bin, one] of bins.entries()) {
    pairs += one.positives * (below + one.negatives / 2);
    below += one.negatives;
    right += 2 * bin + 1 > count ? one.positives : one.negatives;
  }
  const patients = positives + negatives;
  return {
    auc: positives >= 1 && negatives >= 1 ? inside(pairs / (positives * negatives)) : null,
    accuracy: patients >= 1 ? inside(right / patients) : null,
    patients,
    positives,
    bins,
  };
};
