/** Another master key: stopped at each write, the folder opens with whichever key is there, and in the end only with the new one. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { toBase64, toHex } from '../../../shared/bytes.ts';
import { restoreBackup } from '../../../shared/backup/read.ts';
import { writeBackup } from '../../../shared/backup/write.ts';
import { noteRotation, logNotedRotation, masterKeyInForce } from '../../../shared/keys/master-rotation.ts';
import {
  findMasterKey,
  type KeyFiles,
  type MasterKeySources,
  openDataKey,
  rotateMasterKey,
} from '../../../shared/keys/master.ts';
import { secureRandomBytes as random } from '../../../shared/random.ts';
import { openAtRest } from '../../../shared/store/encrypted.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { writeWholeFile } from '../../../shared/whole-file.ts';

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'qfl-master-'));
});
afterEach(() => rm(home, { recursive: true }));

const sources = (rest: Partial<MasterKeySources> = {}): MasterKeySources => ({
  home,
  environment: undefined,
  credentialsFolder: undefined,
  ...rest,
});
const open = (rest?: Partial<MasterKeySources>) => openDataKey(sources(rest), { create: false, random });
const create = (rest?: Partial<MasterKeySources>) => openDataKey(sources(rest), { create: true, random });

/** Ends with the step `at`; `done`: that step still happened. */
const cutAt = (at: number, done: boolean): KeyFiles & { steps(): number } => {
  let step = 0;
  const through = async (work: () => Promise<unknown>): Promise<unknown> => {
    step += 1;
    if (step < at) return work();
    if (done) await work();
    throw new Error('the power went');
  };
  return {
    steps: () => step,
    read: readFile,
    write: (path, content) => through(() => writeWholeFile(path, content)),
    move: (from, to) => through(() => rename(from, to)),
  };
};

describe('a master key in the home folder', () => {
  const stops = [1, 2, 3, 4].flatMap((at) => [
    { at, done: false },
    { at, done: true },
  ]);
  test.each(stops)(
    'stopped at write $at (done: $done): it opens, and a second attempt finishes',
    async (stop) => {
      const dataKey = toHex(await create());
      const cut = cutAt(stop.at, stop.done);
      await expect(rotateMasterKey(sources(), { random, files: cut })).rejects.toThrow('the power went');
      expect(cut.steps()).toBe(stop.at);
      expect(toHex(await open())).toBe(dataKey);
      expect(toHex(await open())).toBe(dataKey);
      expect(await rotateMasterKey(sources(), { random })).toBe('file');
      expect(toHex(await open())).toBe(dataKey);
      expect((await readdir(home)).toSorted()).toEqual(['data.key', 'master.key']);
    },
  );

  test('is replaced: nothing opens under the old one any more, and no copy of it is left', async () => {
    const dataKey = toHex(await create());
    const old = toBase64((await findMasterKey(sources()))!);
    await rotateMasterKey(sources(), { random });
    expect(toHex(await open())).toBe(dataKey);
    await expect(open({ environment: old })).rejects.toMatchObject({ code: 'storage_failed' });
    for (const name of await readdir(home))
      expect(await readFile(join(home, name), 'utf8')).not.toContain(old);
  });

  test('may be given; one that was cut short before does not come back', async () => {
    const dataKey = toHex(await create());
    await expect(rotateMasterKey(sources(), { random, files: cutAt(1, true) })).rejects.toThrow();
    const next = randomBytes(32);
    await rotateMasterKey(sources(), { next, random });
    expect(toHex((await findMasterKey(sources()))!)).toBe(toHex(next));
    expect(toHex(await open())).toBe(dataKey);
  });
});

describe('a disk that does not keep what it is given', () => {
  test.each(['data.key.next', 'master.key.next'])('%s is read back: nothing is changed', async (name) => {
    const dataKey = toHex(await create());
    const files: KeyFiles = {
      read: readFile,
      write: (path, content) =>
        writeWholeFile(path, path.endsWith(name) ? Buffer.from(content).fill(65, 8, 12) : content),
      move: rename,
    };
    await expect(rotateMasterKey(sources(), { random, files })).rejects.toMatchObject({
      code: 'storage_failed',
    });
    expect(toHex(await open())).toBe(dataKey);
    await rotateMasterKey(sources(), { random });
    expect(toHex(await open())).toBe(dataKey);
  });
});

describe('the master key of a program that runs', () => {
  const audit = {
    record: () => Promise.resolve({ index: 0, leafHash: new Uint8Array(32), id: '' }),
  };
  const fileOf = async (key: Uint8Array): Promise<string> => {
    const path = join(home, `given-${toHex(key).slice(0, 8)}`);
    await writeFile(path, toBase64(key), { mode: 0o600 });
    return path;
  };

  test('is changed by one at a time', async () => {
    const dataKey = toHex(await create());
    const master = masterKeyInForce(sources(), { audit, random });
    await Promise.all(Array.from({ length: 8 }, () => master.rotate(null, 'admin')));
    expect(toHex(await open())).toBe(dataKey);
  });

  test('that came from outside is the new one at once, for backups and for another change', async () => {
    const [old, next, third] = [randomBytes(32), randomBytes(32), randomBytes(32)];
    const environment = toBase64(old);
    const dataKey = toHex(await create({ environment }));
    const master = masterKeyInForce(sources({ environment }), { audit, random });
    expect(toHex((await master.keys()).masterKey)).toBe(toHex(old));
    await master.rotate(await fileOf(next), 'admin');
    const keys = await master.keys();
    expect(toHex(keys.masterKey)).toBe(toHex(next));
    expect(toHex(openAtRest(next, 'qfl data key', keys.wrapped))).toBe(dataKey);
    await master.rotate(await fileOf(third), 'admin');
    expect(toHex(await open({ environment: toBase64(third) }))).toBe(dataKey);
  });

  test('and a backup keeps the data key as it was, whatever changes while it is made', async () => {
    await create();
    const dataKey = toHex(await open());
    const master = masterKeyInForce(sources(), { audit, random });
    const keys = await master.keys();
    const head = { program: 'agent', name: 'north', createdMs: 0, generator: 'test' } as const;
    const store = createMemoryStore();
    await store.write([{ type: 'put', key: 'a', value: new Uint8Array(1) }]);
    const source = {
      head,
      folder: home,
      filesBefore: [],
      stores: [{ name: 'store' as const, store }],
      filesAfter: [],
    };
    const file = join(home, 'backup');
    const backup = writeBackup(source, keys);
    const first = await backup.next();
    await master.rotate(null, 'admin');
    const pieces = [first.value!];
    for await (const piece of backup) pieces.push(piece);
    await writeFile(file, Buffer.concat(pieces));
    const { masterKey } = keys;
    const restored = await restoreBackup({ file, folder: join(home, 'restored'), masterKey, random });
    expect(toHex(restored.dataKey)).toBe(dataKey);
  });
});

describe('a master key from outside', () => {
  test('has to be given, and is then what the next start needs', async () => {
    const [old, next] = [randomBytes(32), randomBytes(32)];
    const environment = toBase64(old);
    const dataKey = toHex(await create({ environment }));
    await expect(rotateMasterKey(sources({ environment }), { random })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    expect(await rotateMasterKey(sources({ environment }), { next, random })).toBe('environment');
    await expect(open({ environment })).rejects.toMatchObject({ code: 'storage_failed' });
    expect(toHex(await open({ environment: toBase64(next) }))).toBe(dataKey);
    expect(await readdir(home)).toEqual(['data.key']);
  });

  test('as a credential the same', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qfl-credential-'));
    const rest = { credentialsFolder: folder };
    const next = randomBytes(32);
    await writeFile(join(folder, 'master.key'), toBase64(randomBytes(32)));
    const dataKey = toHex(await create(rest));
    expect(await rotateMasterKey(sources(rest), { next, random })).toBe('credential');
    await writeFile(join(folder, 'master.key'), toBase64(next));
    expect(toHex(await open(rest))).toBe(dataKey);
    await rm(folder, { recursive: true });
  });
});

test('a change while the program rests is in its log once', async () => {
  const store = createMemoryStore();
  const actions: string[] = [];
  const audit = {
    record: ({ action }: { action: string }) => {
      actions.push(action);
      return Promise.resolve({ index: 0, leafHash: new Uint8Array(32), id: '' });
    },
  };
  await noteRotation(store);
  await logNotedRotation(store, audit);
  await logNotedRotation(store, audit);
  expect(actions).toEqual(['key.rotated']);
});
