/**
 * Identity signatures. Ed25519 (RFC 8032, through OpenSSL) signs everything; ML-DSA-65 (FIPS 204, behind a seam) signs
 * beside it where a forgery must stay impossible after quantum computers: identity and key records, restricted queries.
 * A hybrid signature holds only if both halves hold.
 */
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign as nodeSign,
  verify as nodeVerify,
} from 'node:crypto';
import { concat, framed, utf8 } from '../bytes.ts';
import { deriveKey } from './hash.ts';
import { identityLattice } from './lattice/provider.ts';

export const ED25519_PUBLIC_BYTES = 32;
export const ED25519_SIGNATURE_BYTES = 64;

// DER prefixes of RFC 8410: OpenSSL takes raw Ed25519 keys only in these envelopes.
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

const privateKeyOf = (seed: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
const publicKeyOf = (raw: Uint8Array): KeyObject =>
  createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' });

export interface IdentityPublic {
  readonly ed25519: Uint8Array;
  readonly mldsa65: Uint8Array;
}

/** Whose signature counted at a time: keys rotate, and what was signed before stays true. */
export type IdentitiesAt = (atMs: number) => readonly IdentityPublic[];
/** One identity for all times. */
export const always =
  (identity: IdentityPublic): IdentitiesAt =>
  () => [identity];

export interface HybridSignature {
  readonly ed25519: Uint8Array;
  readonly mldsa65: Uint8Array;
}

/** The signing half of an identity. `label` separates uses: a signature for one never passes for another. */
export interface Identity {
  readonly publicKeys: IdentityPublic;
  /** Ed25519 over label and message; 64 bytes, about 0.1 ms. */
  sign(label: string, message: Uint8Array): Uint8Array;
  /** Both signatures; tens of milliseconds, so only for rare, lasting statements. */
  signHybrid(label: string, message: Uint8Array): HybridSignature;
}

const labelled = (label: string, message: Uint8Array): Uint8Array => framed(utf8(label), message);

/** Ed25519 without a label, for formats that bring their own separation. */
export const ed25519SignerOf = (
  seed: Uint8Array,
): { readonly publicKey: Uint8Array; readonly sign: (message: Uint8Array) => Uint8Array } => {
  const key = privateKeyOf(seed);
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return {
    publicKey: spki.subarray(SPKI_PREFIX.byteLength),
    sign: (message) => nodeSign(null, message, key),
  };
};

/** Both key pairs from one 32-byte seed. */
export const createIdentity = (seed: Uint8Array): Identity => {
  const noSalt = new Uint8Array(0);
  const privateKey = privateKeyOf(deriveKey(seed, noSalt, 'qfl identity ed25519'));
  const lattice = identityLattice.signer(deriveKey(seed, noSalt, 'qfl identity ml-dsa-65'));
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const sign = (label: string, message: Uint8Array) => nodeSign(null, labelled(label, message), privateKey);
  return {
    publicKeys: { ed25519: spki.subarray(SPKI_PREFIX.byteLength), mldsa65: lattice.publicKey },
    sign,
    signHybrid: (label, message) => ({
      ed25519: sign(label, message),
      mldsa65: lattice.sign(labelled(label, message)),
    }),
  };
};

const cache = new Map<string, KeyObject>();
const CACHE_KEYS_MAX = 1_000;

/** Raw Ed25519 verification (no label); false for anything malformed. */
export const verifyEd25519Raw = (
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean => {
  if (publicKey.byteLength !== ED25519_PUBLIC_BYTES || signature.byteLength !== ED25519_SIGNATURE_BYTES)
    return false;
  const name = Buffer.from(publicKey).toString('base64');
  const key = cache.get(name) ?? publicKeyOf(publicKey);
  if (cache.size < CACHE_KEYS_MAX) cache.set(name, key);
  return nodeVerify(null, message, key, signature);
};

export const verifySignature = (
  key: IdentityPublic,
  label: string,
  message: Uint8Array,
  signature: Uint8Array,
): boolean => verifyEd25519Raw(key.ed25519, labelled(label, message), signature);

/** ML-DSA-65 alone; false for anything malformed. */
export const verifyLattice = (
  key: IdentityPublic,
  label: string,
  message: Uint8Array,
  signature: Uint8Array,
): boolean => identityLattice.verify(key.mldsa65, labelled(label, message), signature);

/** True only when both signatures hold. */
export const verifyHybrid = (
  key: IdentityPublic,
  label: string,
  message: Uint8Array,
  signature: HybridSignature,
): boolean =>
  verifySignature(key, label, message, signature.ed25519) &&
  verifyLattice(key, label, message, signature.mldsa65);

export const identityBytes = (key: IdentityPublic): Uint8Array => concat(key.ed25519, key.mldsa65);
