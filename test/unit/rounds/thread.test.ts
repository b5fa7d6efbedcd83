/** Masking and opening come out alike wherever they are done: at once, in pieces, in a thread. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hashSlowly, maskApart, openApart } from '../../../shared/rounds/thread.ts';
import { blake2b } from '../../../shared/crypto/hash.ts';
import { addWords, bytesOf, mask, type Masks, wordsOf } from '../../../shared/rounds/words.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qfl-thread-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const masksOf = (plus: number, minus: number): Masks => {
  const seeds = (count: number) => Array.from({ length: count }, () => Uint8Array.from(randomBytes(32)));
  return { plus: seeds(plus), minus: seeds(minus) };
};
// Short enough to be done at once; in pieces; with too many keystreams for pieces, in a thread.
const SIZES = [
  [1_000, 3, 2],
  [200_003, 3, 4],
  [20_001, 60, 50],
] as const;

describe('a vector', () => {
  it.each(SIZES)('of %i words is masked with %i keystreams and %i', async (length, plus, minus) => {
    const masks = masksOf(plus, minus);
    const words = wordsOf(Buffer.from(randomBytes(length * 4)));
    const expected = Uint32Array.from(words);
    mask(expected, masks);
    const masked = await maskApart(Uint32Array.from(words), masks);
    expect(Buffer.compare(bytesOf(masked), bytesOf(expected))).toBe(0);
  });

  it('in pieces lets others have their turn', async () => {
    let turns = 0;
    const count = setInterval(() => (turns += 1), 0);
    await maskApart(new Uint32Array(2_000_000), masksOf(4, 4));
    clearInterval(count);
    expect(turns).toBeGreaterThan(2);
  });
});

describe('files', () => {
  it.each(SIZES)(
    'of %i words are summed and uncovered of %i keystreams and %i',
    async (length, plus, minus) => {
      const masks = masksOf(plus, minus);
      const vectors = Array.from({ length: 3 }, () => wordsOf(Buffer.from(randomBytes(length * 4))));
      const paths = vectors.map((_, at) => join(folder, `${length}-${at}`));
      for (const [at, vector] of vectors.entries()) await writeFile(paths[at]!, bytesOf(vector));
      const expected = new Uint32Array(length);
      for (const vector of vectors) addWords(expected, vector);
      mask(expected, masks);
      const sum = await openApart(paths, length, masks);
      expect(Buffer.compare(bytesOf(sum), bytesOf(expected))).toBe(0);
    },
  );

  it.each(SIZES)('that are too short for %i words are no sum', async (length, plus, minus) => {
    const path = join(folder, `short-${length}`);
    await writeFile(path, Buffer.alloc(length * 4 - 4));
    await expect(openApart([path], length, masksOf(plus, minus))).rejects.toThrow(/whole|thread for masks/);
  });
});

describe('a long vector', () => {
  it.each([0, 1, 1_048_575, 1_048_576, 3_000_001])(
    'of %i bytes has the hash of all at once',
    async (length) => {
      const bytes = randomBytes(length);
      expect(await hashSlowly(bytes)).toEqual(blake2b(32, bytes));
    },
  );
});
