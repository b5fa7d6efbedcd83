/**
 * Rules that one corrupt vector cannot carry away: coordinate-wise median and trimmed mean (Yin et al. 2018), Krum (Blanchard et al. 2017). They look at
 * single vectors, so they need rounds that are declared unmasked. What they give is scaled to the number of vectors, to stand where a sum would.
 */
import { assert } from '../errors.ts';

export const ROBUST_RULES = ['median', 'trimmed_mean', 'krum'] as const;
export type RobustRule = (typeof ROBUST_RULES)[number];

/** Vectors that are taken to be corrupt at most: fewer than half for the median and the mean, fewer than (n − 2)/2 for Krum. */
export const corruptMax = (rule: RobustRule, vectors: number): number =>
  Math.max(0, rule === 'krum' ? Math.ceil(vectors / 2) - 2 : Math.ceil(vectors / 2) - 1);

type Values = ArrayLike<number>;

/** Of each coordinate: the middle value, of an even number of them the mean of both. */
const medianOf = (sorted: Float64Array): number => {
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
};
const trimmedMeanOf = (sorted: Float64Array, trim: number): number => {
  let sum = 0;
  for (let at = trim; at < sorted.length - trim; at += 1) sum += sorted[at]!;
  return sum / (sorted.length - 2 * trim);
};

/** A piece of the vectors, coordinate by coordinate, scaled to their number and rounded. */
export const robustPiece = (
  vectors: readonly Values[],
  rule: Exclude<RobustRule, 'krum'>,
): Int32Array<ArrayBuffer> => {
  const count = vectors.length;
  const trim = Math.min(corruptMax(rule, count), Math.floor((count - 1) / 2));
  const values = new Float64Array(count);
  return Int32Array.from({ length: vectors[0]?.length ?? 0 }, (_, word) => {
    vectors.forEach((vector, at) => (values[at] = vector[word]!));
    values.sort();
    return Math.round(count * (rule === 'median' ? medianOf(values) : trimmedMeanOf(values, trim)));
  });
};

/** Adds what a piece says of the squared distances between all vectors; `distances` is vector-major. */
export const addDistances = (distances: Float64Array, vectors: readonly Values[]): void => {
  const count = vectors.length;
  for (let one = 0; one < count; one += 1)
    for (let other = one + 1; other < count; other += 1) {
      const [a, b] = [vectors[one]!, vectors[other]!];
      let sum = 0;
      for (let word = 0; word < a.length; word += 1) sum += (a[word]! - b[word]!) ** 2;
      distances[one * count + other]! += sum;
      distances[other * count + one]! += sum;
    }
};

/** The vector that is nearest to its n − f − 2 nearest: Krum, for f corrupt ones. */
export const krumChoice = (distances: Float64Array, count: number): number => {
  assert(distances.length === count ** 2, 'a distance for each pair');
  const near = Math.max(1, count - corruptMax('krum', count) - 2);
  let [best, least] = [0, Infinity];
  for (let one = 0; one < count; one += 1) {
    const own = distances.slice(one * count, (one + 1) * count);
    own[one] = Infinity;
    own.sort();
    let score = 0;
    for (let at = 0; at < near; at += 1) score += own[at]!;
    if (score < least) [best, least] = [one, score];
  }
  return best;
};
