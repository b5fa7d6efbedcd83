/** The arithmetic of sealed rounds in a thread of its own: one job, then it ends. */
import { open } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../errors.ts';
import { CHUNK_BYTES } from './messages.ts';
import { ThreadJob } from './thread.ts';
import { addDistances, krumChoice, robustPiece, type RobustRule } from './robust.ts';
import { addWords, centred, mask, toWords, WORD_BYTES, type Words, wordsOf } from './words.ts';

type Signed = Int32Array<ArrayBuffer>;

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

const robust = async (paths: readonly string[], count: number, rule: RobustRule): Promise<Words> => {
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

const runJob = async (job: ThreadJob): Promise<ArrayBuffer> => {
  if (job.name === 'mask') {
    mask(new Uint32Array(job.words), job.masks);
    return job.words;
  }
  if (job.name === 'robust') return (await robust(job.paths, job.count, job.rule)).buffer;
  const sum: Words = new Uint32Array(job.count);
  for (const path of job.paths) await addFile(sum, path);
  mask(sum, job.masks);
  return sum.buffer;
};

assert(parentPort !== null, 'a thread has a parent');
const buffer = await runJob(ThreadJob.parse(workerData));
parentPort.postMessage(buffer, [buffer]);
