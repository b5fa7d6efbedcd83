/** ML-DSA by the runtime's own OpenSSL (3.5 and later, Node 24.6 and later); undefined where that has none. */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { promisify } from 'node:util';
import type { IdentityLattice, LatticeProvider } from './port.ts';

/** RFC 9881: PKCS #8 with the 32-byte seed alone, and SubjectPublicKeyInfo. */
interface Envelope {
  readonly pkcs8: Buffer;
  readonly spki: Buffer;
}
/** OID 2.16.840.1.101.3.4.3.17 */
const MLDSA44: Envelope = {
  pkcs8: Buffer.from('3034020100300b060960864801650304031104228020', 'hex'),
  spki: Buffer.from('30820532300b06096086480165030403110382052100', 'hex'),
};
/** OID 2.16.840.1.101.3.4.3.18 */
const MLDSA65: Envelope = {
  pkcs8: Buffer.from('3034020100300b060960864801650304031204228020', 'hex'),
  spki: Buffer.from('308207b2300b0609608648016503040312038207a100', 'hex'),
};

const signInPool = promisify<null, Uint8Array, KeyObject, Buffer>(sign);

const privateKeyOf = ({ pkcs8 }: Envelope, seed: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([pkcs8, seed]), format: 'der', type: 'pkcs8' });

const openKey = (envelope: Envelope, seed: Uint8Array): { key: KeyObject; publicKey: Uint8Array } => {
  const key = privateKeyOf(envelope, seed);
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return { key, publicKey: spki.subarray(envelope.spki.byteLength) };
};

const verifyWith =
  ({ spki }: Envelope) =>
  (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
    try {
      const der = Buffer.concat([spki, publicKey]);
      const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
      return verify(null, message, key, signature);
    } catch {
      return false;
    }
  };

const provider: LatticeProvider = {
  name: 'openssl',
  signer(seed) {
    const { key, publicKey } = openKey(MLDSA44, seed);
    // With a callback OpenSSL works in a thread of the pool.
    return { publicKey, sign: (message) => signInPool(null, message, key) };
  },
  verify: verifyWith(MLDSA44),
};

const identityProvider: IdentityLattice = {
  name: 'openssl',
  signer(seed) {
    const { key, publicKey } = openKey(MLDSA65, seed);
    return { publicKey, sign: (message) => sign(null, message, key) };
  },
  verify: verifyWith(MLDSA65),
};

/** Tried, not asked: Node 22 with a newer OpenSSL takes the key, and then cannot sign with it. */
const has = (envelope: Envelope): boolean => {
  try {
    const message = Buffer.from('does it sign?');
    const { key, publicKey } = openKey(envelope, Buffer.alloc(32));
    return verifyWith(envelope)(publicKey, message, sign(null, message, key));
  } catch {
    return false;
  }
};

/** Asked once at start. */
export const nativeLattice = (): LatticeProvider | undefined => (has(MLDSA44) ? provider : undefined);
export const nativeIdentityLattice = (): IdentityLattice | undefined =>
  has(MLDSA65) ? identityProvider : undefined;
