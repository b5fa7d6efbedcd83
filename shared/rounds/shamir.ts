/**
 * Secrets in shares (Shamir 1979) over the prime field 2^255 − 19: any `threshold` shares give the secret, fewer say nothing. Secrets have 31
 * bytes, so that each is below the prime; keys are derived from them. BigInt is not constant-time: who shares a machine with a site
 * can measure it (README, limits).
 */
import { assert } from '../errors.ts';
import type { RandomBytes } from '../random.ts';
import { atOnce, type Steps } from './slowly.ts';

export const SECRET_BYTES = 31;
export const SHARE_BYTES = 32;
const PRIME = (1n << 255n) - 19n;
const TOP_BITS = 0x7f;

const toInteger = (bytes: Uint8Array): bigint => BigInt(`0x0${Buffer.from(bytes).toString('hex')}`);
const toBytes = (value: bigint, length: number): Uint8Array =>
  Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');
const modulo = (value: bigint): bigint => {
  const rest = value % PRIME;
  return rest < 0n ? rest + PRIME : rest;
};

/** Uniform below the prime: of 255 random bits nearly all are. */
const randomElement = (random: RandomBytes): bigint => {
  for (;;) {
    const bytes = Buffer.from(random(SHARE_BYTES));
    bytes[0]! &= TOP_BITS;
    const value = toInteger(bytes);
    if (value < PRIME) return value;
  }
};

/** By the extended Euclidean algorithm. */
const inverse = (value: bigint): bigint => {
  let [rest, next] = [PRIME, modulo(value)];
  let [coefficient, following] = [0n, 1n];
  while (next !== 0n) {
    const quotient = rest / next;
    [rest, next] = [next, rest - quotient * next];
    [coefficient, following] = [following, coefficient - quotient * following];
  }
  return modulo(coefficient);
};

/** Shares for the points 1 … `holders`, of which any `threshold` give the secret. A share a step: each costs `threshold` products of 255 bits. */
export function* splitting(
  secret: Uint8Array,
  { threshold, holders }: { readonly threshold: number; readonly holders: number },
  random: RandomBytes,
): Steps<Uint8Array[]> {
  assert(secret.byteLength === SECRET_BYTES, 'a secret has 31 bytes');
  assert(threshold >= 1 && threshold <= holders, 'as many holders as are needed, at least');
  const coefficients = [
    toInteger(secret),
    ...Array.from({ length: threshold - 1 }, () => randomElement(random)),
  ];
  const shares: Uint8Array[] = [];
  for (let point = 1; point <= holders; point += 1) {
    const x = BigInt(point);
    const value = coefficients.reduceRight((sum, coefficient) => (sum * x + coefficient) % PRIME, 0n);
    shares.push(toBytes(value, SHARE_BYTES));
    yield;
  }
  return shares;
}

export const split = (...args: Parameters<typeof splitting>): Uint8Array[] => atOnce(splitting(...args));

/** Finds secrets from the shares of one set of holders: what depends on the set alone is computed once. */
export interface Combiner {
  /** Shares in the order of the points; undefined when they do not come from one secret of 31 bytes. */
  secretOf(shares: readonly Uint8Array[]): Uint8Array | undefined;
}

/** @param points of the holders, from 1 on, each once */
export function* combining(points: readonly number[]): Steps<Combiner> {
  assert(new Set(points).size === points.length && points.every((point) => point >= 1), 'each holder once');
  // Lagrange's polynomials at 0.
  const weights: bigint[] = [];
  for (const point of points) {
    let [above, below] = [1n, 1n];
    for (const other of points) {
      if (other === point) continue;
      above = (above * BigInt(other)) % PRIME;
      below = modulo(below * BigInt(other - point));
    }
    weights.push((above * inverse(below)) % PRIME);
    yield;
  }
  return {
    secretOf(shares) {
      assert(shares.length === points.length, 'one share a holder');
      const sum = shares.reduce((total, share, at) => (total + toInteger(share) * weights[at]!) % PRIME, 0n);
      return sum >> BigInt(SECRET_BYTES * 8) === 0n ? toBytes(sum, SECRET_BYTES) : undefined;
    },
  };
}

export const combinerFor = (points: readonly number[]): Combiner => atOnce(combining(points));
