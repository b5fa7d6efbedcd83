/** ML-DSA-44 by the runtime's own OpenSSL (3.5 and later, Node 24.6 and later); undefined where that has none. */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { promisify } from 'node:util';
import type { LatticeProvider } from './port.ts';

// RFC 9881: PKCS #8 with the 32-byte seed alone, and SubjectPublicKeyInfo, for OID 2.16.840.1.101.3.4.3.17.
const PKCS8_PREFIX = Buffer.from('3034020100300b060960864801650304031104228020', 'hex');
const SPKI_PREFIX = Buffer.from('30820532300b06096086480165030403110382052100', 'hex');

const signInPool = promisify<null, Uint8Array, KeyObject, Buffer>(sign);

const privateKeyOf = (seed: Uint8Array) =>
  createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });

const provider: LatticeProvider = {
  name: 'openssl',
  signer(seed) {
    const key = privateKeyOf(seed);
    const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
    return {
      publicKey: spki.subarray(SPKI_PREFIX.byteLength),
      // With a callback OpenSSL works in a thread of the pool.
      sign: (message) => signInPool(null, message, key),
    };
  },
  verify(publicKey, message, signature) {
    try {
      const key = createPublicKey({
        key: Buffer.concat([SPKI_PREFIX, publicKey]),
        format: 'der',
        type: 'spki',
      });
      return verify(null, message, key, signature);
    } catch {
      return false;
    }
  },
};

/** Asked once at start: an OpenSSL without the algorithm refuses the key. */
export const nativeLattice = (): LatticeProvider | undefined => {
  try {
    privateKeyOf(Buffer.alloc(32));
    return provider;
  } catch {
    return undefined;
  }
};
