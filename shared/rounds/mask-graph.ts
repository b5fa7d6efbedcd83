/**
 * Who shares masks with whom. Up to 101 sites everybody with everybody; above, a random graph of degree at most 100 that all sites drew together
 * (no site and no coordinator chooses it): the union of 50 random rings. With a third of the sites gone and a third corrupt the honest ones
 * left are connected but for a chance of 2^-40 (design: sealed-rounds, section 4), and only then are their sums hidden.
 */
import { u32 } from '../bytes.ts';
import { blake2b } from '../crypto/hash.ts';

export const MASK_DEGREE_MAX = 100;

/** Uniform integers from a public seed: BLAKE2b in counter mode, each below `bound` without bias. */
const publicIntegers = (seed: Uint8Array): ((bound: number) => number) => {
  const BYTES = 64;
  let [counter, at, block] = [0, BYTES, Buffer.alloc(BYTES)];
  const word = (): number => {
    if (at === BYTES) {
      block = Buffer.from(blake2b(BYTES, u32(counter), seed));
      [counter, at] = [counter + 1, 0];
    }
    at += 4;
    return block.readUInt32LE(at - 4);
  };
  return (bound) => {
    const limit = Math.floor(2 ** 32 / bound) * bound;
    for (;;) {
      const value = word();
      if (value < limit) return value % bound;
    }
  };
};

/** Fisher, Yates. */
const permutation = (count: number, below: (bound: number) => number): number[] => {
  const order = Array.from({ length: count }, (_, at) => at);
  for (let at = count - 1; at > 0; at -= 1) {
    const other = below(at + 1);
    [order[at], order[other]] = [order[other]!, order[at]!];
  }
  return order;
};

/** Neighbours of each of `sites` sites, ascending; symmetric. @param seed 32 bytes */
export const maskGraph = (
  sites: number,
  seed: Uint8Array,
  degreeMax = MASK_DEGREE_MAX,
): readonly (readonly number[])[] => {
  const all = Array.from({ length: sites }, (_, at) => at);
  if (sites - 1 <= degreeMax) return all.map((at) => all.filter((other) => other !== at));
  const below = publicIntegers(seed);
  const near = all.map(() => new Set<number>());
  for (let ring = 0; ring < Math.floor(degreeMax / 2); ring += 1) {
    const order = permutation(sites, below);
    order.forEach((site, at) => {
      const next = order[(at + 1) % sites]!;
      near[site]!.add(next);
      near[next]!.add(site);
    });
  }
  return near.map((others) => [...others].toSorted((left, right) => left - right));
};
