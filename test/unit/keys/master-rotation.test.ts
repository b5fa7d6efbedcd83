/** Another master key: stopped at each write, the folder opens with whichever key is there, and in the end only with the new one. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { toBase64, toHex } from '../../../shared/bytes.ts';
import { noteRotation, logNotedRotation } from '../../../shared/keys/master-rotation.ts';
import {
  findMasterKey,
  type KeyFiles,
  type MasterKeySources,
  openDataKey,
  rotateMasterKey,
} from '../../../shared/keys/master.ts';
import { secureRandomBytes as random } from '../../../shared/random.ts';
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
    write: (path, content) => through(() => writeWholeFile(path, content)),
    move: (from, to) => through(() => rename(from, to)),
  };
};

describe('a master key in the home folder', () => {
  const stops = [1, 2, 3].flatMap((at) => [
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
