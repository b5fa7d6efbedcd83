/** Encryption at rest: what lies on the disk, and what a changed disk does. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fromUtf8, utf8 } from '../../../shared/bytes.ts';
import { blind, encryptedStore } from '../../../shared/store/encrypted.ts';
import { openLevelStore } from '../../../shared/store/level.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { createVault } from '../../../shared/keys/vault.ts';
import { secureRandomBytes } from '../../../shared/random.ts';

const NAME = 'Quillfeather, Petronella';

describe('the encrypted store', () => {
  test('leaves no name and no key in the raw files', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qfl-raw-'));
    const store = encryptedStore(await openLevelStore(folder), randomBytes(32));
    const vault = await createVault(store, secureRandomBytes);
    const blinded = blind(vault.secretFor('test'), 'patient', NAME);
    for (let index = 0; index < 200; index += 1)
      await store.write([{ type: 'put', key: `p/${blinded}/${index}`, value: utf8(`${NAME} ${index}`) }], {
        durable: false,
      });
    const seed = await store.get('key/identity');
    await store.close();
    const files = await Promise.all((await readdir(folder)).map((file) => readFile(join(folder, file))));
    const raw = Buffer.concat(files);
    expect(raw.byteLength).toBeGreaterThan(200 * 60);
    expect(raw.includes(blinded)).toBe(true);
    for (const secret of [utf8(NAME), utf8('Quillfeather'), seed!, vault.identity.publicKeys.ed25519])
      expect(raw.includes(Buffer.from(secret))).toBe(false);
    await rm(folder, { recursive: true });
  });

  test('refuses a value that was changed, cut, moved to another key, or sealed under another key', async () => {
    const inner = createMemoryStore();
    const store = encryptedStore(inner, randomBytes(32));
    await store.write([{ type: 'put', key: 'a', value: utf8(NAME) }]);
    const sealed = (await inner.get('a'))!;
    const changed = Buffer.from(sealed);
    changed[30]! ^= 1;
    for (const [key, value] of [
      ['a', changed],
      ['a', sealed.subarray(0, -1)],
      ['a', sealed.subarray(0, 10)],
      ['a', new Uint8Array(0)],
      ['b', sealed],
    ] as const) {
      await inner.write([{ type: 'put', key, value }]);
      await expect(store.get(key)).rejects.toMatchObject({ code: 'storage_failed' });
    }
    await inner.write([{ type: 'put', key: 'a', value: sealed }]);
    expect(fromUtf8((await store.get('a'))!)).toBe(NAME);
    await expect(encryptedStore(inner, randomBytes(32)).get('a')).rejects.toMatchObject({
      code: 'storage_failed',
    });
  });

  test('the same value twice looks different', async () => {
    const inner = createMemoryStore();
    const store = encryptedStore(inner, randomBytes(32));
    await store.write([{ type: 'put', key: 'a', value: utf8(NAME) }]);
    const first = Buffer.from((await inner.get('a'))!);
    await store.write([{ type: 'put', key: 'a', value: utf8(NAME) }]);
    expect(first.equals((await inner.get('a'))!)).toBe(false);
  });

  test('blinded names: the same for the same parts, no two lists of parts alike', () => {
    const key = randomBytes(32);
    expect(blind(key, 'a', 'b')).toBe(blind(key, 'a', 'b'));
    expect(
      new Set([blind(key, 'ab', ''), blind(key, 'a', 'b'), blind(key, '', 'ab'), blind(key, 'ab')]).size,
    ).toBe(4);
    expect(blind(randomBytes(32), 'a', 'b')).not.toBe(blind(key, 'a', 'b'));
  });
});

describe('a Level folder', () => {
  test('that is open elsewhere is a conflict with what to do', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qfl-lock-'));
    const store = await openLevelStore(folder);
    await expect(openLevelStore(folder)).rejects.toMatchObject({
      code: 'conflict',
      next: expect.any(String),
    });
    await store.close();
    await (await openLevelStore(folder)).close();
    await rm(folder, { recursive: true });
  });
  test('that cannot be made is a storage error', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qfl-file-'));
    await writeFile(join(folder, 'file'), '');
    await expect(openLevelStore(join(folder, 'file'))).rejects.toMatchObject({ code: 'storage_failed' });
    await rm(folder, { recursive: true });
  });
  test('a write after the close is a storage error', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qfl-closed-'));
    const store = await openLevelStore(folder);
    await store.close();
    await expect(store.write([{ type: 'del', key: 'a' }])).rejects.toMatchObject({ code: 'storage_failed' });
    await rm(folder, { recursive: true });
  });
});
