/** What is made of vectors that lie in files, a chunk at a time. */
import { open } from 'node:fs/promises';
import { assert } from '../errors.ts';
import { CHUNK_BYTES } from './messages.ts';
import { addDistances, krumChoice, robustPiece, type RobustRule } from './robust.ts';
import { addWords, centred, masking, type Masks, toWords, WORD_BYTES, type Words, wordsOf } from './words.ts';

type Signed = Int32Array<ArrayBuffer>;

/** Between two pieces of the work: where others share the thread, they get a turn. */
export type Breathe = () => Promise<void>;

/** Adds a spooled vector to the sum, a chunk at a time. */
const addFile = async (sum: Words, path: string): Promise<void> => {
  const file = await open(path);
  try {
    const bytes = Buffer.alloc(CHUNK_BYTES);
    for (let word = 0; word < sum.length;) {
      const wanted = Math.min(CHUNK_BYTES, (sum.length - word) * WORD_BYTES);
      const { bytesRead } = await file.read(bytes, 0, wanted, word * WORD_BYTES);
      assert(bytesRead === wanted, 'a spooled vector is whole');
      addWords(sum, wordsOf(bytes.subarray(0, wanted)), word);
      word += wanted / WORD_BYTES;
    }
  } finally {
    await file.close();
  }
};

export const maskSlowly = async (words: Words, masks: Masks, breathe: Breathe): Promise<void> => {
  for (const _ of masking(words, masks)) await breathe();
};

/** The sum of files of `count` words each, with these masks applied. */
export const openSpooled = async (
  paths: readonly string[],
  count: number,
  masks: Masks,
  breathe: Breathe,
): Promise<Words> => {
  const sum: Words = new Uint32Array(count);
  for (const path of paths) await addFile(sum, path);
  await maskSlowly(sum, masks, breathe);
  return sum;
};

/** Pieces of all vectors side by side: from word `from` on. */
async function* piecesOf(
  paths: readonly string[],
  count: number,
): AsyncGenerator<{ from: number; vectors: Signed[] }> {
  const files = await Promise.all(paths.map((path) => open(path)));
  try {
    const wordsPerChunk = CHUNK_BYTES / WORD_BYTES;
    for (let from = 0; from < count; from += wordsPerChunk) {
      const bytes = Math.min(wordsPerChunk, count - from) * WORD_BYTES;
      const vectors: Signed[] = [];
      for (const file of files) {
        const piece = Buffer.alloc(bytes);
        const { bytesRead } = await file.read(piece, 0, bytes, from * WORD_BYTES);
        assert(bytesRead === bytes, 'a spooled vector is whole');
        vectors.push(centred(wordsOf(piece)));
      }
      yield { from, vectors };
    }
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

/** What a robust rule makes of files that are not masked. Memory: the result, and one chunk of each. */
export const robustSpooled = async (
  paths: readonly string[],
  count: number,
  rule: RobustRule,
): Promise<Words> => {
  const result = new Int32Array(count);
  if (rule === 'krum') {
    const distances = new Float64Array(paths.length ** 2);
    for await (const { vectors } of piecesOf(paths, count)) addDistances(distances, vectors);
    const chosen = paths[krumChoice(distances, paths.length)]!;
    for await (const { from, vectors } of piecesOf([chosen], count))
      vectors[0]!.forEach((value, at) => (result[from + at] = value * paths.length));
  } else
    for await (const { from, vectors } of piecesOf(paths, count))
      result.set(robustPiece(vectors, rule), from);
  return toWords(result);
};
