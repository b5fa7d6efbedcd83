/** Held-out evaluation from counts: how many patients of each outcome got which score. Noisy counts give noisy figures, so each says how noisy. */
import { seeded } from '../seeded.ts';

export interface ScoreFigures {
  /** Area under the receiver operating characteristic, scores of one bin counting as ties; null without both outcomes. */
  readonly auc: number | null;
  /** Share on the right side of one half; null without anybody. */
  readonly accuracy: number | null;
  readonly patients: number;
  readonly positives: number;
  /** Standard deviations that the noise in the counts gives each figure; null where there is no figure. */
  readonly noise: {
    readonly auc: number | null;
    readonly accuracy: number | null;
    readonly patients: number;
    readonly positives: number;
  };
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

type Figures = Omit<ScoreFigures, 'noise'>;

const plainFigures = (sum: ArrayLike<number>): Figures => {
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

const REPEATS = 200;

/** Two normal deviates at a time (Box, Muller 1958); for figures about noise, not for noise. */
const normals = (seed: number): (() => number) => {
  const random = seeded(seed);
  let kept: number | undefined;
  return () => {
    if (kept !== undefined) {
      const value = kept;
      kept = undefined;
      return value;
    }
    const length = Math.sqrt(-2 * Math.log(1 - random.uniform()));
    const angle = 2 * Math.PI * random.uniform();
    kept = length * Math.sin(angle);
    return length * Math.cos(angle);
  };
};

const spreadOf = (values: readonly number[]): number | null => {
  if (values.length < 2) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
};

/**
 * How far the noise moves AUC and accuracy: the spread over repeats with as much noise again (a parametric bootstrap; Efron 1979). Seeded, so that the same
 * sum gives the same figures.
 */
const repeatedNoise = (
  sum: ArrayLike<number>,
  countNoise: number,
): Pick<ScoreFigures['noise'], 'auc' | 'accuracy'> => {
  const next = normals(1);
  const [aucs, accuracies]: [number[], number[]] = [[], []];
  for (let repeat = 0; repeat < REPEATS; repeat += 1) {
    const { auc, accuracy } = plainFigures(Array.from(sum, (count) => count + countNoise * next()));
    if (auc !== null) aucs.push(auc);
    if (accuracy !== null) accuracies.push(accuracy);
  }
  return { auc: spreadOf(aucs), accuracy: spreadOf(accuracies) };
};

/** @param sum negatives by bin, then positives by bin @param countNoise standard deviation of the noise in each */
export const figuresOfScores = (sum: ArrayLike<number>, countNoise: number): ScoreFigures => {
  const figures = plainFigures(sum);
  const repeated = repeatedNoise(sum, countNoise);
  return {
    ...figures,
    noise: {
      auc: figures.auc === null ? null : repeated.auc,
      accuracy: figures.accuracy === null ? null : repeated.accuracy,
      patients: countNoise * Math.sqrt(sum.length),
      positives: countNoise * Math.sqrt(sum.length / 2),
    },
  };
};
