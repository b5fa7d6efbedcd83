/** Hashing and key derivation: BLAKE2b (RFC 7693) and HKDF-SHA-512 (RFC 5869). */
import { hkdfSync } from 'node:crypto';
import { framed, utf8 } from '../bytes.ts';
import { sodium } from './sodium.ts';

export const HASH_BYTES = 32;

/** BLAKE2b of `bytes`, `length` bytes out (1–64), optionally keyed (up to 64 bytes). */
export const blake2b = (length: number, bytes: Uint8Array, key: Uint8Array | null = null): Uint8Array =>
  sodium.crypto_generichash(length, bytes, key);

export interface Blake2b {
  add(bytes: Uint8Array): void;
  /** Once, at the end. */
  digest(): Uint8Array;
}
/** The same of bytes that come piece by piece: `blake2b` copies all it is given into libsodium's memory, which never shrinks again. */
export const createBlake2b = (length: number): Blake2b => {
  const state = sodium.crypto_generichash_init(null, length);
  return {
    add: (bytes) => sodium.crypto_generichash_update(state, bytes),
    digest: () => sodium.crypto_generichash_final(state, length),
  };
};

/** BLAKE2b-256 over a label and several fields, each preceded by its length. */
export const hashOf = (label: string, ...fields: readonly Uint8Array[]): Uint8Array =>
  blake2b(HASH_BYTES, framed(utf8(label), ...fields));

/** HKDF-SHA-512: `length` bytes from `secret`, separated by `salt` and `label`. */
export const deriveKey = (secret: Uint8Array, salt: Uint8Array, label: string, length = 32): Uint8Array =>
  new Uint8Array(hkdfSync('sha512', secret, salt, label, length));
