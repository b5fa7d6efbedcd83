/** ML-DSA-65 in JavaScript: a signature is a matter of tens of milliseconds, which rare and lasting statements may take. */
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js';
import { type IdentityLattice, MLDSA65_PUBLIC_BYTES, MLDSA65_SIGNATURE_BYTES } from './port.ts';

export const javascriptIdentityLattice: IdentityLattice = {
  name: 'javascript',
  signer(seed) {
    const { publicKey, secretKey } = ml_dsa65.keygen(seed);
    return { publicKey, sign: (message) => ml_dsa65.sign(message, secretKey) };
  },
  verify(publicKey, message, signature) {
    if (publicKey.byteLength !== MLDSA65_PUBLIC_BYTES || signature.byteLength !== MLDSA65_SIGNATURE_BYTES)
      return false;
    return ml_dsa65.verify(signature, message, publicKey);
  },
};
