/** ML-DSA and X-Wing behind their seam: a signature holds, nothing malformed does, and both providers are one algorithm. */
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../shared/bytes.ts';
import { javascriptLattice } from '../../../shared/crypto/lattice/javascript.ts';
import { nativeIdentityLattice, nativeLattice } from '../../../shared/crypto/lattice/native.ts';
import { MLDSA44_PUBLIC_BYTES, MLDSA44_SIGNATURE_BYTES } from '../../../shared/crypto/lattice/port.ts';
import { lattice } from '../../../shared/crypto/lattice/provider.ts';
import { javascriptIdentityLattice } from '../../../shared/crypto/lattice/javascript-identity.ts';
import { nativeXWing } from '../../../shared/crypto/lattice/native-xwing.ts';
import { sodiumXWing } from '../../../shared/crypto/lattice/sodium-xwing.ts';
import { encapsulateWith } from '../../../shared/crypto/xwing.ts';

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

const nativeIdentity = nativeIdentityLattice();
test.skipIf(nativeIdentity === undefined)(
  'of identities too: OpenSSL and JavaScript make one key of one seed, and take each other’s signatures (needs Node 24.6 and later)',
  () => {
    const [one, two] = [javascriptIdentityLattice.signer(seed), nativeIdentity!.signer(seed)];
    expect(Buffer.compare(one.publicKey, two.publicKey)).toBe(0);
    expect(nativeIdentity!.verify(one.publicKey, message, one.sign(message))).toBe(true);
    expect(javascriptIdentityLattice.verify(two.publicKey, message, two.sign(message))).toBe(true);
    const bad = Buffer.from(two.sign(message));
    bad[100]! ^= 1;
    for (const provider of [javascriptIdentityLattice, nativeIdentity!]) {
      expect(provider.verify(two.publicKey, message, bad)).toBe(false);
      expect(provider.verify(two.publicKey, message, bad.subarray(1))).toBe(false);
      expect(provider.verify(two.publicKey.subarray(1), message, bad)).toBe(false);
    }
  },
);

const xwing = nativeXWing();
test.skipIf(xwing === undefined)(
  'X-Wing of OpenSSL and of libsodium is one: keys, secrets, and what becomes of a changed ciphertext (needs Node 24.7 and later)',
  () => {
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    fc.assert(
      fc.property(
        bytes(32),
        bytes(64),
        fc.nat(1119),
        fc.integer({ min: 0, max: 255 }),
        (key, draw, at, by) => {
          const publicKey = sodiumXWing.publicKeyOf(key);
          expect(Buffer.compare(xwing!.publicKeyOf(key), publicKey)).toBe(0);
          const { ciphertext, secret } = encapsulateWith(publicKey, draw);
          expect(Buffer.compare(xwing!.decapsulate(key, ciphertext), secret)).toBe(0);
          const changed = Buffer.from(ciphertext);
          changed[at]! ^= by;
          expect(
            Buffer.compare(xwing!.decapsulate(key, changed), sodiumXWing.decapsulate(key, changed)),
          ).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  },
);
