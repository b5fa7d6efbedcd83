/**
 * Encryption at rest: XChaCha20-Poly1305 per value under the program's data key, with the entry's key as associated
 * data, so that a value moved to another key does not open. Value = 24-byte random nonce, ciphertext, 16-byte tag.
 * Keys stay readable: whoever stores under a personal identifier blinds it first (`blind`).
 */
import { sodium } from '../crypto/sodium.ts';
import { utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { type RandomBytes, secureRandomBytes } from '../random.ts';
import type { Store, StoreOperation } from './port.ts';

const NONCE_BYTES = 24;

/** Seals one value for the store; also used for files beside it. */
export const sealAtRest = (
  dataKey: Uint8Array,
  name: string,
  value: Uint8Array,
  random: RandomBytes,
): Uint8Array => {
  const nonce = random(NONCE_BYTES);
  return Buffer.concat([
    nonce,
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(value, utf8(name), null, nonce, dataKey),
  ]);
};

/** @throws QflError `storage_failed` when the key is wrong or the value was changed or moved. */
export const openAtRest = (dataKey: Uint8Array, name: string, sealed: Uint8Array): Uint8Array => {
  try {
    const nonce = sealed.subarray(0, NONCE_BYTES);
    const body = sealed.subarray(NONCE_BYTES);
    return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, body, utf8(name), nonce, dataKey);
  } catch (cause) {
    throw new QflError('storage_failed', {
      detail: 'a stored value does not open under this master key',
      next: 'Check that the master key is the one this folder was made with; restore from backup if the disk is damaged.',
      cause,
    });
  }
};

/** Wraps a store so that every value in it is encrypted under `dataKey` (32 bytes). */
export const encryptedStore = (
  inner: Store,
  dataKey: Uint8Array,
  random: RandomBytes = secureRandomBytes,
): Store => ({
  async get(key) {
    const sealed = await inner.get(key);
    return sealed === undefined ? undefined : openAtRest(dataKey, key, sealed);
  },
  async *list(options) {
    for await (const { key, value } of inner.list(options))
      yield { key, value: openAtRest(dataKey, key, value) };
  },
  keys: (options) => inner.keys(options),
  write: (operations, options) =>
    inner.write(
      operations.map((operation): StoreOperation =>
        operation.type === 'del'
          ? operation
          : { ...operation, value: sealAtRest(dataKey, operation.key, operation.value, random) },
      ),
      options,
    ),
  compact: (prefix) => inner.compact(prefix),
  close: () => inner.close(),
});

/** A keyed, one-way name for a personal identifier inside a store key: 16 bytes of BLAKE2b in hex. */
export const blind = (blindingKey: Uint8Array, ...parts: readonly string[]): string =>
  Buffer.from(
    sodium.crypto_generichash(16, utf8(parts.map((part) => `${part.length}:${part}`).join('')), blindingKey),
  ).toString('hex');
