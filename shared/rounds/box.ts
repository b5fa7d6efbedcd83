/** Small sealed texts between sites: XChaCha20-Poly1305 (IETF) with a random nonce before the ciphertext. */
import { concat } from '../bytes.ts';
import { sodium } from '../crypto/sodium.ts';
import type { RandomBytes } from '../random.ts';

const NONCE_BYTES = 24;

export const seal = (
  key: Uint8Array,
  context: Uint8Array,
  plain: Uint8Array,
  random: RandomBytes,
): Uint8Array => {
  const nonce = random(NONCE_BYTES);
  return concat(nonce, sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, context, null, nonce, key));
};

/** undefined for what was not sealed with this key in this context. */
export const open = (key: Uint8Array, context: Uint8Array, box: Uint8Array): Uint8Array | undefined => {
  try {
    return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
      null,
      box.subarray(NONCE_BYTES),
      context,
      box.subarray(0, NONCE_BYTES),
      key,
    );
  } catch {
    return undefined;
  }
};
