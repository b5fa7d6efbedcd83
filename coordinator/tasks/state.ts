/**
 * A task's states, decided and not done: (task, event) → the task after it and what has to happen then. Time and chance come with the
 * event. An event that does not fit the state changes nothing: late answers of attempts that are over are such events.
 *
 *     waiting ──dependencies done──▶ queued ──start──▶ running ──▶ done
 *        │                            ▲ ▲                │ │
 *        └─▶ failed, cancelled,       │ └──back-off──────┘ └─▶ failed, cancelled, expired
 *            expired                  └── restart, where it may run again
 */
import type { TaskId } from '../../shared/ids.ts';
import type { TaskFailure, TaskResult, TaskState } from '../../shared/wire/task.ts';
import { backoffMs } from './backoff.ts';
import { DELIVERY, hasEnded, type Task } from './task.ts';

export type TaskEvent =
  /** A dependency ended; `state` says how. */
  | { readonly type: 'dependency_ended'; readonly dependency: TaskId; readonly state: TaskState }
  | { readonly type: 'started' }
  /** The attempt of that number gave a result. */
  | { readonly type: 'succeeded'; readonly attempt: number; readonly result: TaskResult | null }
  | {
      readonly type: 'attempt_failed';
      readonly attempt: number;
      readonly failure: Pick<TaskFailure, 'reason' | 'code' | 'detail' | 'next'>;
      /** The same again may go well. */
      readonly isRetryable: boolean;
      /** In [0, 1), for the jitter of the back-off. */
      readonly uniform: number;
    }
  | { readonly type: 'timed_out'; readonly attempt: number; readonly uniform: number }
  | { readonly type: 'deadline_passed' }
  | { readonly type: 'cancelled' }
  /** The coordinator came up and finds the task as its last life left it. */
  | { readonly type: 'restarted' }
  /** Relayed tasks: the site that serves. */
  | { readonly type: 'placed'; readonly site: string };

export type TaskEffect =
  | { readonly type: 'run'; readonly attempt: number }
  | { readonly type: 'abort'; readonly reason: 'timeout' | 'deadline' | 'cancelled' }
  /** It ended: its dependants hear of it. */
  | { readonly type: 'ended' };

export interface Decision {
  readonly task: Task;
  readonly effects: readonly TaskEffect[];
}

/** Deaths of the coordinator that one task may live through: what kills the program each time must not run for ever. */
export const RESTARTS_MAX = 20;

const stay = (task: Task): Decision => ({ task, effects: [] });

const changed = (task: Task, change: Partial<Task>, ...effects: readonly TaskEffect[]): Decision => ({
  task: { ...task, ...change, version: task.version + 1 },
  effects,
});

const end = (task: Task, state: TaskState, nowMs: number, rest: Partial<Task> = {}): Decision => {
  const reason = state === 'expired' ? ('deadline' as const) : ('cancelled' as const);
  const abort: TaskEffect[] =
    task.state === 'running' && (state === 'expired' || state === 'cancelled')
      ? [{ type: 'abort', reason }]
      : [];
  return changed(task, { state, endedMs: nowMs, waitingFor: [], notBeforeMs: null, ...rest }, ...abort, {
    type: 'ended',
  });
};

const failure = (
  reason: TaskFailure['reason'],
  code: TaskFailure['code'],
  detail: string,
  next: string | null = null,
  dependency: TaskId | null = null,
): TaskFailure => ({ reason, code, detail, next, dependency });

const dependencyEnded = (
  task: Task,
  { dependency, state }: Extract<TaskEvent, { type: 'dependency_ended' }>,
  nowMs: number,
): Decision => {
  if (task.state !== 'waiting' || !task.waitingFor.includes(dependency)) return stay(task);
  if (state !== 'done')
    return end(task, 'failed', nowMs, {
      failure: failure(
        'dependency_failed',
        'conflict',
        `task ${dependency}, which this one depends on, ended as ${state}`,
        'See why with "qfl task show", and create both again.',
        dependency,
      ),
    });
  const waitingFor = task.waitingFor.filter((id) => id !== dependency);
  return waitingFor.length > 0
    ? changed(task, { waitingFor })
    : changed(task, { waitingFor, state: 'queued', queuedMs: nowMs });
};

/** Failures after which nobody knows whether the work was done. */
const UNCERTAIN: ReadonlySet<TaskFailure['code']> = new Set([
  'timeout',
  'cut',
  'not_connected',
  'storage_failed',
  'internal',
]);

const unknown = (task: Task, why: string, nowMs: number): Decision =>
  end(task, 'failed', nowMs, {
    failure: failure(
      'outcome_unknown',
      'outcome_unknown',
      `${why}, and a ${task.kind} task must not run twice`,
      'Look at the audit logs of the sites to see how far it came, then create a new task if it is still wanted.',
    ),
  });

/** Back to the queue at its old place, because it has waited already; or the end. */
const again = (
  task: Task,
  reason: Pick<TaskFailure, 'reason' | 'code' | 'detail' | 'next'>,
  { isRetryable, uniform }: { readonly isRetryable: boolean; readonly uniform: number },
  nowMs: number,
  ...effects: readonly TaskEffect[]
): Decision => {
  const failures = task.failures + 1;
  // Relayed tasks are the asker's own to repeat; it hears the code itself.
  if (DELIVERY[task.kind] === 'at_most_once' && task.reference === null && UNCERTAIN.has(reason.code)) {
    const ended = unknown({ ...task, failures }, reason.detail, nowMs);
    return { ...ended, effects: [...effects, ...ended.effects] };
  }
  const mayRepeat = DELIVERY[task.kind] === 'at_least_once' && isRetryable && failures < task.attemptsMax;
  const told = { ...reason, dependency: null };
  if (!mayRepeat) {
    const ended = end(task, 'failed', nowMs, { failures, failure: told });
    return { ...ended, effects: [...effects, ...ended.effects] };
  }
  const notBeforeMs = nowMs + backoffMs(failures, uniform);
  return changed(task, { state: 'queued', failures, notBeforeMs, failure: told }, ...effects);
};

const restarted = (task: Task, nowMs: number): Decision => {
  if (task.state !== 'running') return stay(task);
  if (DELIVERY[task.kind] === 'at_most_once')
    return unknown(task, 'the coordinator stopped while this ran', nowMs);
  const restarts = task.restarts + 1;
  if (restarts > RESTARTS_MAX)
    return end(task, 'failed', nowMs, {
      restarts,
      failure: failure(
        'attempt_failed',
        'cut',
        `the coordinator died ${restarts} times while this ran`,
        'The task itself may be what ends it: make it smaller.',
      ),
    });
  return changed(task, { state: 'queued', restarts });
};

/** What `event` makes of `task` at `nowMs`. Pure. */
export const decide = (task: Task, event: TaskEvent, nowMs: number): Decision => {
  if (hasEnded(task)) return stay(task);
  const isCurrent = (attempt: number): boolean => task.state === 'running' && attempt === task.attempts;
  switch (event.type) {
    case 'dependency_ended':
      return dependencyEnded(task, event, nowMs);
    case 'started': {
      if (task.state !== 'queued' || (task.notBeforeMs ?? 0) > nowMs) return stay(task);
      const attempts = task.attempts + 1;
      const change = { state: 'running' as const, attempts, startedMs: nowMs, notBeforeMs: null };
      return changed(task, change, { type: 'run', attempt: attempts });
    }
    case 'succeeded':
      if (!isCurrent(event.attempt)) return stay(task);
      return end(task, 'done', nowMs, { result: event.result, failure: null });
    case 'attempt_failed':
      return isCurrent(event.attempt) ? again(task, event.failure, event, nowMs) : stay(task);
    case 'timed_out': {
      if (!isCurrent(event.attempt)) return stay(task);
      const detail = `the attempt took longer than ${task.timeoutMs} ms`;
      const next = 'Give it more time with timeoutMs, or make it smaller.';
      const why = { reason: 'timeout', code: 'timeout', detail, next } as const;
      const abort = { type: 'abort', reason: 'timeout' } as const;
      return again(task, why, { isRetryable: true, uniform: event.uniform }, nowMs, abort);
    }
    case 'deadline_passed':
      if (task.deadlineMs === null || nowMs < task.deadlineMs) return stay(task);
      return end(task, 'expired', nowMs, {
        failure: failure('deadline', 'expired', 'its deadline passed before it was done'),
      });
    case 'cancelled':
      return end(task, 'cancelled', nowMs, {
        failure: failure('cancelled', 'cancelled', 'it was cancelled'),
      });
    case 'restarted':
      return restarted(task, nowMs);
    case 'placed':
    default:
      return task.state === 'running' ? changed(task, { site: event.site }) : stay(task);
  }
};
