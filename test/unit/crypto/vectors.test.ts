import { createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';
import { ml_kem768_x25519 } from '@noble/post-quantum/hybrid.js';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { fromHex, toHex } from '../../../shared/bytes.ts';
import { verifyEd25519Raw } from '../../../shared/crypto/signature.ts';
import { sodium } from '../../../shared/crypto/sodium.ts';
import { decapsulate, encapsulateWith, xwingKeyPair } from '../../../shared/crypto/xwing.ts';
import { hasShared, readSharedJson, whyMissing } from '../../fixtures/shared-data.ts';

const XWING_FILE = 'vectors/xwing-draft-kat.json';
const ED25519_FILE = 'vectors/wycheproof-ed25519-even.json';
const X25519_FILE = 'vectors/wycheproof-x25519-even.json';
const AEAD_FILE = 'vectors/wycheproof-xchacha20-poly1305-even.json';

const Wycheproof = <T extends z.ZodRawShape>(fields: T) =>
  z.object({
    testGroups: z.array(
      z.looseObject({
        publicKey: z.looseObject({ pk: z.string() }).optional(),
        tests: z.array(z.object({ tcId: z.int(), result: z.string(), ...fields })),
      }),
    ),
  });

describe('X-Wing', () => {
  test.skipIf(!hasShared(XWING_FILE))(
    `meets the draft's known answers, and so does a second implementation${whyMissing(XWING_FILE)}`,
    () => {
      const file = z
        .object({
          vectors: z.array(
            z.object({ seed: z.string(), eseed: z.string(), pk: z.string(), ct: z.string(), ss: z.string() }),
          ),
        })
        .parse(readSharedJson(XWING_FILE));
      expect(file.vectors.length).toBe(2);
      for (const vector of file.vectors) {
        const pair = xwingKeyPair(fromHex(vector.seed));
        expect(toHex(pair.publicKey)).toBe(vector.pk);
        const made = encapsulateWith(pair.publicKey, fromHex(vector.eseed));
        expect(toHex(made.ciphertext)).toBe(vector.ct);
        expect(toHex(made.secret)).toBe(vector.ss);
        expect(toHex(decapsulate(pair.seed, made.ciphertext))).toBe(vector.ss);
        const second = ml_kem768_x25519.decapsulate(fromHex(vector.ct), fromHex(vector.seed));
        expect(toHex(second)).toBe(vector.ss);
      }
    },
  );
});

describe('Ed25519', () => {
  test.skipIf(!hasShared(ED25519_FILE))(
    `gives Wycheproof's verdict on every case${whyMissing(ED25519_FILE)}`,
    () => {
      const file = Wycheproof({ msg: z.string(), sig: z.string() }).parse(readSharedJson(ED25519_FILE));
      let cases = 0;
      for (const group of file.testGroups) {
        for (const { tcId, msg, sig, result } of group.tests) {
          const verdict = verifyEd25519Raw(fromHex(group.publicKey?.pk ?? ''), fromHex(msg), fromHex(sig));
          expect(verdict, `case ${tcId}`).toBe(result === 'valid');
          cases += 1;
        }
      }
      expect(cases).toBe(75);
    },
  );
});

describe('X25519', () => {
  const spki = (raw: string) =>
    createPublicKey({
      key: Buffer.from(`302a300506032b656e032100${raw}`, 'hex'),
      format: 'der',
      type: 'spki',
    });
  const pkcs8 = (raw: string) =>
    createPrivateKey({
      key: Buffer.from(`302e020100300506032b656e04220420${raw}`, 'hex'),
      format: 'der',
      type: 'pkcs8',
    });
  const shared = (publicKey: string, privateKey: string): string | undefined => {
    try {
      const ours = toHex(sodium.crypto_scalarmult(fromHex(privateKey), fromHex(publicKey)));
      expect(toHex(diffieHellman({ publicKey: spki(publicKey), privateKey: pkcs8(privateKey) }))).toBe(ours);
      return ours;
    } catch {
      return undefined;
    }
  };
  test.skipIf(!hasShared(X25519_FILE))(
    `agrees with Wycheproof, or refuses an all-zero secret${whyMissing(X25519_FILE)}`,
    () => {
      const file = Wycheproof({ public: z.string(), private: z.string(), shared: z.string() }).parse(
        readSharedJson(X25519_FILE),
      );
      let refused = 0;
      let cases = 0;
      for (const one of file.testGroups.flatMap((group) => group.tests)) {
        cases += 1;
        const secret = one.public.length === 64 ? shared(one.public, one.private) : undefined;
        if (secret === undefined) {
          refused += 1;
          expect(/^0*$/.test(one.shared) || one.result !== 'valid', `case ${one.tcId}`).toBe(true);
        } else expect(secret, `case ${one.tcId}`).toBe(one.shared);
      }
      expect({ cases, refused }).toEqual({ cases: 259, refused: 16 });
    },
  );
});

describe('XChaCha20-Poly1305', () => {
  test.skipIf(!hasShared(AEAD_FILE))(`opens what is valid and nothing else${whyMissing(AEAD_FILE)}`, () => {
    const file = Wycheproof({
      key: z.string(),
      iv: z.string(),
      aad: z.string(),
      msg: z.string(),
      ct: z.string(),
      tag: z.string(),
    }).parse(readSharedJson(AEAD_FILE));
    let cases = 0;
    for (const one of file.testGroups.flatMap((group) => group.tests)) {
      cases += 1;
      let opened: string | undefined;
      try {
        opened = toHex(
          sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
            null,
            fromHex(one.ct + one.tag),
            fromHex(one.aad),
            fromHex(one.iv),
            fromHex(one.key),
          ),
        );
      } catch {
        opened = undefined;
      }
      expect(opened, `case ${one.tcId}`).toBe(one.result === 'valid' ? one.msg : undefined);
    }
    expect(cases).toBe(157);
  });
});
