/**
 * Remembers keys in fixed memory (Bloom 1970): "no" is certain, "yes" is not. Nearly every query is new, and this spares it the way to
 * the store; a "yes" is looked up there.
 */
import { blake2b } from '../../shared/crypto/hash.ts';
import { utf8 } from '../../shared/bytes.ts';

/** 2 MiB: one false "yes" in 500 at a million keys. More keys only make it say "yes" more often. */
const FILTER_BITS = 2 ** 24;
export const KEY_HASH_BYTES = 16;

export const hashKey = (key: string): Uint8Array => blake2b(KEY_HASH_BYTES, utf8(key));

export interface KeyFilter {
  add(keyHash: Uint8Array): void;
  mayHold(keyHash: Uint8Array): boolean;
}

export const createKeyFilter = (): KeyFilter => {
  const bits = new Uint8Array(FILTER_BITS / 8);
  const positions = (keyHash: Uint8Array): number[] => {
    const view = new DataView(keyHash.buffer, keyHash.byteOffset, KEY_HASH_BYTES);
    return [0, 4, 8, 12].map((at) => view.getUint32(at) % FILTER_BITS);
  };
  return {
    add(keyHash) {
      for (const position of positions(keyHash)) bits[position >> 3]! |= 1 << (position & 7);
    },
    mayHold: (keyHash) =>
      positions(keyHash).every((position) => (bits[position >> 3]! & (1 << (position & 7))) !== 0),
  };
};
