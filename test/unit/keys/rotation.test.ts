/** A vault that rotates: what is announced comes into force with its record, also after a crash; what is over is destroyed. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { toHex } from '../../../shared/bytes.ts';
import { DAY_MS, HOUR_MS } from '../../../shared/clock.ts';
import {
  applyLeaf,
  currentPrekey,
  type DirectoryState,
  identitiesAt,
  identitiesNow,
  KEM_OVERLAP_MS,
  requireSite,
} from '../../../shared/directory/chain.ts';
import { xwingKeyPair } from '../../../shared/crypto/xwing.ts';
import { COORDINATOR_NAME, parseLeaf, RotateRecord, signLeaf } from '../../../shared/directory/record.ts';
import { SiteId } from '../../../shared/ids.ts';
import {
  createVault,
  isEpochDue,
  openVault,
  PREKEY_LIFE_MS,
  type Vault,
} from '../../../shared/keys/vault.ts';
import { secureRandomBytes as random } from '../../../shared/random.ts';
import { openLevelStore } from '../../../shared/store/level.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import { PrekeyId } from '../../../shared/wire/envelope.ts';

const north = SiteId.parse('north');
const T0 = 1_800_000_000_000;
let store: Store;
let vault: Vault;
let state: DirectoryState;
const keys = () => requireSite(state, north);
const publish = (leaf: Uint8Array): void => void (state = applyLeaf(state, leaf));
const hex = (key: { readonly ed25519: Uint8Array }): string => toHex(key.ed25519);

beforeEach(async () => {
  store = createMemoryStore();
  vault = await createVault(store, random);
  state = applyLeaf(new Map(), await vault.identityLeaf(north, T0, undefined));
  publish(await vault.prekeyLeaf(T0, keys()));
});

describe('an epoch', () => {
  test('is due from day 75 of 90 on, and as the configuration says', () => {
    expect(isEpochDue(keys(), T0 + 75 * DAY_MS - 1, 90)).toBe(false);
    expect(isEpochDue(keys(), T0 + 75 * DAY_MS, 90)).toBe(true);
    expect(isEpochDue(keys(), T0 + 25 * DAY_MS, 30)).toBe(true);
  });

  test('overlaps with the one before for seven days; then its secret is destroyed', async () => {
    const atMs = T0 + 75 * DAY_MS;
    publish(await vault.rotationLeaf('kem', atMs, keys()));
    await vault.settle(keys(), atMs);
    expect(keys().kem.map(({ epoch }) => epoch)).toEqual([1, 0]);
    expect(keys().kem[1]?.toMs).toBe(atMs + KEM_OVERLAP_MS);
    const old = PrekeyId.parse('static-0');
    expect(await vault.prekeySeed(old)).toBeDefined();
    await vault.settle(keys(), atMs + KEM_OVERLAP_MS - 1);
    expect(await vault.prekeySeed(old)).toBeDefined();
    await vault.settle(keys(), atMs + KEM_OVERLAP_MS);
    expect(await vault.prekeySeed(old)).toBeUndefined();
    expect(await vault.prekeySeed(PrekeyId.parse('static-1'))).toBeDefined();
    expect(currentPrekey({ ...keys(), prekeys: [] }, atMs).id).toBe('static-1');
  });

  test('of before is good for its seven days, however often the key is changed in them', async () => {
    const [first, second] = [T0 + DAY_MS, T0 + 3 * DAY_MS];
    for (const atMs of [first, second]) {
      publish(await vault.rotationLeaf('kem', atMs, keys()));
      await vault.settle(keys(), atMs);
    }
    expect(keys().kem.map(({ epoch }) => epoch)).toEqual([2, 1, 0]);
    const oldest = PrekeyId.parse('static-0');
    await vault.settle(keys(), first + KEM_OVERLAP_MS - 1);
    expect(await vault.prekeySeed(oldest)).toBeDefined();
    await vault.settle(keys(), first + KEM_OVERLAP_MS);
    expect(await vault.prekeySeed(oldest)).toBeUndefined();
    expect(await vault.prekeySeed(PrekeyId.parse('static-1'))).toBeDefined();
  });

  test('that nobody renewed is sealed to no more once it is over', () => {
    const { kem } = keys();
    expect(() => currentPrekey({ ...keys(), prekeys: [] }, kem[0]!.toMs)).toThrowError(
      expect.objectContaining({ code: 'unknown_key' }) as Error,
    );
  });
});

describe('an identity', () => {
  test('is announced by both, counts with its record, and leaves every derived secret as it was', async () => {
    const before = { identity: hex(vault.identity.publicKeys), secret: toHex(vault.secretFor('blinding')) };
    const witness = vault.cosigners('w').map(({ key }) => key.text);
    const leaf = await vault.rotationLeaf('identity', T0 + DAY_MS, keys());
    expect(hex(vault.identity.publicKeys)).toBe(before.identity);
    publish(leaf);
    expect(await vault.settle(keys(), T0 + DAY_MS)).toBe(true);
    expect(hex(vault.identity.publicKeys)).toBe(hex(keys().identity));
    expect(hex(vault.identity.publicKeys)).not.toBe(before.identity);
    expect(toHex(vault.secretFor('blinding'))).toBe(before.secret);
    expect(vault.cosigners('w').map(({ key }) => key.text)).not.toEqual(witness);
    publish(await vault.prekeyLeaf(T0 + DAY_MS, keys()));
    const again = await openVault(store, random);
    expect(hex(again.identity.publicKeys)).toBe(hex(keys().identity));
  });

  test('after a crash behind the announcement counts all the same; one before it announces the same keys again', async () => {
    const first = await vault.rotationLeaf('identity', T0 + DAY_MS, keys());
    // The chain went on meanwhile: the leaf does not fit any more.
    publish(await vault.prekeyLeaf(T0 + DAY_MS, keys()));
    expect(() => applyLeaf(state, first)).toThrow();
    const reopened = await openVault(store, random);
    const second = await reopened.rotationLeaf('identity', T0 + DAY_MS + 1, keys());
    const identityOf = (leaf: Uint8Array): string => {
      const { record } = parseLeaf(leaf);
      return 'ed25519' in record ? record.ed25519 : '';
    };
    expect(identityOf(second)).toBe(identityOf(first));
    publish(second);
    const third = await openVault(store, random);
    expect(hex(third.identity.publicKeys)).not.toBe(hex(keys().identity));
    await third.settle(keys(), T0 + 2 * DAY_MS);
    expect(hex(third.identity.publicKeys)).toBe(hex(keys().identity));
  });

  test('before it is taken for an hour, and for what it signed in its time ever after', async () => {
    const old = keys().identity;
    publish(await vault.rotationLeaf('identity', T0 + DAY_MS, keys()));
    expect(identitiesNow(keys(), T0 + DAY_MS + HOUR_MS - 1).map(hex)).toEqual([
      hex(keys().identity),
      hex(old),
    ]);
    expect(identitiesNow(keys(), T0 + DAY_MS + HOUR_MS).map(hex)).toEqual([hex(keys().identity)]);
    expect(identitiesAt(keys(), T0 + HOUR_MS).map(hex)).toEqual([hex(old)]);
    expect(identitiesAt(keys(), T0 + 3 * DAY_MS).map(hex)).toEqual([hex(keys().identity)]);
    expect(identitiesAt(keys(), T0 - DAY_MS)).toEqual([]);
  });

  test('in an emergency is refused at once, with every epoch and prekey of before', async () => {
    const old = keys().identity;
    const prekey = keys().prekeys[0]!.id;
    publish(await vault.rotationLeaf('emergency', T0 + DAY_MS, keys()));
    await vault.settle(keys(), T0 + DAY_MS);
    expect(identitiesNow(keys(), T0 + DAY_MS).map(hex)).toEqual([hex(keys().identity)]);
    expect(keys().kem).toHaveLength(1);
    expect(keys().prekeys).toEqual([]);
    expect(await vault.prekeySeed(prekey)).toBeUndefined();
    expect(await vault.prekeySeed(PrekeyId.parse('static-0'))).toBeUndefined();
    expect(identitiesAt(keys(), T0 + HOUR_MS).map(hex)).toEqual([hex(old)]);
  });

  test('another one under the name leaves the keys here alone', async () => {
    const other = await createVault(createMemoryStore(), random);
    expect(await other.settle({ ...keys(), kem: [{ ...keys().kem[0]!, epoch: 9 }] }, T0)).toBe(false);
    expect(await other.kemKeys()).toHaveLength(1);
  });
});

describe('a lockdown record', () => {
  const record = (vaultOf: Vault, on: boolean, site = COORDINATOR_NAME): Uint8Array => {
    const before = state.get(site)!;
    return signLeaf(
      {
        v: 1,
        kind: 'lockdown',
        site,
        sequence: before.sequence + 1,
        previous: toHex(before.lastLeaf),
        atMs: T0,
        on,
      },
      vaultOf.identity,
    );
  };

  test('is the coordinator’s alone, and goes on and off in turn', async () => {
    const coordinator = await createVault(createMemoryStore(), random);
    publish(await coordinator.identityLeaf(COORDINATOR_NAME, T0, undefined));
    expect(() => applyLeaf(state, record(coordinator, false))).toThrow(/no lockdown/);
    expect(() => applyLeaf(state, record(vault, true))).toThrow(/coordinator alone/);
    expect(() => applyLeaf(state, record(vault, true, north))).toThrow(/coordinator alone/);
    publish(record(coordinator, true));
    expect(state.get(COORDINATOR_NAME)?.lockdown).toEqual({ sinceMs: T0 });
    expect(() => applyLeaf(state, record(coordinator, true))).toThrow(/already/);
    publish(record(coordinator, false));
    expect(state.get(COORDINATOR_NAME)?.lockdown).toBeUndefined();
  });
});

describe('an emergency', () => {
  test('draws anew, whatever an attempt before has drawn', async () => {
    const earlier = RotateRecord.parse(
      parseLeaf(await vault.rotationLeaf('identity', T0 + 1, keys())).record,
    );
    const now = RotateRecord.parse(parseLeaf(await vault.rotationLeaf('emergency', T0 + 2, keys())).record);
    expect(now.ed25519).not.toBe(earlier.ed25519);
    expect(now.kem.key).not.toBe(earlier.kem.key);
    expect(now.kem.epoch).toBe(earlier.kem.epoch);
  });

  test('does not lose keys that were announced after all; whichever it is, the others are destroyed', async () => {
    const earlier = await vault.rotationLeaf('identity', T0 + 1, keys());
    await vault.rotationLeaf('emergency', T0 + 2, keys());
    // The coordinator had kept the record back.
    publish(earlier);
    vault = await openVault(store, random);
    expect(await vault.settle(keys(), T0 + 3)).toBe(true);
    expect(hex(vault.identity.publicKeys)).toBe(hex(keys().identity));
    const opened = (await vault.prekeySeed(PrekeyId.parse('static-1')))!;
    expect(toHex(xwingKeyPair(opened).publicKey)).toBe(toHex(keys().kem[0]!.key));
    for (const prefix of ['key/spare-identity/', 'key/spare-kem/', 'key/identity-next'])
      for await (const key of store.keys({ prefix })) expect(key).toBe('nothing is left');
  });

  test('destroys every prekey of before, also when the program ends at any write', async () => {
    const { id } = keys().prekeys[0]!;
    publish(await vault.rotationLeaf('emergency', T0 + 10, keys()));
    for (let at = 1; at < 12; at += 1) {
      const copy = createMemoryStore();
      for await (const { key, value } of store.list({ prefix: '' }))
        await copy.write([{ type: 'put', key, value }]);
      let writes = 0;
      const cut: Store = {
        ...copy,
        write: (operations, options) =>
          (writes += 1) === at
            ? Promise.reject(new Error('the power went'))
            : copy.write(operations, options),
      };
      const first = await openVault(cut, random);
      await first.settle(keys(), T0 + 11).catch(() => undefined);
      const next = await openVault(copy, random);
      await next.settle(keys(), T0 + 12);
      expect([at, await next.prekeySeed(id)]).toEqual([at, undefined]);
    }
  });

  test('leaves a prekey that was made since and is not announced yet', async () => {
    publish(await vault.rotationLeaf('emergency', T0 + 10, keys()));
    await vault.settle(keys(), T0 + 10);
    const leaf = await vault.prekeyLeaf(T0 + 11, keys());
    await vault.settle(keys(), T0 + 12);
    publish(leaf);
    expect(await vault.prekeySeed(keys().prekeys[0]!.id)).toBeDefined();
  });
});

describe('on the disk', () => {
  let folder: string;
  let level: Store;
  let broken: boolean;
  const inFiles = async (secret: Uint8Array): Promise<boolean> => {
    const files = await readdir(folder);
    const contents = await Promise.all(files.map((file) => readFile(join(folder, file))));
    return contents.some((content) => content.includes(Buffer.from(secret)));
  };
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'qfl-vault-'));
    level = await openLevelStore(folder);
    broken = false;
    store = {
      get: (key) => level.get(key),
      list: (options) => level.list(options),
      keys: (options) => level.keys(options),
      write: (operations, options) => level.write(operations, options),
      compact: (prefix) => (broken ? Promise.reject(new Error('the power went')) : level.compact(prefix)),
      close: () => level.close(),
    };
    vault = await createVault(store, random);
    state = applyLeaf(new Map(), await vault.identityLeaf(north, T0, undefined));
    publish(await vault.prekeyLeaf(T0, keys()));
  });
  afterEach(async () => {
    await level.close();
    await rm(folder, { recursive: true });
  });

  test('a prekey whose time is over is not left in any file, also when a crash comes between', async () => {
    const { id } = keys().prekeys[0]!;
    const stored = (await level.get(`key/prekey/${id}`))!;
    const secret = Buffer.from(stored).subarray(0, 40);
    expect(await inFiles(secret)).toBe(true);
    broken = true;
    await expect(vault.forgetPrekeys(T0 + PREKEY_LIFE_MS)).rejects.toThrow('the power went');
    expect(await vault.prekeySeed(id)).toBeUndefined();
    expect(await inFiles(secret)).toBe(true);
    broken = false;
    await openVault(store, random);
    expect(await inFiles(secret)).toBe(false);
  });

  test('nor is the seed of an identity that was replaced', async () => {
    publish(await vault.rotationLeaf('identity', T0 + 1, keys()));
    await vault.settle(keys(), T0 + 1);
    const seed = (await level.get('key/identity-now'))!;
    expect(await inFiles(seed)).toBe(true);
    publish(await vault.rotationLeaf('identity', T0 + 2, keys()));
    await vault.settle(keys(), T0 + 2);
    expect(await level.get('key/identity-now')).not.toEqual(seed);
    expect(await inFiles(seed)).toBe(false);
  });
});
