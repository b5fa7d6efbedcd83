/** Uniform integers from uniform bytes: rejection only, no modulo, bytes fetched in blocks. */
import { assert } from '../errors.ts';
import type { RandomBytes } from '../random.ts';

const BLOCK_BYTES = 1024;

/** The same generator, asked for a block at a time: a call to the operating system costs more than the bytes. */
export const bufferedRandom = (random: RandomBytes, blockBytes = BLOCK_BYTES): RandomBytes => {
  const reader = byteReader(random, blockBytes);
  return (count) => reader.take(count);
};

/** Bytes of the generator in order, by block; what is left of a block that is too short is dropped. */
const byteReader = (random: RandomBytes, blockBytes = BLOCK_BYTES) => {
  let block = new Uint8Array(0);
  let at = 0;
  const fill = (count: number): void => {
    if (at + count <= block.byteLength) return;
    block = Uint8Array.from(random(blockBytes));
    at = 0;
  };
  return {
    take(count: number): Uint8Array {
      if (count > blockBytes) return random(count);
      fill(count);
      const bytes = block.slice(at, at + count);
      // What was handed out does not stay behind in memory.
      block.fill(0, at, at + count);
      at += count;
      return bytes;
    },
    /** The next bytes, at most 6, as an integer. */
    small(count: number): number {
      fill(count);
      let value = 0;
      for (const end = at + count; at < end; at += 1) {
        value = value * BYTE + block[at]!;
        block[at] = 0;
      }
      return value;
    },
  };
};

/** Bounds below this are drawn in doubles: exact, and far faster than on BigInt. */
export const SMALL_BOUND = 2 ** 48;
const BYTE = 256;

/** A source of uniform integers. Make one per request or per process; it keeps unused random bytes. */
export interface RandomIntegers {
  /** Uniform over 0 … bound − 1, exactly. */
  below(bound: bigint): bigint;
  /** The same for a whole bound under `SMALL_BOUND`, from the same bytes. */
  belowSmall(bound: number): number;
  /** A fair coin. */
  coin(): boolean;
}

const bitsOf = (value: number): number => {
  const high = Math.floor(value / 2 ** 32);
  return high === 0 ? 32 - Math.clz32(value) : 64 - Math.clz32(high);
};

export const randomIntegers = (random: RandomBytes): RandomIntegers => {
  const next = byteReader(random);
  const belowSmall = (bound: number): number => {
    assert(bound >= 1 && bound < SMALL_BOUND, 'a small bound is at least 1 and under 2^48');
    if (bound === 1) return 0;
    const bits = bitsOf(bound - 1);
    const range = 2 ** bits;
    // At most half of the candidates are rejected, so the loop ends after two rounds on average.
    for (;;) {
      const candidate = next.small((bits + 7) >> 3) % range;
      if (candidate < bound) return candidate;
    }
  };
  const below = (bound: bigint): bigint => {
    assert(bound >= 1n, 'a uniform integer needs a bound of at least 1');
    if (bound < BigInt(SMALL_BOUND)) return BigInt(belowSmall(Number(bound)));
    const bits = (bound - 1n).toString(2).length;
    const mask = (1n << BigInt(bits)) - 1n;
    for (;;) {
      const candidate = BigInt(`0x${Buffer.from(next.take((bits + 7) >> 3)).toString('hex')}`) & mask;
      if (candidate < bound) return candidate;
    }
  };
  return { below, belowSmall, coin: () => next.small(1) % 2 === 1 };
};
