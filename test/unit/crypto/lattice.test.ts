/** ML-DSA-44 behind its seam: a signature holds, nothing malformed does, and both providers are one algorithm. */
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../shared/bytes.ts';
import { javascriptLattice } from '../../../shared/crypto/lattice/javascript.ts';
import { nativeLattice } from '../../../shared/crypto/lattice/native.ts';
import { MLDSA44_PUBLIC_BYTES, MLDSA44_SIGNATURE_BYTES } from '../../../shared/crypto/lattice/port.ts';
import { lattice } from '../../../shared/crypto/lattice/provider.ts';

const seed = Buffer.alloc(32, 7);
const message = utf8('a checkpoint');
const native = nativeLattice();

describe('the provider in use', () => {
  test('signs with the key of its seed, off the event loop, and verifies', async () => {
    const { publicKey, sign } = lattice.signer(seed);
    expect(publicKey.byteLength).toBe(MLDSA44_PUBLIC_BYTES);
    expect(Buffer.compare(publicKey, ml_dsa44.keygen(seed).publicKey)).toBe(0);
    const signatures = await Promise.all(Array.from({ length: 8 }, () => sign(message)));
    for (const signature of signatures) {
      expect(signature.byteLength).toBe(MLDSA44_SIGNATURE_BYTES);
      expect(lattice.verify(publicKey, message, signature)).toBe(true);
      expect(ml_dsa44.verify(signature, message, publicKey)).toBe(true);
    }
    expect(lattice.verify(publicKey, utf8('another'), signatures[0]!)).toBe(false);
  });

  test('takes no signature with a byte changed, and nothing of another length', async () => {
    const { publicKey, sign } = lattice.signer(seed);
    const good = await sign(message);
    fc.assert(
      fc.property(fc.nat(good.byteLength - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const bad = Buffer.from(good);
        bad[at]! ^= by;
        expect(lattice.verify(publicKey, message, bad)).toBe(false);
      }),
      { numRuns: 40 },
    );
    for (const length of [0, 64, MLDSA44_SIGNATURE_BYTES - 1, MLDSA44_SIGNATURE_BYTES + 1])
      expect(lattice.verify(publicKey, message, Buffer.alloc(length))).toBe(false);
    expect(lattice.verify(publicKey.subarray(1), message, good)).toBe(false);
  });
});

test.skipIf(native === undefined)(
  'OpenSSL and JavaScript are the same algorithm (needs a runtime with ML-DSA: Node 24.6 and later)',
  async () => {
    const [one, two] = [javascriptLattice.signer(seed), native!.signer(seed)];
    expect(Buffer.compare(one.publicKey, two.publicKey)).toBe(0);
    expect(native!.verify(one.publicKey, message, await one.sign(message))).toBe(true);
    expect(javascriptLattice.verify(two.publicKey, message, await two.sign(message))).toBe(true);
  },
);
