/**
 * Masked vectors: words modulo 2^32, and the keystreams that hide them. ChaCha20 (RFC 8439) by OpenSSL, because it is three times as fast
 * as in WebAssembly, and added in WebAssembly, because that is several times as fast as in JavaScript; a keystream is read from any word on, so that a long vector is masked in pieces.
 */
import { createCipheriv } from 'node:crypto';
import { endianness } from 'node:os';
import { assert } from '../errors.ts';
import { ADDER_BYTES, ADDER_STREAMS, createAdder } from './adder.ts';

export type Words = Uint32Array<ArrayBuffer>;

export const WORD_BYTES = 4;
export const SEED_BYTES = 32;
/** Words of one ChaCha20 block: a piece of a keystream begins at a block. */
export const BLOCK_WORDS = 16;
/** Words that are masked at a time. */
const PIECE_WORDS = ADDER_BYTES / WORD_BYTES;
const ZEROS = new Uint8Array(ADDER_BYTES);
const adder = createAdder();

// Words travel and are hashed as they lie in memory.
assert(endianness() === 'LE', 'masked vectors are little-endian, and so are all machines this runs on');

/** Initial block counter (RFC 8439, section 2.4) before a nonce of zeros: each seed masks one vector only. */
const counterFrom = (word: number): Uint8Array => {
  assert(word % BLOCK_WORDS === 0, 'a keystream is read from the beginning of a block');
  const iv = Buffer.alloc(16);
  iv.writeUInt32LE(word / BLOCK_WORDS);
  return iv;
};

/** The next bytes of a keystream, `ADDER_BYTES` at most. */
type Stream = (bytes: number) => Uint8Array;

const streamOf = (seed: Uint8Array, from: number): Stream => {
  assert(seed.byteLength === SEED_BYTES, 'a seed has 32 bytes');
  const cipher = createCipheriv('chacha20', seed, counterFrom(from));
  return (bytes) => cipher.update(bytes === ADDER_BYTES ? ZEROS : ZEROS.subarray(0, bytes));
};

/** `count` words of a seed's keystream, a piece at a time, from word `from` (a multiple of `BLOCK_WORDS`) on. */
export function* keystream(seed: Uint8Array, count: number, from = 0): Generator<Words> {
  const next = streamOf(seed, from);
  for (let done = 0; done < count; done += PIECE_WORDS)
    yield wordsOf(next(Math.min(PIECE_WORDS, count - done) * WORD_BYTES));
}

/** To what lies in the adder. */
const apply = (streams: readonly Stream[], sign: 1 | -1, bytes: number): void => {
  let at = 0;
  for (; at + ADDER_STREAMS <= streams.length; at += ADDER_STREAMS) {
    for (let slot = 0; slot < ADDER_STREAMS; slot += 1) adder.streams[slot]!.set(streams[at + slot]!(bytes));
    adder.four(sign, bytes);
  }
  for (; at < streams.length; at += 1) {
    adder.streams[0]!.set(streams[at]!(bytes));
    adder.one(sign, bytes);
  }
};

export interface Masks {
  /** Seeds whose keystreams are added, and those whose are taken away. */
  readonly plus: readonly Uint8Array[];
  readonly minus: readonly Uint8Array[];
}

/** Adds and takes away keystreams in place, a piece at a time: whoever shares the thread may stop between two. @param from where `words` begins in the whole vector, a multiple of `BLOCK_WORDS` */
export function* masking(words: Words, { plus, minus }: Masks, from = 0): Generator<void> {
  const [added, taken] = [plus, minus].map((seeds) => seeds.map((seed) => streamOf(seed, from)));
  const bytes = bytesOf(words);
  for (let done = 0; done < bytes.byteLength; done += ADDER_BYTES) {
    const piece = bytes.subarray(done, done + ADDER_BYTES);
    // In and out again between two yields: whoever else masks meanwhile uses the same room.
    adder.sum.set(piece);
    apply(added!, 1, piece.byteLength);
    apply(taken!, -1, piece.byteLength);
    piece.set(adder.sum.subarray(0, piece.byteLength));
    yield;
  }
}

/** All of `masking` at once. */
export const mask = (words: Words, masks: Masks, from = 0): void => {
  for (const _ of masking(words, masks, from));
};

/** Adds `more` in place, from word `from` of `words` on. */
export const addWords = (words: Words, more: Words, from = 0): void => {
  assert(from + more.length <= words.length, 'what is added has its place in the sum');
  const [sums, added] = [bytesOf(words.subarray(from, from + more.length)), bytesOf(more)];
  for (let done = 0; done < sums.byteLength; done += ADDER_BYTES) {
    const piece = sums.subarray(done, done + ADDER_BYTES);
    adder.sum.set(piece);
    adder.streams[0]!.set(added.subarray(done, done + ADDER_BYTES));
    adder.one(1, piece.byteLength);
    piece.set(adder.sum.subarray(0, piece.byteLength));
  }
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
