/** The texts and descriptions by which an agent knows its coordinator: join token, federation description. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { toBase64 } from '../../../shared/bytes.ts';
import { COORDINATOR_NAME, fingerprintOf, fingerprintPhrase } from '../../../shared/directory/record.ts';
import { outcomeOf } from '../../fixtures/outcome.ts';
import { QflError } from '../../../shared/errors.ts';
import { SiteId } from '../../../shared/ids.ts';
import { createVault, type Vault } from '../../../shared/keys/vault.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import {
  FEDERATION_LABEL,
  type FederationInfo,
  federationMessage,
  verifyFederation,
} from '../../../shared/wire/federation-info.ts';
import { encodeJoinToken, parseJoinToken } from '../../../shared/wire/join-token.ts';

describe('a join token', () => {
  const sites = fc.stringMatching(/^[a-z][a-z0-9-]{0,38}[a-z0-9]$/).map((name) => SiteId.parse(name));
  test('comes back as it was, with spaces around it or not', () => {
    fc.assert(
      fc.property(sites, fc.boolean(), (site, pinned) => {
        const token = {
          site,
          tokenId: randomBytes(16),
          secret: randomBytes(32),
          fingerprint: randomBytes(32),
          tlsFingerprint: pinned ? randomBytes(32).toString('hex') : undefined,
        };
        expect(parseJoinToken(` ${encodeJoinToken(token)}\n`)).toEqual(token);
      }),
    );
  });

  test('anything else is refused with what to do', () => {
    const good = encodeJoinToken({
      site: SiteId.parse('north'),
      tokenId: randomBytes(16),
      secret: randomBytes(32),
      fingerprint: randomBytes(32),
      tlsFingerprint: undefined,
    });
    for (const text of [
      '',
      'qfljoin1.',
      good.slice(0, 40),
      good.slice(1),
      'qfljoin2.AAAA',
      `${good}!`.slice(0, 150),
    ])
      expect(() => parseJoinToken(text)).toThrowError(
        expect.objectContaining({ code: 'token_refused', next: expect.any(String) }),
      );
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(['done', 'token_refused']).toContain(outcomeOf(() => parseJoinToken(`qfljoin1.${text}`)));
      }),
    );
  });
});

describe('the description of a federation', () => {
  let vault: Vault;
  let info: FederationInfo;
  let fingerprint: Uint8Array;
  const descriptionBy = async (by: Vault): Promise<FederationInfo> => {
    const unsigned = {
      v: 1 as const,
      name: 'test',
      logOrigin: 'qfl/test/keys',
      keysVerifierKeys: ['k', 'l'],
      auditVerifierKeys: ['a', 'b'],
      leaf: toBase64(await by.identityLeaf(COORDINATOR_NAME, 0, undefined)),
    };
    return {
      ...unsigned,
      signature: toBase64(by.identity.sign(FEDERATION_LABEL, federationMessage(unsigned))),
    };
  };
  beforeAll(async () => {
    vault = await createVault(createMemoryStore(), secureRandomBytes);
    info = await descriptionBy(vault);
    fingerprint = fingerprintOf(vault.identity.publicKeys);
  });

  test('holds under the fingerprint of its token', async () => {
    const verified = verifyFederation(info, fingerprint);
    const [kem] = await vault.kemKeys();
    expect(Buffer.compare(verified.kemKey, kem!.pair.publicKey)).toBe(0);
  });

  test('of another coordinator, or changed in any field, is refused', async () => {
    const other = await createVault(createMemoryStore(), secureRandomBytes);
    const otherInfo = await descriptionBy(other);
    expect(() => verifyFederation(otherInfo, fingerprint)).toThrowError(
      expect.objectContaining({ code: 'key_changed' }),
    );
    for (const field of ['name', 'logOrigin', 'keysVerifierKeys', 'auditVerifierKeys'] as const)
      expect(() => verifyFederation({ ...info, [field]: 'evil' }, fingerprint)).toThrowError(
        expect.objectContaining({ code: 'bad_signature' }),
      );
    // The right identity with somebody else's description, and the other way round.
    expect(() => verifyFederation({ ...info, leaf: otherInfo.leaf }, fingerprint)).toThrowError(QflError);
    expect(() => verifyFederation({ ...info, signature: otherInfo.signature }, fingerprint)).toThrowError(
      QflError,
    );
    expect(() => verifyFederation({ ...info, leaf: toBase64(Buffer.from('{}')) }, fingerprint)).toThrowError(
      expect.objectContaining({ code: 'protocol' }),
    );
  });

  test('fingerprints read aloud have no letters that sound alike', () => {
    expect(fingerprintPhrase(new Uint8Array(32))).toBe('0000-0000-0000-0000');
    expect(fingerprintPhrase(new Uint8Array(32).fill(255))).toBe('zzzz-zzzz-zzzz-zzzz');
    expect(fingerprintPhrase(fingerprint)).toMatch(/^([0-9a-hjkmnp-tv-z]{4}-){3}[0-9a-hjkmnp-tv-z]{4}$/);
  });
});
