/**
 * Worker threads for heavy arithmetic, so that the event loop stays free. One job at a time in each; as many threads as `sizing.ts` says. A
 * worker that dies takes its job with it as a typed failure, and another takes its place; a cancelled job ends with its thread.
 */
import { Worker } from 'node:worker_threads';
import type { Clock } from '../../shared/clock.ts';
import { createDeferred, type Deferred } from '../../shared/deferred.ts';
import { abortedBy, InvariantError, QflError } from '../../shared/errors.ts';
import { WorkerMessage } from './messages.ts';
import { nextSize, type SizingBounds, type SizingState } from './sizing.ts';

export interface JobProgress {
  readonly done: number;
  readonly total: number | null;
  readonly unit: string;
}

export interface JobOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: JobProgress) => void;
  /** Buffers of the input that are handed over instead of copied. */
  readonly transfer?: readonly ArrayBuffer[];
}

export interface WorkerPool {
  /**
   * Runs a job by its name in `jobs.ts`; what comes back is for the caller to parse.
   * @throws QflError the job's own; `overloaded` when too many wait; `cut` when the worker died; the signal's reason
   */
  run(name: string, input: unknown, options?: JobOptions): Promise<unknown>;
  readonly stats: {
    /** Threads there are. */
    readonly size: number;
    readonly busy: number;
    readonly waiting: number;
    /** Threads that died without being told to. */
    readonly lost: number;
  };
  close(): Promise<void>;
}

/** A worker as the pool sees it; tests put their own in. */
export interface WorkerLike {
  postMessage(value: unknown, transfer: readonly ArrayBuffer[]): void;
  on(event: 'message', listener: (value: unknown) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'exit', listener: (code: number) => void): unknown;
  terminate(): Promise<number>;
}

export interface PoolOptions {
  readonly bounds: SizingBounds;
  readonly waitingMax: number;
  readonly clock: Clock;
  readonly spawn: () => WorkerLike;
  /** How often the size is looked at while nothing happens; 0: only when `run` or the end of a job asks. */
  readonly tickMs?: number;
  /** Called when the number of threads changes. */
  readonly onSize?: (size: number) => void;
}

interface Job {
  readonly number: number;
  readonly name: string;
  readonly input: unknown;
  readonly options: JobOptions;
  readonly result: Deferred<unknown>;
}

interface Seat {
  readonly worker: WorkerLike;
  job: Job | undefined;
  isLeaving: boolean;
}

const TICK_MS = 1_000;
/** A thread that dies is replaced at once; threads that keep dying without finishing a job are replaced more and more slowly. */
const REPLACE_AFTER_MS = 50;
const REPLACE_AFTER_MAX_MS = 10_000;

/** The worker program beside this one; from the source tree, the compiled one. */
export const workerProgram = (): URL => {
  const here = import.meta.url;
  return here.endsWith('.ts')
    ? new URL('../../dist/coordinator/workers/worker.js', here)
    : new URL('./worker.js', here);
};

export const spawnThread = (): WorkerLike => new Worker(workerProgram(), { stdin: false });

const overloaded = (waiting: number): QflError =>
  new QflError('overloaded', {
    detail: `${waiting} jobs wait for a worker already`,
    next: 'Try again in a moment.',
  });

export const createWorkerPool = (options: PoolOptions): WorkerPool => {
  const { bounds, clock, waitingMax } = options;
  const seats = new Set<Seat>();
  const waiting: Job[] = [];
  let sizing: SizingState = { size: bounds.sizeMin, calmSinceMs: null };
  let numbers = 0;
  let lost = 0;
  let lostInRow = 0;
  let hireFromMs = -Infinity;
  let isClosed = false;

  const staying = (): Seat[] => [...seats].filter(({ isLeaving }) => !isLeaving);
  const busy = (): number => staying().filter(({ job }) => job !== undefined).length;

  const leave = (seat: Seat): void => {
    seat.isLeaving = true;
    void seat.worker.terminate();
  };

  const finish = (seat: Seat, number: number, end: (result: Deferred<unknown>) => void): void => {
    if (seat.job?.number !== number) return;
    const { result } = seat.job;
    seat.job = undefined;
    lostInRow = 0;
    end(result);
    settle();
  };

  const hear = (seat: Seat, value: unknown): void => {
    const parsed = WorkerMessage.safeParse(value);
    if (!parsed.success) throw new InvariantError('a worker said something that is not a message');
    const message = parsed.data;
    if (message.type === 'progress') {
      if (seat.job?.number === message.job) seat.job.options.onProgress?.(message.progress);
    } else if (message.type === 'done') finish(seat, message.job, (result) => result.resolve(message.output));
    else {
      const { code, detail, next, facts, stack } = message;
      const told = {
        ...(detail === undefined ? {} : { detail }),
        ...(next === undefined ? {} : { next }),
        ...(facts === undefined ? {} : { facts }),
        cause: stack,
      };
      finish(seat, message.job, (result) => result.reject(new QflError(code, told)));
    }
  };

  const noteLoss = (): void => {
    lost += 1;
    lostInRow += 1;
    if (lostInRow === 1) return;
    const waitMs = Math.min(REPLACE_AFTER_MAX_MS, REPLACE_AFTER_MS * 2 ** Math.min(lostInRow - 2, 20));
    hireFromMs = clock.monotonicMs() + waitMs;
    setTimeout(settle, waitMs + 1).unref();
  };

  const gone = (seat: Seat, cause: unknown): void => {
    if (!seats.delete(seat)) return;
    if (!seat.isLeaving) noteLoss();
    const { job } = seat;
    seat.job = undefined;
    job?.result.reject(
      new QflError('cut', {
        detail: 'the worker that ran this ended in the middle',
        next: 'Try again; if it happens again, the work may not fit into memory.',
        cause,
      }),
    );
    options.onSize?.(seats.size);
    settle();
  };

  const hire = (): void => {
    const worker = options.spawn();
    const seat: Seat = { worker, job: undefined, isLeaving: false };
    seats.add(seat);
    let cause: unknown;
    worker.on('message', (value: unknown) => hear(seat, value));
    worker.on('error', (error: Error) => void (cause = error));
    worker.on('exit', () => gone(seat, cause));
    options.onSize?.(seats.size);
  };

  const give = (seat: Seat, job: Job): void => {
    seat.job = job;
    const { transfer = [] } = job.options;
    seat.worker.postMessage({ job: job.number, name: job.name, input: job.input }, transfer);
  };

  /** As many threads as there should be, and work for those that have none. */
  const settle = (): void => {
    if (isClosed) return;
    sizing = nextSize(sizing, busy() + waiting.length, clock.monotonicMs(), bounds);
    while (staying().length < sizing.size && clock.monotonicMs() >= hireFromMs) hire();
    const idle = staying().filter(({ job }) => job === undefined);
    for (let over = staying().length - sizing.size; over > 0 && idle.length > 0; over -= 1)
      leave(idle.pop()!);
    for (const seat of idle) {
      const job = waiting.shift();
      if (job === undefined) break;
      give(seat, job);
    }
  };

  const cancel = (job: Job, signal: AbortSignal): void => {
    job.result.reject(abortedBy(signal));
    const at = waiting.indexOf(job);
    if (at >= 0) waiting.splice(at, 1);
    const seat = [...seats].find((one) => one.job === job);
    if (seat === undefined) return;
    // Arithmetic does not look up: the thread ends with the job, and another takes its place.
    seat.job = undefined;
    leave(seat);
    settle();
  };

  const tickMs = options.tickMs ?? TICK_MS;
  const timer = tickMs > 0 ? setInterval(settle, tickMs).unref() : undefined;
  settle();

  return {
    async run(name, input, jobOptions = {}) {
      const { signal } = jobOptions;
      if (isClosed) throw new QflError('cancelled', { detail: 'the program is stopping' });
      if (signal?.aborted === true) throw abortedBy(signal);
      if (waiting.length >= waitingMax) throw overloaded(waiting.length);
      const job: Job = { number: (numbers += 1), name, input, options: jobOptions, result: createDeferred() };
      waiting.push(job);
      const onAbort = (): void => {
        if (signal !== undefined) cancel(job, signal);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      settle();
      try {
        return await job.result.promise;
      } finally {
        signal?.removeEventListener('abort', onAbort);
      }
    },
    get stats() {
      return { size: seats.size, busy: busy(), waiting: waiting.length, lost };
    },
    async close() {
      isClosed = true;
      clearInterval(timer);
      const stopping = new QflError('cancelled', { detail: 'the program is stopping' });
      for (const job of waiting.splice(0)) job.result.reject(stopping);
      await Promise.all(
        [...seats].map(async (seat) => {
          seat.job?.result.reject(stopping);
          seat.isLeaving = true;
          seat.job = undefined;
          await seat.worker.terminate();
        }),
      );
    },
  };
};
