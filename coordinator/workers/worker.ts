/** A worker thread: takes a job, runs it, tells how it ended. Errors that are expected cross as what they are. */
import { parentPort } from 'node:worker_threads';
import { assert, toQflError } from '../../shared/errors.ts';
import { JobMessage, type WorkerMessage } from './messages.ts';
import { JOBS } from './jobs.ts';

assert(parentPort !== null, 'a worker has a parent');
const parent = parentPort;
const tell = (message: WorkerMessage): void => parent.postMessage(message, []);

const failed = (job: number, thrown: unknown): WorkerMessage => {
  const { code, detail, next, facts, cause } = toQflError(thrown);
  const stack = cause instanceof Error ? cause.stack : undefined;
  return {
    type: 'failed',
    job,
    code,
    ...(detail === undefined ? {} : { detail }),
    ...(next === undefined ? {} : { next }),
    ...(facts === undefined ? {} : { facts: { ...facts } }),
    ...(stack === undefined ? {} : { stack }),
  };
};

parent.on('message', (value: unknown) => {
  const { job, name, input } = JobMessage.parse(value);
  const run = JOBS.get(name);
  assert(run !== undefined, 'the pool names jobs that exist');
  try {
    tell({ type: 'done', job, output: run(input, (progress) => tell({ type: 'progress', job, progress })) });
  } catch (error) {
    tell(failed(job, error));
  }
});
