/**
 * A seeded generator for searches and simulations that must repeat: xoshiro128** (Blackman, Vigna 2018), its state filled from
 * the seed by SplitMix32. Not for secrets and not for privacy noise.
 */
export interface Seeded {
  /** Uniform 32-bit integer. */
  next(): number;
  /** Uniform in [0, 1), 32 bits. */
  uniform(): number;
  /** Uniform integer in 0 … bound − 1, bound at most 2^32; bias below bound/2^32. */
  below(bound: number): number;
}

const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by));

const splitMix = (seed: number): (() => number) => {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return mixed ^ (mixed >>> 16);
  };
};

export const seeded = (seed: number): Seeded => {
  const fill = splitMix(seed);
  let [a, b, c, d] = [fill(), fill(), fill(), fill()];
  const next = (): number => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result;
  };
  const uniform = (): number => next() / 4_294_967_296;
  return { next, uniform, below: (bound) => Math.floor(uniform() * bound) };
};
