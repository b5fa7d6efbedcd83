/** Keys of a home folder: where the master key may come from, and what happens when it is lost, open to others or wrong. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { toBase64, toHex } from '../../../shared/bytes.ts';
import { DAY_MS } from '../../../shared/clock.ts';
import {
  applyLeaf,
  currentPrekey,
  type DirectoryState,
  requireSite,
} from '../../../shared/directory/chain.ts';
import { SiteId } from '../../../shared/ids.ts';
import { findMasterKey, type MasterKeySources, openDataKey } from '../../../shared/keys/master.ts';
import { createVault, openVault, PREKEY_LIFE_MS } from '../../../shared/keys/vault.ts';
import { secureRandomBytes as random } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';

let folder: string;
let home: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qfl-keys-'));
  home = join(folder, 'home');
});
afterEach(() => rm(folder, { recursive: true }));
const sources = (rest: Partial<MasterKeySources> = {}): MasterKeySources => ({
  home,
  environment: undefined,
  credentialsFolder: undefined,
  ...rest,
});
const create = (rest?: Partial<MasterKeySources>) => openDataKey(sources(rest), { create: true, random });
const open = (rest?: Partial<MasterKeySources>) => openDataKey(sources(rest), { create: false, random });
const invalid = { code: 'config_invalid', next: expect.any(String) };

describe('the data key', () => {
  test('is made once, with folder and files that only the owner reads, and is the same ever after', async () => {
    const made = await create();
    expect(made.byteLength).toBe(32);
    for (const [path, mode] of [
      [home, 0o700],
      [join(home, 'master.key'), 0o600],
      [join(home, 'data.key'), 0o600],
    ] as const)
      expect((await stat(path)).mode & 0o777).toBe(mode);
    expect(toHex(await open())).toBe(toHex(made));
    expect(toHex(await create())).toBe(toHex(made));
    const raw = await readFile(join(home, 'data.key'));
    expect(raw.includes(Buffer.from(made))).toBe(false);
  });

  test('of a folder that was never set up is not made in passing', async () => {
    await expect(open()).rejects.toMatchObject(invalid);
    await expect(stat(home)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('without its master key is lost: an error, never a new key', async () => {
    await create();
    await rm(join(home, 'master.key'));
    await expect(open()).rejects.toMatchObject(invalid);
    await expect(create()).rejects.toMatchObject(invalid);
  });

  test('under another master key, or changed on the disk, does not open', async () => {
    await create();
    await expect(open({ environment: toBase64(randomBytes(32)) })).rejects.toMatchObject({
      code: 'storage_failed',
    });
    const path = join(home, 'data.key');
    const raw = await readFile(path);
    raw[40]! ^= 1;
    await writeFile(path, raw);
    await expect(open()).rejects.toMatchObject({ code: 'storage_failed' });
  });

  test('with a master key from outside leaves no key file behind', async () => {
    const environment = toBase64(randomBytes(32));
    const made = await create({ environment });
    await expect(stat(join(home, 'master.key'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(toHex(await open({ environment }))).toBe(toHex(made));
    await expect(open()).rejects.toMatchObject(invalid);
  });
});

describe('the master key', () => {
  test('environment before credential before file', async () => {
    await create();
    const [inEnvironment, inCredential] = [randomBytes(32), randomBytes(32)];
    await writeFile(join(folder, 'master.key'), `${toBase64(inCredential)}\n`);
    const file = await findMasterKey(sources());
    expect(file?.byteLength).toBe(32);
    const credential = await findMasterKey(sources({ credentialsFolder: folder }));
    expect(toHex(credential!)).toBe(toHex(inCredential));
    const environment = await findMasterKey(
      sources({ credentialsFolder: folder, environment: toBase64(inEnvironment) }),
    );
    expect(toHex(environment!)).toBe(toHex(inEnvironment));
    const noCredential = await findMasterKey(sources({ credentialsFolder: join(folder, 'none') }));
    expect(toHex(noCredential!)).toBe(toHex(file!));
  });

  test('a file that others can read, and a key of another length, are refused', async () => {
    await create();
    const path = join(home, 'master.key');
    for (const mode of [0o640, 0o604, 0o644]) {
      await chmod(path, mode);
      await expect(open()).rejects.toMatchObject(invalid);
    }
    await chmod(path, 0o600);
    await expect(open({ environment: 'c2hvcnQ=' })).rejects.toMatchObject(invalid);
    await expect(open({ environment: '' })).rejects.toMatchObject(invalid);
    await writeFile(path, 'nothing');
    await expect(open()).rejects.toMatchObject(invalid);
  });
});

describe('the vault', () => {
  const north = SiteId.parse('north');
  const T0 = 1_800_000_000_000;

  test('is made once and gives the same keys ever after', async () => {
    const store = createMemoryStore();
    await expect(openVault(store, random)).rejects.toMatchObject(invalid);
    const made = await createVault(store, random);
    await expect(createVault(store, random)).rejects.toMatchObject({ code: 'conflict' });
    const opened = await openVault(store, random);
    expect(toHex(opened.identity.publicKeys.ed25519)).toBe(toHex(made.identity.publicKeys.ed25519));
    expect(toHex(opened.noteSeed('a'))).toBe(toHex(made.noteSeed('a')));
    const derived = [made.noteSeed('a'), made.noteSeed('b'), made.secretFor('a'), made.secretFor('b')].map(
      toHex,
    );
    expect(new Set(derived).size).toBe(4);
    const [[before], [after]] = await Promise.all([made.kemKeys(), opened.kemKeys()]);
    expect(toHex(after!.pair.publicKey)).toBe(toHex(before!.pair.publicKey));
  });

  test('has the secret of what it announced, and destroys a prekey when its time is over', async () => {
    const vault = await createVault(createMemoryStore(), random);
    let state: DirectoryState = applyLeaf(new Map(), await vault.identityLeaf(north, T0, undefined));
    const ids: Parameters<typeof vault.prekeySeed>[0][] = [];
    for (let day = 0; day < 3; day += 1) {
      state = applyLeaf(state, await vault.prekeyLeaf(T0 + day * DAY_MS, requireSite(state, north)));
      const newest = requireSite(state, north).prekeys.at(-1)!;
      ids.push(newest.id);
      expect((await vault.prekeySeed(newest.id))?.byteLength).toBe(32);
    }
    await vault.forgetPrekeys(T0 + PREKEY_LIFE_MS);
    const kept = await Promise.all(ids.map(async (id) => (await vault.prekeySeed(id)) !== undefined));
    expect(kept).toEqual([false, true, true]);
    const epoch = currentPrekey({ ...requireSite(state, north), prekeys: [] }, T0);
    const [kem] = await vault.kemKeys();
    expect(toHex((await vault.prekeySeed(epoch.id))!)).toBe(toHex(kem!.pair.seed));
  });

  test('two vaults with the same broken generator still differ where the secret enters', async () => {
    const broken = (count: number): Uint8Array => new Uint8Array(count);
    const [left, right] = await Promise.all([
      createVault(createMemoryStore(), random),
      createVault(createMemoryStore(), random),
    ]);
    const seeds = [left, right].map((vault) => vault.hedge.seed('x', new Uint8Array(0), 32));
    expect(toHex(seeds[0]!)).not.toBe(toHex(seeds[1]!));
    const store = createMemoryStore();
    await createVault(store, random);
    const hedged = (await openVault(store, broken)).hedge;
    expect(toHex(hedged.seed('a', new Uint8Array(0), 32))).not.toBe(
      toHex(hedged.seed('b', new Uint8Array(0), 32)),
    );
  });
});
