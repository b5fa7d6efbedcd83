/** Uniform integers from uniform bytes: rejection only, no modulo, bytes fetched in blocks. */
import { assert } from '../errors.ts';
import type { RandomBytes } from '../random.ts';

const BLOCK_BYTES = 1024;

/** The same generator, asked for a block at a time: a call to the operating system costs more than the bytes. */
export const bufferedRandom = (random: RandomBytes, blockBytes = BLOCK_BYTES): RandomBytes => {
  let block = new Uint8Array(0);
  let at = 0;
  return (count) => {
    if (count > blockBytes) return random(count);
    if (at + count > block.byteLength) {
      block = Uint8Array.from(random(blockBytes));
      at = 0;
    }
    const bytes = block.slice(at, at + count);
    // What was handed out does not stay behind in memory.
    block.fill(0, at, at + count);
    at += count;
    return bytes;
  };
};

/** A source of uniform integers. Make one per request or per process; it keeps unused random bytes. */
export interface RandomIntegers {
  /** Uniform over 0 … bound − 1, exactly. */
  below(bound: bigint): bigint;
  /** A fair coin. */
  coin(): boolean;
}

export const randomIntegers = (random: RandomBytes): RandomIntegers => {
  const bytes = bufferedRandom(random);
  const below = (bound: bigint): bigint => {
    assert(bound >= 1n, 'a uniform integer needs a bound of at least 1');
    const bits = (bound - 1n).toString(2).length;
    if (bound === 1n) return 0n;
    const mask = (1n << BigInt(bits)) - 1n;
    // At most half of the candidates are rejected, so the loop ends after two rounds on average.
    for (;;) {
      const candidate = BigInt(`0x${Buffer.from(bytes((bits + 7) >> 3)).toString('hex')}`) & mask;
      if (candidate < bound) return candidate;
    }
  };
  return { below, coin: () => (bytes(1)[0]! & 1) === 1 };
};
