/**
 * Masked vectors: words modulo 2^32, and the keystreams that hide them. ChaCha20 (RFC 8439) by OpenSSL, because it is three times as fast
 * as WebAssembly; a keystream is read from any word on, so that a long vector is masked in pieces.
 */
import { createCipheriv } from 'node:crypto';
import { endianness } from 'node:os';
import { assert } from '../errors.ts';

export type Words = Uint32Array<ArrayBuffer>;

export const WORD_BYTES = 4;
export const SEED_BYTES = 32;
/** Words of one ChaCha20 block: a piece of a keystream begins at a block. */
export const BLOCK_WORDS = 16;
/** 64 KiB at a time: four keystreams and what they are added to stay in the processor's cache. */
const PIECE_WORDS = 16_384;
const ZEROS = new Uint8Array(PIECE_WORDS * WORD_BYTES);

// Words travel and are hashed as they lie in memory.
assert(endianness() === 'LE', 'masked vectors are little-endian, and so are all machines this runs on');

/** Initial block counter (RFC 8439, section 2.4) before a nonce of zeros: each seed masks one vector only. */
const counterFrom = (word: number): Uint8Array => {
  assert(word % BLOCK_WORDS === 0, 'a keystream is read from the beginning of a block');
  const iv = Buffer.alloc(16);
  iv.writeUInt32LE(word / BLOCK_WORDS);
  return iv;
};

type Signed = Int32Array<ArrayBuffer>;
/** The next words of a keystream, `PIECE_WORDS` at most, as integers: adding is the same with a sign and without, and compiles better. */
type Stream = (count: number) => Signed;

const streamOf = (seed: Uint8Array, from: number): Stream => {
  assert(seed.byteLength === SEED_BYTES, 'a seed has 32 bytes');
  const cipher = createCipheriv('chacha20', seed, counterFrom(from));
  return (count) => {
    const bytes = cipher.update(count === PIECE_WORDS ? ZEROS : ZEROS.subarray(0, count * WORD_BYTES));
    // A fresh buffer of its own in all versions so far; copied where that changes.
    const whole = bytes.byteOffset % WORD_BYTES === 0 ? bytes : Uint8Array.from(bytes);
    return new Int32Array(whole.buffer, whole.byteOffset, count);
  };
};

/** `count` words of a seed's keystream, a piece at a time, from word `from` (a multiple of `BLOCK_WORDS`) on. */
export function* keystream(seed: Uint8Array, count: number, from = 0): Generator<Words> {
  const next = streamOf(seed, from);
  for (let done = 0; done < count; done += PIECE_WORDS) {
    const piece = next(Math.min(PIECE_WORDS, count - done));
    yield new Uint32Array(piece.buffer, piece.byteOffset, piece.length);
  }
}

const addOne = (sums: Signed, a: Signed): void => {
  for (let at = 0; at < sums.length; at += 1) sums[at] = (sums[at]! + a[at]!) | 0;
};
const takeOne = (sums: Signed, a: Signed): void => {
  for (let at = 0; at < sums.length; at += 1) sums[at] = (sums[at]! - a[at]!) | 0;
};
/** Four at a time: one load and store of the sum for four loads of keystream. */
const addFour = (sums: Signed, [a, b, c, d]: readonly [Signed, Signed, Signed, Signed]): void => {
  for (let at = 0; at < sums.length; at += 1) sums[at] = (sums[at]! + a[at]! + b[at]! + c[at]! + d[at]!) | 0;
};
const takeFour = (sums: Signed, [a, b, c, d]: readonly [Signed, Signed, Signed, Signed]): void => {
  for (let at = 0; at < sums.length; at += 1) sums[at] = (sums[at]! - a[at]! - b[at]! - c[at]! - d[at]!) | 0;
};

const apply = (sums: Signed, streams: readonly Stream[], sign: 1 | -1): void => {
  const { length } = sums;
  let at = 0;
  for (; at + 4 <= streams.length; at += 4) {
    const four = [
      streams[at]!(length),
      streams[at + 1]!(length),
      streams[at + 2]!(length),
      streams[at + 3]!(length),
    ] as const;
    if (sign === 1) addFour(sums, four);
    else takeFour(sums, four);
  }
  for (; at < streams.length; at += 1) {
    if (sign === 1) addOne(sums, streams[at]!(length));
    else takeOne(sums, streams[at]!(length));
  }
};

export interface Masks {
  /** Seeds whose keystreams are added, and those whose are taken away. */
  readonly plus: readonly Uint8Array[];
  readonly minus: readonly Uint8Array[];
}

/** Adds and takes away keystreams in place, a piece at a time: whoever shares the thread may stop between two. @param from where `words` begins in the whole vector, a multiple of `BLOCK_WORDS` */
export function* masking(words: Words, { plus, minus }: Masks, from = 0): Generator<void> {
  const streams = [plus, minus].map((seeds) => seeds.map((seed) => streamOf(seed, from)));
  const sums = centred(words);
  for (let done = 0; done < words.length; done += PIECE_WORDS) {
    const piece = sums.subarray(done, done + PIECE_WORDS);
    apply(piece, streams[0]!, 1);
    apply(piece, streams[1]!, -1);
    yield;
  }
}

/** All of `masking` at once. */
export const mask = (words: Words, masks: Masks, from = 0): void => {
  for (const _ of masking(words, masks, from));
};

/** Adds `more` in place, from word `from` of `words` on. */
export const addWords = (words: Words, more: Words, from = 0): void => {
  for (let at = 0; at < more.length; at += 1) words[from + at]! += more[at]!;
};

/** Signed values as words; each in [−2^31, 2^31). */
export const toWords = (values: Int32Array<ArrayBuffer>): Words =>
  new Uint32Array(values.buffer, values.byteOffset, values.length);
/** Words as the signed values they stand for, centred modulo 2^32; the same memory. */
export const centred = (words: Words): Int32Array<ArrayBuffer> =>
  new Int32Array(words.buffer, words.byteOffset, words.length);
/** The bytes of words; the same memory. */
export const bytesOf = (words: Words): Uint8Array<ArrayBuffer> =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
/** Words of bytes, copied where they do not lie at a word. @throws InvariantError unless they are whole words */
export const wordsOf = (bytes: Uint8Array): Words => {
  assert(bytes.byteLength % WORD_BYTES === 0, 'whole words only');
  const own =
    bytes.byteOffset % WORD_BYTES === 0 && bytes.buffer instanceof ArrayBuffer
      ? bytes
      : Uint8Array.from(bytes);
  return new Uint32Array(own.buffer as ArrayBuffer, own.byteOffset, own.byteLength / WORD_BYTES);
};
