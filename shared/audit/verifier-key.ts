/**
 * Verifier keys of notes, C2SP signed-note: `name+hash+base64(type ‖ key)`. Key types: 0x01 Ed25519 over the text, 0x04 Ed25519 cosignature,
 * 0x06 ML-DSA-44 cosignature (both tlog-cosignature).
 */
import { hash } from 'node:crypto';
import { concat, toBase64, toHex, utf8 } from '../bytes.ts';
import { MLDSA44_PUBLIC_BYTES } from '../crypto/lattice/port.ts';
import { QflError } from '../errors.ts';
import { strictBase64 } from './base64.ts';
import { isWellFormed } from './canonical.ts';

export const KEY_HASH_BYTES = 4;
const ED25519_KEY_BYTES = 32;
export const KEY_TYPE_ED25519 = 1;
export const KEY_TYPE_COSIGNATURE = 4;
export const KEY_TYPE_MLDSA44 = 6;
const KEY_BYTES: Readonly<Record<number, number>> = {
  [KEY_TYPE_ED25519]: ED25519_KEY_BYTES,
  [KEY_TYPE_COSIGNATURE]: ED25519_KEY_BYTES,
  [KEY_TYPE_MLDSA44]: MLDSA44_PUBLIC_BYTES,
};

export interface VerifierKey {
  readonly name: string;
  /** First 4 bytes of SHA-256(name ‖ "\n" ‖ type ‖ public key). */
  readonly keyHash: Uint8Array;
  readonly type: number;
  readonly publicKey: Uint8Array;
  /** `name+hash+base64(type ‖ key)`. */
  readonly text: string;
}

export const isKeyName = (name: string): boolean => name !== '' && isWellFormed(name) && !/[\s+]/u.test(name);

export const verifierKeyOf = (name: string, type: number, publicKey: Uint8Array): VerifierKey => {
  const typed = concat(Uint8Array.of(type), publicKey);
  const keyHash = hash('sha256', concat(utf8(`${name}\n`), typed), 'buffer').subarray(0, KEY_HASH_BYTES);
  return { name, keyHash, type, publicKey, text: `${name}+${toHex(keyHash)}+${toBase64(typed)}` };
};

/** The same key under another name: a log that goes on after a restore. */
export const renamed = ({ type, publicKey }: VerifierKey, name: string): VerifierKey =>
  verifierKeyOf(name, type, publicKey);

const malformed = (detail: string): never => {
  throw new QflError('protocol', { detail });
};

/**
 * Reads `name+hash+base64(type ‖ key)`.
 * @throws QflError `protocol` when malformed, of an unknown type, or when the hash does not belong to the key.
 */
export const parseVerifierKey = (text: string): VerifierKey => {
  const [name = '', hashHex = '', ...rest] = text.split('+');
  const bytes = strictBase64(rest.join('+'));
  const type = bytes[0] ?? 0;
  const publicKey = bytes.subarray(1);
  if (!isKeyName(name)) return malformed('a verifier key needs a name without spaces and "+"');
  const keyBytes = KEY_BYTES[type] ?? malformed('unknown key type');
  if (publicKey.byteLength !== keyBytes) return malformed(`a key of type ${type} has ${keyBytes} bytes`);
  const key = verifierKeyOf(name, type, publicKey);
  return toHex(key.keyHash) === hashHex ? key : malformed('the key hash does not belong to the key');
};
