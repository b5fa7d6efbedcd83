/** The arithmetic of sealed rounds in a thread of its own: one job, then it ends. */
import { open } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../errors.ts';
import { CHUNK_BYTES } from './messages.ts';
import { ThreadJob } from './thread.ts';
import { addWords, mask, WORD_BYTES, type Words, wordsOf } from './words.ts';

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

const runJob = async (job: ThreadJob): Promise<ArrayBuffer> => {
  if (job.name === 'mask') {
    mask(new Uint32Array(job.words), job.masks);
    return job.words;
  }
  const sum: Words = new Uint32Array(job.count);
  for (const path of job.paths) await addFile(sum, path);
  mask(sum, job.masks);
  return sum.buffer;
};

assert(parentPort !== null, 'a thread has a parent');
const buffer = await runJob(ThreadJob.parse(workerData));
parentPort.postMessage(buffer, [buffer]);
