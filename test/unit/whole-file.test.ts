/** A file is there whole or not at all, for its owner only, and what had its name before stays when anything fails. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { utf8 } from '../../shared/bytes.ts';
import { moveFile, writeWholeFile } from '../../shared/whole-file.ts';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qfl-whole-'));
  file = join(folder, 'name');
});
afterEach(() => rm(folder, { recursive: true }));

async function* pieces(failAt = Infinity): AsyncGenerator<string | Uint8Array> {
  for (let at = 0; at < 4; at += 1) {
    if (at === failAt) throw new Error('the source failed');
    yield at % 2 === 0 ? 'even ' : utf8('odd ');
  }
}
const text = (): Promise<string> => readFile(file, 'utf8');

describe('a whole file', () => {
  test('holds the bytes, or the pieces in order, and says how many bytes', async () => {
    expect(await writeWholeFile(file, utf8('bytes'))).toBe(5);
    expect(await text()).toBe('bytes');
    expect(await writeWholeFile(file, pieces())).toBe(18);
    expect(await text()).toBe('even odd even odd ');
    expect(await readdir(folder)).toEqual(['name']);
  });

  test('is for its owner only, also where a crash left a part that is not', async () => {
    await writeFile(`${file}.partial`, 'longer than what comes', { mode: 0o644 });
    await writeWholeFile(file, utf8('x'));
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await text()).toBe('x');
  });

  test('is as before when the source fails, at every piece', async () => {
    await writeFile(file, 'before');
    for (let at = 0; at < 4; at += 1) {
      await expect(writeWholeFile(file, pieces(at))).rejects.toThrow('the source failed');
      expect(await text()).toBe('before');
      expect(await readdir(folder)).toEqual(['name']);
    }
  });

  test('is as before when the look at it fails; the look sees the whole of the new one', async () => {
    await writeFile(file, 'before');
    let seen = '';
    const check = async (partial: string): Promise<void> => {
      seen = await readFile(partial, 'utf8');
      throw new Error('not as it should be');
    };
    await expect(writeWholeFile(file, utf8('after'), check)).rejects.toThrow('not as it should be');
    expect(seen).toBe('after');
    expect(await text()).toBe('before');
    expect(await readdir(folder)).toEqual(['name']);
  });

  test('moves over another', async () => {
    await writeFile(join(folder, 'old'), 'old');
    await writeFile(file, 'before');
    await moveFile(join(folder, 'old'), file);
    expect(await text()).toBe('old');
    expect(await readdir(folder)).toEqual(['name']);
  });
});
