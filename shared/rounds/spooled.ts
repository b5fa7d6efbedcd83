/** Sums of vectors that lie in files: memory is that of the sum and one chunk. */
import { open } from 'node:fs/promises';
import { assert } from '../errors.ts';
import { CHUNK_BYTES } from './messages.ts';
import { addWords, masking, type Masks, WORD_BYTES, type Words, wordsOf } from './words.ts';

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
