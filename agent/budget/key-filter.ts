/**
 * What is known of the keys of all ended queries without the store. The filter (Bloom 1970) remembers them in fixed memory: "no" is certain,
 * "yes" is not. Nearly every query is new, and this spares it the way to the store. The digest says, bucket by bucket,
 * which keys the store should hold, so that one it lost is noticed when it is looked for, without reading them all at the start.
 */
import { blake2b } from '../../shared/crypto/hash.ts';
import { toHex, utf8 } from '../../shared/bytes.ts';
import { assert } from '../../shared/errors.ts';

/** 2 MiB: one false "yes" in 500 at a million keys. More keys only make it say "yes" more often. */
const FILTER_BITS = 2 ** 24;
const FILTER_BYTES = FILTER_BITS / 8;
export const KEY_HASH_BYTES = 16;
/** 4096 buckets: at a million keys 244 in each, read in about a millisecond. */
const BUCKET_HEX_DIGITS = 3;
const BUCKETS = 16 ** BUCKET_HEX_DIGITS;
const DIGEST_BYTES = BUCKETS * KEY_HASH_BYTES;

export const hashKey = (key: string): Uint8Array => blake2b(KEY_HASH_BYTES, utf8(key));

/** The bucket of a key, as the first digits of its hash in hex. */
export const bucketName = (keyHash: Uint8Array): string =>
  toHex(keyHash.subarray(0, 2)).slice(0, BUCKET_HEX_DIGITS);
const bucketAt = (keyHash: Uint8Array): number => (keyHash[0]! << 4) | (keyHash[1]! >> 4);

/** Order-independent digest of a set of keys: per bucket the exclusive or of their hashes. */
export interface KeyDigest {
  add(keyHash: Uint8Array): void;
  /** 16 bytes; a copy. */
  bucket(keyHash: Uint8Array): Uint8Array;
  equals(other: KeyDigest): boolean;
  /** Not a copy. */
  bytes(): Uint8Array;
}

export const createKeyDigest = (from?: Uint8Array): KeyDigest => {
  const sums = from === undefined ? new Uint8Array(DIGEST_BYTES) : new Uint8Array(from);
  assert(sums.byteLength === DIGEST_BYTES, 'a key digest has its fixed size');
  return {
    add(keyHash) {
      const start = bucketAt(keyHash) * KEY_HASH_BYTES;
      for (let at = 0; at < KEY_HASH_BYTES; at += 1) sums[start + at]! ^= keyHash[at]!;
    },
    bucket(keyHash) {
      const start = bucketAt(keyHash) * KEY_HASH_BYTES;
      return sums.slice(start, start + KEY_HASH_BYTES);
    },
    equals: (other) => Buffer.compare(sums, other.bytes()) === 0,
    bytes: () => sums,
  };
};

export interface KeyFilter {
  add(keyHash: Uint8Array): void;
  mayHold(keyHash: Uint8Array): boolean;
  /** Not a copy. */
  bytes(): Uint8Array;
}

export const createKeyFilter = (from?: Uint8Array): KeyFilter => {
  const bits = from === undefined ? new Uint8Array(FILTER_BYTES) : new Uint8Array(from);
  assert(bits.byteLength === FILTER_BYTES, 'a key filter has its fixed size');
  // Powers of two: the remainder is a mask.
  const position = (keyHash: Uint8Array, at: number): number =>
    ((keyHash[at]! << 16) | (keyHash[at + 1]! << 8) | keyHash[at + 2]!) & (FILTER_BITS - 1);
  const STARTS = [2, 6, 9, 12] as const;
  return {
    add(keyHash) {
      for (const start of STARTS) {
        const bit = position(keyHash, start);
        bits[bit >> 3]! |= 1 << (bit & 7);
      }
    },
    mayHold(keyHash) {
      for (const start of STARTS) {
        const bit = position(keyHash, start);
        if ((bits[bit >> 3]! & (1 << (bit & 7))) === 0) return false;
      }
      return true;
    },
    bytes: () => bits,
  };
};
