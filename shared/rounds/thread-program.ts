/** The arithmetic of sealed rounds in a thread of its own: one job, then it ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../errors.ts';
import { openSpooled, robustSpooled } from './spooled.ts';
import { ThreadJob } from './thread.ts';
import { mask } from './words.ts';

/** Nobody shares this thread. */
const alone = (): Promise<void> => Promise.resolve();

const runJob = async (job: ThreadJob): Promise<ArrayBuffer> => {
  if (job.name === 'mask') {
    mask(new Uint32Array(job.words), job.masks);
    return job.words;
  }
  if (job.name === 'robust') return (await robustSpooled(job.paths, job.count, job.rule)).buffer;
  const sum = await openSpooled(job.paths, job.count, job.masks, alone);
  return sum.buffer;
};

assert(parentPort !== null, 'a thread has a parent');
const buffer = await runJob(ThreadJob.parse(workerData));
parentPort.postMessage(buffer, [buffer]);
