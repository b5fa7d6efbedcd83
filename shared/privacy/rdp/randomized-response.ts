/** Renyi divergence of k-ary randomised response with uniform noise; exact. */
import { logAdd } from '../math/logarithms.ts';
import type { Relation } from '../loss-event.ts';

const weighted = (weight: number, logarithm: number): number =>
  weight <= 0 ? -Infinity : Math.log(weight) + logarithm;

/** Two true answers differ: the outputs' odds are r, 1/r and 1. */
const replaced = (p: number, k: number, a: number): number => {
  const r = Math.log1p((k * (1 - p)) / p);
  const sum = logAdd(
    logAdd(weighted(p / k, a * r), weighted(1 - p + p / k, -a * r)),
    weighted((1 - 2 / k) * p, 0),
  );
  return sum / (a - 1);
};

/** Against the null record, whose answer is uniform; the larger direction. */
const replacedByNull = (p: number, k: number, a: number): number => {
  const high = Math.log(k * (1 - p) + p);
  const low = Math.log(p);
  const power = (x: number): number => logAdd(weighted(1 / k, x * high), weighted(1 - 1 / k, x * low));
  return Math.max(power(a), power(1 - a)) / (a - 1);
};

/**
 * Nats at order a > 1. `noise` is the probability of a uniform answer.
 * Under add/remove the mechanism reveals who is present: infinite.
 */
export const randomizedResponseRdp = (
  noise: number,
  buckets: number,
  relation: Relation,
  a: number,
): number => {
  if (relation === 'add_or_remove_one') return Infinity;
  if (buckets === 1 || noise === 1) return 0;
  if (noise === 0) return Infinity;
  return Math.max(
    0,
    relation === 'replace_one' ? replaced(noise, buckets, a) : replacedByNull(noise, buckets, a),
  );
};
