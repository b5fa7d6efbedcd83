/**
 * Work that passes through the coordinator, among the tasks: sealed chats and statistics, which the sites run. What is here is an id, times, a
 * state and a site; never content, and nothing on the disk: the audit log has its entry of each.
 */
import type { Clock } from '../../shared/clock.ts';
import type { ErrorCode } from '../../shared/errors.ts';
import type { QueryId, SiteId } from '../../shared/ids.ts';
import type { TaskId } from '../../shared/ids.ts';
import type { TaskNews } from '../../shared/wire/task.ts';
import type { TaskBook } from './book.ts';
import type { TaskIds } from './ids.ts';
import type { TaskLimits } from './limits.ts';
import type { TaskMeters } from './meters.ts';
import { decide, type TaskEvent } from './state.ts';
import { showTask, type Task } from './task.ts';

export interface RelayedWork {
  readonly kind: 'chat' | 'stats' | 'ask' | 'train';
  readonly query: QueryId;
  /** Who asked. */
  readonly sender: SiteId;
  readonly priority: number;
  readonly timeoutMs: number;
}

export interface RelayedTask {
  readonly id: TaskId;
  /** The site that serves it now. */
  placed(site: SiteId): void;
  /** Without a code it went well; `cancelled` is the asker's doing. Only the first end counts. */
  end(code?: ErrorCode): void;
}

/** What the relay tells of its work. Nothing here waits or throws. */
export interface TaskLedger {
  begin(work: RelayedWork): RelayedTask;
}

export interface LedgerOptions {
  readonly book: TaskBook;
  readonly ids: TaskIds;
  readonly clock: Clock;
  readonly limits: TaskLimits;
  readonly meters: TaskMeters;
  readonly publish: (news: TaskNews) => void;
}

const begun = (
  id: TaskId,
  { kind, query, sender, priority, timeoutMs }: RelayedWork,
  nowMs: number,
): Task => ({
  v: 1,
  id,
  kind,
  state: 'running',
  version: 1,
  priority,
  dependsOn: [],
  waitingFor: [],
  resources: { slots: 1, tokens: null, microEpsilon: null },
  createdMs: nowMs,
  queuedMs: nowMs,
  notBeforeMs: null,
  startedMs: nowMs,
  endedMs: null,
  deadlineMs: null,
  timeoutMs,
  attempts: 1,
  failures: 0,
  attemptsMax: 1,
  restarts: 0,
  site: null,
  reference: query,
  createdBy: { role: 'site', owner: `site:${sender}` },
  specBytes: 0,
  failure: null,
  result: null,
});

const endOf = (code: ErrorCode | undefined): TaskEvent => {
  if (code === undefined) return { type: 'succeeded', attempt: 1, result: null };
  if (code === 'cancelled') return { type: 'cancelled' };
  // What a site says may name what was asked: the code is all that is kept.
  const failure = {
    reason: 'attempt_failed',
    code,
    detail: 'the query did not succeed',
    next: null,
  } as const;
  return { type: 'attempt_failed', attempt: 1, failure, isRetryable: false, uniform: 0 };
};

export const createTaskLedger = (options: LedgerOptions): TaskLedger & { readonly running: number } => {
  const { book, ids, clock, limits, meters, publish } = options;
  let running = 0;
  const put = (task: Task): void => {
    book.put(task);
    publish({ what: 'state', task: showTask(task) });
  };
  return {
    get running() {
      return running;
    },
    begin(work) {
      let task = begun(ids(), work, Math.trunc(clock.nowMs()));
      running += 1;
      put(task);
      const apply = (event: TaskEvent): boolean => {
        const after = decide(task, event, Math.trunc(clock.nowMs())).task;
        if (after === task) return false;
        task = after;
        put(task);
        return true;
      };
      return {
        id: task.id,
        placed: (site) => void apply({ type: 'placed', site }),
        end(code) {
          if (!apply(endOf(code))) return;
          running -= 1;
          meters.ended(task);
          for (const id of book.surplus(limits.relayedKeptMax, true)) book.remove(id);
        },
      };
    },
  };
};
