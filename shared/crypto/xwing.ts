/**
 * X-Wing, the hybrid of ML-KEM-768 and X25519 (draft-connolly-cfrg-xwing-kem, test vectors of commit 9b6ce9e): a
 * shared secret stays secret if either of the two holds. Still a draft, so the suite id names the vectors; a later draft
 * is a new suite.
 */
import { framed, utf8 } from '../bytes.ts';
import type { RandomBytes } from '../random.ts';
import { QflError } from '../errors.ts';
import { blake2b } from './hash.ts';
import { xwing } from './lattice/provider.ts';
import { sodium } from './sodium.ts';

export const XWING_SUITE = 'xwing-kat-9b6ce9e';
export const XWING_SEED_BYTES = 32;
export const XWING_PUBLIC_BYTES = 1216;
export const XWING_CIPHERTEXT_BYTES = 1120;
export const XWING_SECRET_BYTES = 32;
const ENCAPSULATION_SEED_BYTES = 64;

export interface XWingKeyPair {
  /** 32 bytes; it is the whole secret key. */
  readonly seed: Uint8Array;
  /** 1,216 bytes. */
  readonly publicKey: Uint8Array;
}

export interface Encapsulation {
  /** 1,120 bytes. */
  readonly ciphertext: Uint8Array;
  /** 32 bytes. */
  readonly secret: Uint8Array;
}

export const xwingKeyPair = (seed: Uint8Array): XWingKeyPair => ({
  seed,
  publicKey: xwing.publicKeyOf(seed),
});

/** Encapsulation from a given 64-byte seed: for vectors, and for `Hedge`. */
export const encapsulateWith = (publicKey: Uint8Array, seed: Uint8Array): Encapsulation => {
  if (publicKey.byteLength !== XWING_PUBLIC_BYTES)
    throw new QflError('protocol', { detail: 'an X-Wing public key has 1216 bytes' });
  const { ciphertext, sharedSecret } = sodium.crypto_kem_xwing_enc_deterministic(publicKey, seed);
  return { ciphertext, secret: sharedSecret };
};

/** The shared secret; for a ciphertext made for another key it is an unrelated value (implicit rejection). */
export const decapsulate = (seed: Uint8Array, ciphertext: Uint8Array): Uint8Array => {
  if (ciphertext.byteLength !== XWING_CIPHERTEXT_BYTES)
    throw new QflError('protocol', { detail: 'an X-Wing ciphertext has 1120 bytes' });
  return xwing.decapsulate(seed, ciphertext);
};

/**
 * Randomness that survives a broken generator: BLAKE2b keyed with a long-term secret over the label of the use, fresh
 * random bytes and a context. Either a sound generator or an unknown secret suffices.
 */
export interface Hedge {
  seed(label: string, context: Uint8Array, length: number): Uint8Array;
}

export const createHedge = (secret: Uint8Array, random: RandomBytes): Hedge => ({
  seed: (label, context, length) => blake2b(length, framed(utf8(label), random(64), context), secret),
});

export const encapsulate = (
  publicKey: Uint8Array,
  hedge: Hedge,
  label: string,
  context: Uint8Array,
): Encapsulation => encapsulateWith(publicKey, hedge.seed(label, context, ENCAPSULATION_SEED_BYTES));

export const ephemeralKeyPair = (hedge: Hedge, label: string, context: Uint8Array): XWingKeyPair =>
  xwingKeyPair(hedge.seed(label, context, XWING_SEED_BYTES));
