/** X-Wing by libsodium, compiled to WebAssembly. */
import { sodium } from '../sodium.ts';
import type { XWingProvider } from './port.ts';

export const sodiumXWing: XWingProvider = {
  name: 'libsodium',
  publicKeyOf: (seed) => sodium.crypto_kem_xwing_seed_keypair(seed).publicKey,
  decapsulate: (seed, ciphertext) => sodium.crypto_kem_xwing_dec(ciphertext, seed),
};
