/** One attempt at a task: runs its executor and says as an event how that ended. Changes nothing of the task. */
import { utf8 } from '../../shared/bytes.ts';
import { assert, type ErrorCode, QflError, toQflError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { StoreOperation } from '../../shared/store/port.ts';
import type { TaskProgress, TaskResult } from '../../shared/wire/task.ts';
import { executorFor, type TaskExecutors, type TaskOutput } from './executor.ts';
import type { TaskLimits } from './limits.ts';
import { operations, type TaskShelf } from './shelf.ts';
import type { TaskEvent } from './state.ts';
import type { Task } from './task.ts';

export interface AttemptOptions {
  readonly shelf: Pick<TaskShelf, 'spec'>;
  readonly executors: TaskExecutors;
  readonly limits: TaskLimits;
  readonly logger: Logger;
  /** Before the work starts: no entry, no action. */
  readonly recordStart: (task: Task) => Promise<void>;
  readonly onProgress: (task: Task, progress: TaskProgress) => void;
  /** In [0, 1), for the jitter of the back-off. */
  readonly uniform: () => number;
}

/** What an attempt came to, and what is written with it. */
export interface Outcome {
  readonly event: TaskEvent;
  readonly beside: readonly StoreOperation[];
}

/** The same again may go well. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set([
  'timeout',
  'overloaded',
  'not_connected',
  'not_ready',
  'site_unavailable',
  'refused_by_site',
  'backend_failed',
  'cut',
  'storage_failed',
]);

export const createAttempts = (options: AttemptOptions) => {
  const { shelf, executors, limits, logger, uniform } = options;

  const success = (task: Task, attempt: number, output: TaskOutput): Outcome => {
    if (output.form === 'file') {
      const { contentType, bytes } = output;
      const file: TaskResult = { form: 'file', contentType, bytes, cached: false };
      return { event: { type: 'succeeded', attempt, result: file }, beside: [] };
    }
    const text = utf8(JSON.stringify(output.value));
    const bytes = text.byteLength;
    if (bytes > limits.resultBytesMax)
      throw new QflError('too_large', {
        detail: `the result has ${bytes} bytes; at most ${limits.resultBytesMax} are kept`,
        next: 'Ask for less, for example with fewer shots.',
      });
    const result: TaskResult = {
      form: 'json',
      contentType: 'application/json',
      bytes,
      cached: output.cached,
    };
    return { event: { type: 'succeeded', attempt, result }, beside: [operations.result(task.id, text)] };
  };

  const failed = (attempt: number, thrown: unknown): Outcome => {
    const error = toQflError(thrown);
    const { code, title, detail = title, next = null } = error;
    if (code === 'internal') logger.error({ err: error.cause ?? error }, 'a task failed unexpectedly');
    const failure = { reason: 'attempt_failed', code, detail, next } as const;
    const isRetryable = RETRYABLE.has(code);
    return {
      event: { type: 'attempt_failed', attempt, failure, isRetryable, uniform: uniform() },
      beside: [],
    };
  };

  /** Never throws: whatever goes wrong is the outcome. */
  return async (task: Task, attempt: number, signal: AbortSignal): Promise<Outcome> => {
    try {
      const spec = await shelf.spec(task.id);
      assert(spec !== undefined, 'a task that has not ended has its parameters');
      await options.recordStart(task);
      signal.throwIfAborted();
      const progress = (at: TaskProgress): void => {
        if (!signal.aborted) options.onProgress(task, at);
      };
      const executor = executorFor(executors, task.kind);
      return success(task, attempt, await executor.run({ id: task.id, task, spec, signal, progress }));
    } catch (error) {
      return failed(attempt, error);
    }
  };
};
