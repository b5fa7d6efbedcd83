/**
 * The running state of a handshake in the manner of Noise: a hash `h` of everything said and a chaining key `ck`
 * into which every shared secret is mixed. Each derived key seals one box with `h` as associated data, so a
 * box opens only for the same conversation up to that point.
 */
import { u32 } from '../bytes.ts';
import { InvariantError, QflError } from '../errors.ts';
import { blake2b, deriveKey } from './hash.ts';
import { sodium } from './sodium.ts';

const TRANSCRIPT_BYTES = 64;
// Each key seals exactly one box, so the nonce has nothing to tell apart.
const ZERO_NONCE = new Uint8Array(24);
export const BOX_OVERHEAD_BYTES = 16;

export class Transcript {
  #hash: Uint8Array;
  #chainingKey: Uint8Array;
  #boxKey: Uint8Array | undefined;

  constructor(prologue: Uint8Array) {
    this.#hash = blake2b(TRANSCRIPT_BYTES, prologue);
    this.#chainingKey = this.#hash;
  }

  /** 64 bytes: the hash of the conversation so far. */
  get hash(): Uint8Array {
    return this.#hash;
  }

  absorb(bytes: Uint8Array): void {
    this.#hash = blake2b(TRANSCRIPT_BYTES, Buffer.concat([this.#hash, u32(bytes.byteLength), bytes]));
  }

  /** Mixes a shared secret in; the next box is sealed under a key that depends on it and on all before it. */
  mix(secret: Uint8Array): void {
    const derived = deriveKey(secret, this.#chainingKey, 'fed-hs/1 mix', 96);
    this.#chainingKey = derived.subarray(0, 64);
    this.#boxKey = derived.subarray(64);
  }

  seal(plaintext: Uint8Array): Uint8Array {
    const box = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
      plaintext,
      this.#hash,
      null,
      ZERO_NONCE,
      this.#takeKey(),
    );
    this.absorb(box);
    return box;
  }

  /** @throws QflError `handshake_refused` when the box does not open for this conversation. */
  open(box: Uint8Array): Uint8Array {
    const key = this.#takeKey();
    try {
      const plaintext = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        null,
        box,
        this.#hash,
        ZERO_NONCE,
        key,
      );
      this.absorb(box);
      return plaintext;
    } catch (cause) {
      throw new QflError('handshake_refused', { detail: 'a handshake message does not open', cause });
    }
  }

  /** A final key of the conversation, one for each label. */
  split(label: string): Uint8Array {
    return deriveKey(this.#chainingKey, this.#hash, `fed-hs/1 ${label}`);
  }

  #takeKey(): Uint8Array {
    const key = this.#boxKey;
    if (key === undefined) throw new InvariantError('a handshake key seals one box only');
    this.#boxKey = undefined;
    return key;
  }
}
