/** Records of the key directory: what a leaf must be to count. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { fromBase64, fromUtf8, toBase64, toHex, utf8 } from '../../../shared/bytes.ts';
import { DAY_MS } from '../../../shared/clock.ts';
import { createIdentity, type Identity } from '../../../shared/crypto/signature.ts';
import {
  applyLeaf,
  currentPrekey,
  type DirectoryState,
  requireSite,
  type SiteKeys,
} from '../../../shared/directory/chain.ts';
import {
  COORDINATOR_NAME,
  directoryLeafHash,
  type IdentityRecord,
  parseLeaf,
  RECORD_BYTES_MAX,
  signLeaf,
  signRecord,
} from '../../../shared/directory/record.ts';
import { QflError } from '../../../shared/errors.ts';
import { SiteId } from '../../../shared/ids.ts';
import { createVault, type Vault } from '../../../shared/keys/vault.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';

const north = SiteId.parse('north');
const T0 = 1_800_000_000_000;
const changed = { code: 'key_changed' };

let vault: Vault;
let coordinator: Vault;
let leaf: Uint8Array;
let joined: DirectoryState;
const newVault = (): Promise<Vault> => createVault(createMemoryStore(), secureRandomBytes);
const keysOf = (state: DirectoryState): SiteKeys => requireSite(state, north);
const fresh: DirectoryState = new Map();

beforeAll(async () => {
  [vault, coordinator] = await Promise.all([newVault(), newVault()]);
  leaf = await vault.identityLeaf(north, T0, undefined);
  const first = applyLeaf(fresh, await coordinator.identityLeaf(COORDINATOR_NAME, T0, undefined));
  joined = applyLeaf(first, leaf);
});

const nextIdentity = (identity: Identity, keys: SiteKeys, previous?: Identity): Uint8Array => {
  const { record } = parseLeaf(leaf);
  if (record.kind !== 'enrol') throw new Error('not an identity record');
  const next: IdentityRecord = {
    ...record,
    kind: 'rotate',
    sequence: keys.sequence + 1,
    previous: toHex(keys.lastLeaf),
    ed25519: toBase64(identity.publicKeys.ed25519),
    mldsa65: toBase64(identity.publicKeys.mldsa65),
    kem: { ...record.kem, epoch: 1 },
  };
  return signLeaf(next, identity, { previous });
};
const revocation = (keys: SiteKeys, signer: Identity, by: SiteId = COORDINATOR_NAME): Uint8Array =>
  signLeaf(
    {
      v: 1,
      kind: 'revoke',
      site: north,
      by,
      sequence: keys.sequence + 1,
      previous: toHex(keys.lastLeaf),
      atMs: T0,
      reason: 'left',
    },
    signer,
  );
/** The same leaf with one thing in its record changed, its signature kept. */
const altered = (bytes: Uint8Array, change: Record<string, unknown>): Uint8Array => {
  const { record, ...rest } = JSON.parse(fromUtf8(bytes));
  return utf8(JSON.stringify({ record: { ...record, ...change }, ...rest }));
};

describe('an identity record', () => {
  test('counts when both signatures hold, and only for an empty place in its chain', () => {
    expect(keysOf(joined).kem).toHaveLength(1);
    expect(toHex(keysOf(joined).lastLeaf)).toBe(toHex(directoryLeafHash(leaf)));
    expect(() => applyLeaf(joined, leaf)).toThrowError(expect.objectContaining(changed));
  });

  test('with any field changed is refused', async () => {
    const other = parseLeaf(await (await newVault()).identityLeaf(north, T0, undefined)).record;
    if (other.kind !== 'enrol') throw new Error('not an identity record');
    const { record } = parseLeaf(leaf);
    if (record.kind !== 'enrol') throw new Error('not an identity record');
    for (const change of [
      { site: 'south' },
      { atMs: T0 + 1 },
      { ed25519: other.ed25519 },
      { mldsa65: other.mldsa65 },
      { kem: other.kem },
      { kem: { ...record.kem, toMs: record.kem.toMs + 1 } },
      { sequence: 1 },
      { previous: '0'.repeat(64) },
    ])
      expect(() => applyLeaf(fresh, altered(leaf, change))).toThrowError(QflError);
  });

  test('with either signature missing or broken is refused', () => {
    const { record, signature } = parseLeaf(leaf);
    const broken = (text: string): string => {
      const bytes = Buffer.from(fromBase64(text));
      bytes[7]! ^= 1;
      return toBase64(bytes);
    };
    for (const bad of [
      { ...signature, mldsa65: null },
      { ...signature, mldsa65: broken(signature.mldsa65 ?? '') },
      { ...signature, ed25519: broken(signature.ed25519) },
      { ...signature, mldsa65: '' },
      { ...signature, ed25519: '' },
    ])
      expect(() => applyLeaf(fresh, utf8(JSON.stringify({ record, signature: bad })))).toThrowError(
        expect.objectContaining(changed),
      );
  });

  test('of a new identity needs the signature of the one before', () => {
    const next = createIdentity(Buffer.alloc(32, 9));
    const keys = keysOf(joined);
    expect(() => applyLeaf(joined, nextIdentity(next, keys))).toThrowError(expect.objectContaining(changed));
    expect(() =>
      applyLeaf(joined, nextIdentity(next, keys, createIdentity(Buffer.alloc(32, 8)))),
    ).toThrowError(expect.objectContaining(changed));
    const rotated = keysOf(applyLeaf(joined, nextIdentity(next, keys, vault.identity)));
    expect(toHex(rotated.identity.ed25519)).toBe(toHex(next.publicKeys.ed25519));
    expect(rotated.kem.map(({ epoch }) => epoch)).toEqual([1, 0]);
  });

  test('of the same identity with a new epoch carries both signatures too', async () => {
    const keys = keysOf(joined);
    const next = await vault.identityLeaf(north, T0 + DAY_MS, keys);
    expect(parseLeaf(next).record.kind).toBe('rotate');
    expect(keysOf(applyLeaf(joined, next)).kem).toHaveLength(2);
    const { record, signature } = parseLeaf(next);
    expect(() => applyLeaf(joined, utf8(JSON.stringify({ record, signature })))).toThrowError(
      expect.objectContaining(changed),
    );
  });

  test('enrols once; a second first record is refused even in its place', async () => {
    const keys = keysOf(joined);
    const { record } = parseLeaf(await vault.identityLeaf(north, T0, keys));
    if (record.kind !== 'rotate') throw new Error('not a rotation');
    const again = signLeaf({ ...record, kind: 'enrol' }, vault.identity, { previous: vault.identity });
    expect(() => applyLeaf(joined, again)).toThrowError(expect.objectContaining(changed));
  });
});

describe('a recovery', () => {
  const [east, west] = [SiteId.parse('east'), SiteId.parse('west')];
  let lost: Vault;
  let others: readonly [Vault, Vault];
  let four: DirectoryState;
  beforeAll(async () => {
    [lost, ...others] = [await newVault(), await newVault(), await newVault()];
    four = applyLeaf(joined, await others[0].identityLeaf(east, T0, undefined));
    four = applyLeaf(four, await others[1].identityLeaf(west, T0, undefined));
  });
  /** New keys for north, made at T0, as `change` has them, approved by these. */
  const recovery = async (
    approvedBy: readonly (readonly [SiteId, Identity])[],
    change: { fromMs?: number; atMs?: number } = {},
    keys = keysOf(four),
  ): Promise<Uint8Array> => {
    const { record } = parseLeaf(await lost.identityLeaf(north, T0, keys));
    if (record.kind !== 'rotate') throw new Error('not a rotation');
    const recover = { ...record, kind: 'recover' as const, fromMs: T0 + DAY_MS, ...change };
    const approvals = approvedBy.map(([site, by]) => ({ site, signature: signRecord(by, recover) }));
    return signLeaf(recover, lost.identity, { approvals });
  };
  const both = () =>
    [
      [east, others[0].identity],
      [west, others[1].identity],
    ] as const;
  const ed25519At = (state: DirectoryState, atMs: number): string =>
    toHex(requireSite(state, north, atMs).identity.ed25519);

  test('by two other sites counts after a day, not before', async () => {
    const waiting = applyLeaf(four, await recovery(both()));
    expect(ed25519At(waiting, T0 + DAY_MS - 1)).toBe(toHex(vault.identity.publicKeys.ed25519));
    expect(ed25519At(waiting, T0 + DAY_MS)).toBe(toHex(lost.identity.publicKeys.ed25519));
    const after = await lost.prekeyLeaf(T0 + DAY_MS, waiting.get(north)!);
    expect(keysOf(applyLeaf(waiting, after)).prekeys).toHaveLength(1);
    const early = await lost.prekeyLeaf(T0 + DAY_MS - 1, waiting.get(north)!);
    expect(() => applyLeaf(waiting, early)).toThrowError(expect.objectContaining(changed));
  });

  test('ends when the old identity speaks', async () => {
    const waiting = applyLeaf(four, await recovery(both()));
    const spoken = applyLeaf(waiting, await vault.prekeyLeaf(T0 + 1, waiting.get(north)!));
    expect(ed25519At(spoken, T0 + 2 * DAY_MS)).toBe(toHex(vault.identity.publicKeys.ed25519));
  });

  test('brings a revoked site back', async () => {
    const revoked = applyLeaf(four, revocation(keysOf(four), coordinator.identity));
    const waiting = applyLeaf(revoked, await recovery(both(), {}, revoked.get(north)));
    expect(() => requireSite(waiting, north, T0)).toThrowError(expect.objectContaining({ code: 'revoked' }));
    expect(ed25519At(waiting, T0 + DAY_MS)).toBe(toHex(lost.identity.publicKeys.ed25519));
  });

  test('without two different sites, by a stranger, by itself, or without the wait is refused', async () => {
    const [one, two] = both();
    const stranger = (await newVault()).identity;
    for (const leafBytes of [
      await recovery([]),
      await recovery([one]),
      await recovery([one, one]),
      await recovery([one, [west, stranger]]),
      await recovery([one, [north, vault.identity]]),
      await recovery([one, [COORDINATOR_NAME, coordinator.identity]]),
      await recovery([one, two], { fromMs: T0 + DAY_MS - 1 }),
      await recovery([one, two], { atMs: T0 + 1 }),
    ])
      expect(() => applyLeaf(four, leafBytes)).toThrowError(expect.objectContaining(changed));
  });
});

describe('a prekey record', () => {
  test('counts for its time; without one the epoch key is taken, by its name', async () => {
    expect(currentPrekey(keysOf(joined), T0).id).toBe('static-0');
    const withPrekey = applyLeaf(joined, await vault.prekeyLeaf(T0, keysOf(joined)));
    const [prekey] = keysOf(withPrekey).prekeys;
    expect(currentPrekey(keysOf(withPrekey), T0 + DAY_MS).id).toBe(prekey!.id);
    expect(currentPrekey(keysOf(withPrekey), T0 + 2 * DAY_MS).id).toBe('static-0');
    expect(currentPrekey(keysOf(withPrekey), T0 - 1).id).toBe('static-0');
    const nextDay = applyLeaf(withPrekey, await vault.prekeyLeaf(T0 + DAY_MS, keysOf(withPrekey)));
    expect(keysOf(nextDay).prekeys).toHaveLength(2);
    expect(currentPrekey(keysOf(nextDay), T0 + DAY_MS + 1).id).not.toBe(prekey!.id);
  });

  test('of another signer, for an unknown site, or out of its chain is refused', async () => {
    const stranger = await newVault();
    expect(() => applyLeaf(fresh, leafWithoutSite)).toThrowError(QflError);
    const byStranger = await stranger.prekeyLeaf(T0, keysOf(joined));
    expect(() => applyLeaf(joined, byStranger)).toThrowError(expect.objectContaining(changed));
    const good = await vault.prekeyLeaf(T0, keysOf(joined));
    const after = applyLeaf(joined, good);
    expect(() => applyLeaf(after, good)).toThrowError(expect.objectContaining(changed));
  });
  let leafWithoutSite: Uint8Array;
  beforeAll(async () => {
    leafWithoutSite = await vault.prekeyLeaf(T0, { ...keysOf(joined), sequence: -1 });
  });
});

describe('a revocation', () => {
  test('by the coordinator ends the site; nothing of it is accepted after', async () => {
    const gone = applyLeaf(joined, revocation(keysOf(joined), coordinator.identity));
    expect(() => requireSite(gone, north)).toThrowError(expect.objectContaining({ code: 'revoked' }));
    const back = await vault.prekeyLeaf(T0, gone.get(north)!);
    expect(() => applyLeaf(gone, back)).toThrowError(expect.objectContaining({ code: 'revoked' }));
    expect(() => applyLeaf(gone, nextIdentity(vault.identity, gone.get(north)!))).toThrowError(
      expect.objectContaining({ code: 'revoked' }),
    );
  });
  test('by anybody else is refused; by the site itself it counts when it says so', async () => {
    expect(() => applyLeaf(joined, revocation(keysOf(joined), vault.identity))).toThrowError(
      expect.objectContaining(changed),
    );
    const own = revocation(keysOf(joined), vault.identity, north);
    expect(applyLeaf(joined, own).get(north)?.revokedMs).toBe(T0);
    const stranger = (await newVault()).identity;
    for (const by of [north, SiteId.parse('south'), COORDINATOR_NAME])
      expect(() => applyLeaf(joined, revocation(keysOf(joined), stranger, by))).toThrowError(
        expect.objectContaining(changed),
      );
  });
});

describe('any bytes', () => {
  test('are a leaf or a protocol error', () => {
    expect(() => parseLeaf(new Uint8Array(RECORD_BYTES_MAX + 1))).toThrowError(
      expect.objectContaining({ code: 'too_large' }),
    );
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(() => applyLeaf(joined, utf8(text))).toThrowError(
          expect.objectContaining({ code: 'protocol' }),
        );
      }),
    );
  });
  test('a good leaf with one byte changed is never applied', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const bytes = Buffer.from(leaf);
        bytes[at % bytes.byteLength]! ^= by;
        expect(() => applyLeaf(fresh, bytes)).toThrowError(QflError);
      }),
      { numRuns: 150 },
    );
  });
  test('requireSite of nobody is unknown_key', () => {
    expect(() => requireSite(fresh, north)).toThrowError(expect.objectContaining({ code: 'unknown_key' }));
  });
});
