/** A task as the coordinator keeps it. Its parameters and its result stand beside it, so that the records stay small. */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import { TaskId } from '../../shared/ids.ts';
import {
  TaskFailure,
  TaskKind,
  type TaskProgress,
  TaskResources,
  TaskResult,
  type TaskShown,
  TaskState,
} from '../../shared/wire/task.ts';

/** What must not run twice, because it may have spent privacy or changed a model, and what may, because it only computes or copies. */
export const DELIVERY = {
  chat: 'at_most_once',
  stats: 'at_most_once',
  ask: 'at_most_once',
  // Goes on from its own rounds: none is begun, or charged, twice.
  train: 'at_least_once',
  quantum: 'at_least_once',
  export: 'at_least_once',
} as const satisfies Record<TaskKind, 'at_most_once' | 'at_least_once'>;

const Time = z.int().nonnegative();

export const Task = z.strictObject({
  v: z.literal(1),
  id: TaskId,
  kind: TaskKind,
  state: TaskState,
  version: z.int().positive(),
  priority: z.int().min(0).max(9),
  dependsOn: z.array(TaskId),
  /** Those of `dependsOn` that are not done yet. */
  waitingFor: z.array(TaskId),
  resources: TaskResources,
  createdMs: Time,
  queuedMs: Time.nullable(),
  notBeforeMs: Time.nullable(),
  startedMs: Time.nullable(),
  endedMs: Time.nullable(),
  deadlineMs: Time.nullable(),
  timeoutMs: Time,
  /** Times it was started. */
  attempts: z.int().nonnegative(),
  /** Of those, the ones that failed; `attemptsMax` counts them. */
  failures: z.int().nonnegative(),
  attemptsMax: z.int().positive(),
  /** Starts that a death of the coordinator took with it. */
  restarts: z.int().nonnegative(),
  site: z.string().nullable(),
  reference: z.string().nullable(),
  /** `role` is shown; `owner` decides who sees it. */
  createdBy: z.strictObject({ role: z.string(), owner: z.string() }),
  /** Bytes of its parameters; 0 for relayed tasks, which have none here. */
  specBytes: z.int().nonnegative(),
  failure: TaskFailure.nullable(),
  result: TaskResult.nullable(),
});
export type Task = Readonly<z.infer<typeof Task>>;

export const ENDED: ReadonlySet<TaskState> = new Set(['done', 'failed', 'cancelled', 'expired']);
export const hasEnded = ({ state }: Task): boolean => ENDED.has(state);

export const encodeTask = (task: Task): Uint8Array => utf8(JSON.stringify(task));

/** @throws QflError `storage_failed` when the record is not one */
export const decodeTask = (bytes: Uint8Array): Task => {
  try {
    return Task.parse(JSON.parse(fromUtf8(bytes)));
  } catch (cause) {
    throw new QflError('storage_failed', {
      detail: 'a stored task cannot be read',
      next: 'Restore the folder from a backup, or ask for help with the log at hand.',
      cause,
    });
  }
};

export const showTask = (task: Task, progress: TaskProgress | null = null): TaskShown => ({
  id: task.id,
  kind: task.kind,
  state: task.state,
  version: task.version,
  priority: task.priority,
  dependsOn: [...task.dependsOn],
  resources: task.resources,
  createdMs: task.createdMs,
  queuedMs: task.queuedMs,
  notBeforeMs: task.notBeforeMs,
  startedMs: task.startedMs,
  endedMs: task.endedMs,
  deadlineMs: task.deadlineMs,
  timeoutMs: task.timeoutMs,
  attempts: task.attempts,
  attemptsMax: task.attemptsMax,
  delivery: DELIVERY[task.kind],
  site: task.site,
  reference: task.reference,
  createdBy: task.createdBy.role,
  failure: task.failure,
  progress: hasEnded(task) ? null : progress,
  result: task.result,
});
