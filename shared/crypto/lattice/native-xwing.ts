/**
 * X-Wing (draft-connolly-cfrg-xwing-kem) from the runtime's own ML-KEM-768 and X25519 (OpenSSL 3.5 and later, Node 24.7 and later). Sealing stays with
 * libsodium: it draws from hedged randomness, and the runtime's encapsulation takes no seed.
 */
import * as crypto from 'node:crypto';
import { concat, utf8 } from '../../bytes.ts';
import type { XWingProvider } from './port.ts';

// RFC 9935 and RFC 8410: private keys from their seeds, public keys raw.
const MLKEM_PKCS8 = Buffer.from('3054020100300b060960864801650304040204428040', 'hex');
const MLKEM_SPKI_BYTES = 22;
const X25519_PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex');
const X25519_SPKI = Buffer.from('302a300506032b656e032100', 'hex');

const MLKEM_SEED_BYTES = 64;
const EXPANDED_BYTES = 96;
const MLKEM_CIPHERTEXT_BYTES = 1_088;
/** The combiner's label, `\.//^\`. */
const LABEL = utf8('\\.//^\\');

type Decapsulate = (key: crypto.KeyObject, ciphertext: Uint8Array) => Uint8Array;
/** Newer than the types this is compiled with. */
const decapsulateOf = (module: object): Decapsulate | undefined => {
  const found: unknown = Reflect.get(module, 'decapsulate');
  return typeof found === 'function'
    ? (key, ciphertext) => {
        const secret: unknown = Reflect.apply(found, undefined, [key, ciphertext]);
        if (secret instanceof Uint8Array) return secret;
        throw new TypeError('decapsulation gives bytes');
      }
    : undefined;
};

interface Expanded {
  readonly mlkem: crypto.KeyObject;
  readonly x25519: crypto.KeyObject;
}
const privateOf = (prefix: Buffer, seed: Uint8Array): crypto.KeyObject =>
  crypto.createPrivateKey({ key: Buffer.concat([prefix, seed]), format: 'der', type: 'pkcs8' });
const expand = (seed: Uint8Array): Expanded => {
  const bytes = crypto.createHash('shake256', { outputLength: EXPANDED_BYTES }).update(seed).digest();
  return {
    mlkem: privateOf(MLKEM_PKCS8, bytes.subarray(0, MLKEM_SEED_BYTES)),
    x25519: privateOf(X25519_PKCS8, bytes.subarray(MLKEM_SEED_BYTES)),
  };
};
const rawPublic = (key: crypto.KeyObject, prefixBytes: number): Uint8Array =>
  crypto.createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(prefixBytes);

/** Zeros for a point of low order, as X25519 gives them: OpenSSL refuses, and the combiner holds by ML-KEM alone then. */
const exchange = (privateKey: crypto.KeyObject, peer: Uint8Array): Uint8Array => {
  try {
    const der = Buffer.concat([X25519_SPKI, peer]);
    return crypto.diffieHellman({
      privateKey,
      publicKey: crypto.createPublicKey({ key: der, format: 'der', type: 'spki' }),
    });
  } catch {
    return new Uint8Array(32);
  }
};

/** Asked once at start. */
export const nativeXWing = (): XWingProvider | undefined => {
  const decapsulate = decapsulateOf(crypto);
  if (decapsulate === undefined) return undefined;
  const provider: XWingProvider = {
    name: 'openssl',
    publicKeyOf(seed) {
      const { mlkem, x25519 } = expand(seed);
      return concat(rawPublic(mlkem, MLKEM_SPKI_BYTES), rawPublic(x25519, X25519_SPKI.byteLength));
    },
    decapsulate(seed, ciphertext) {
      const { mlkem, x25519 } = expand(seed);
      const peer = ciphertext.subarray(MLKEM_CIPHERTEXT_BYTES);
      return crypto
        .createHash('sha3-256')
        .update(decapsulate(mlkem, ciphertext.subarray(0, MLKEM_CIPHERTEXT_BYTES)))
        .update(exchange(x25519, peer))
        .update(peer)
        .update(rawPublic(x25519, X25519_SPKI.byteLength))
        .update(LABEL)
        .digest();
    },
  };
  try {
    // Tried, not asked. A ciphertext of nothing is opened to a secret of nothing (FIPS 203, implicit rejection).
    const seed = Buffer.alloc(32);
    provider.publicKeyOf(seed);
    provider.decapsulate(seed, Buffer.alloc(MLKEM_CIPHERTEXT_BYTES + 32, 9));
    return provider;
  } catch {
    return undefined;
  }
};
