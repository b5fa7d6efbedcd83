/** The tasks of a coordinator: what the API, the relay and the rest of the program know of them. */
import type { Readable } from 'node:stream';
import type { Actor } from '../../shared/access/actor.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { fromUtf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { TaskId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/log.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import type {
  TaskListQuery,
  TaskNews,
  TaskProgress,
  TaskShown,
  TasksRequest,
} from '../../shared/wire/task.ts';
import { recordEnds, recordMade, recordStart } from './audit.ts';
import { createTaskBook, isRelayed, type TaskBook } from './book.ts';
import { createCommit, createIdempotencyKeys } from './commit.ts';
import { createTasks, digestOf } from './create.ts';
import { type Alarm, systemAlarm } from './due.ts';
import type { TaskCaller, TaskExecutors } from './executor.ts';
import { createTaskFeed, type FeedEvent } from './feed.ts';
import { openTaskFiles, type TaskFiles } from './files.ts';
import { createTaskIds } from './ids.ts';
import { createTaskLedger, type TaskLedger } from './ledger.ts';
import { TASK_LIMITS, type TaskLimits } from './limits.ts';
import type { TaskMeters } from './meters.ts';
import { missed } from './missed.ts';
import { createTaskRunner } from './runner.ts';
import { createSerial } from '../../shared/serial.ts';
import { createStateTransfer, type StateTransfer } from './state-transfer.ts';
import { createTaskShelf, keyName, operations, type TaskShelf } from './shelf.ts';
import { decide } from './state.ts';
import { hasEnded, showTask, type Task } from './task.ts';

export interface TasksOptions {
  readonly store: Store;
  /** For results that are files. */
  readonly folder: string;
  readonly federation: string;
  /** 32 bytes: the key of the saved state's tags. */
  readonly stateKey: Uint8Array;
  readonly executors: (files: TaskFiles) => TaskExecutors;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly actorOf: (by: { readonly id: string; readonly role: string }) => Actor;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly meters: TaskMeters;
  /** Asked again and again, so that it can change while running. */
  readonly settings: () => { readonly parallelMax: number; readonly timeoutMs: number };
  readonly limits?: TaskLimits;
  readonly alarm?: Alarm;
  readonly ageingMs?: number;
}

export type ResultOpened =
  | { readonly form: 'json'; readonly text: string }
  | {
      readonly form: 'file';
      readonly contentType: string;
      readonly bytes: number;
      readonly stream: Readable;
    };

export interface Tasks extends StateTransfer {
  /** For the relay. */
  readonly ledger: TaskLedger;
  /** All of the request or none. @throws QflError as `createTasks`; `conflict` when the key made something else */
  create(
    request: TasksRequest,
    caller: TaskCaller,
    idempotencyKey?: string,
  ): Promise<{ readonly tasks: readonly TaskShown[]; readonly repeated: boolean }>;
  /** @throws QflError `not_found`, also for tasks that the caller may not see */
  get(id: TaskId, caller: TaskCaller): TaskShown;
  list(
    query: TaskListQuery,
    caller: TaskCaller,
  ): { readonly tasks: readonly TaskShown[]; readonly next: TaskId | null };
  /** Written before it returns; the work ends soon after. @throws QflError `conflict` when it has ended or is a site's */
  cancel(id: TaskId, caller: TaskCaller): Promise<TaskShown>;
  /** @throws QflError `not_found`, `not_ready`, `conflict` */
  result(id: TaskId, caller: TaskCaller): Promise<ResultOpened>;
  watch(id: TaskId, caller: TaskCaller, signal: AbortSignal, lastEventId?: string): AsyncGenerator<FeedEvent>;
  /** Ends what runs and starts nothing more: a lockdown. What is queued stays queued. */
  halt(): Promise<void>;
  /** Goes on with what is queued. */
  resume(): Promise<void>;
  readings(): { readonly running: number; readonly queued: number; readonly queuedMax: number };
  /** Does what is due now; an alarm calls it otherwise. */
  tick(): Promise<void>;
  close(): Promise<void>;
}

/** Roles that see everybody's tasks. */
const SEES_ALL: ReadonlySet<string> = new Set(['admin', 'operator', 'auditor']);

const notFound = (id: TaskId): QflError =>
  new QflError('not_found', {
    detail: `there is no task ${id}`,
    next: 'Ended tasks are forgotten after a while; "qfl task list" shows what there is.',
  });

const load = async (shelf: TaskShelf): Promise<TaskBook> => {
  const book = createTaskBook();
  const ended: Task[] = [];
  for await (const task of shelf.tasks()) {
    if (hasEnded(task)) ended.push(task);
    else book.put(task);
  }
  // In the order of their ends, so that the longest ended are the first to be forgotten.
  for (const task of ended.toSorted((left, right) => (left.endedMs ?? 0) - (right.endedMs ?? 0)))
    book.put(task);
  return book;
};

/** Opens what the disk holds: what was running is decided anew, then the queue starts. @throws QflError `storage_failed` */
export const openTasks = async (options: TasksOptions): Promise<Tasks> => {
  const { store, clock, random, logger, meters, audit, federation, stateKey, settings } = options;
  const limits = options.limits ?? TASK_LIMITS;
  const shelf = createTaskShelf(store);
  const book = await load(shelf);
  const keys = createIdempotencyKeys();
  for await (const { name, repeated } of shelf.keys()) keys.put(name, repeated);
  const files = await openTaskFiles(options.folder, (id) => book.get(id)?.result?.form === 'file');
  const ids = createTaskIds(clock, random, book.greatest);
  const feed = createTaskFeed(randomHex(random, 8));
  const serial = createSerial();
  const progress = new Map<TaskId, TaskProgress>();
  const nowMs = (): number => Math.trunc(clock.nowMs());

  const publish = (news: TaskNews): void => feed.publish(news);
  const commit = createCommit({
    book,
    shelf,
    files,
    limits,
    keys,
    recordEnds: (tasks) => recordEnds(audit, tasks),
    publish: (news) => {
      if (news.task.state !== 'running') progress.delete(news.task.id);
      publish(news);
    },
    progressOf: (id) => progress.get(id) ?? null,
    onFault: (error) => logger.error({ err: error }, 'old tasks could not be forgotten; it is tried again'),
  });
  const executors = options.executors(files);
  let isHalted = false;
  const runner = createTaskRunner({
    book,
    shelf,
    files,
    executors,
    serial,
    commit,
    clock,
    alarm: options.alarm ?? systemAlarm(),
    random,
    logger,
    limits,
    meters,
    parallelMax: () => settings().parallelMax,
    isHalted: () => isHalted,
    ...(options.ageingMs === undefined ? {} : { ageingMs: options.ageingMs }),
    recordStart: (task) => recordStart(audit, task),
    onProgress(task, at) {
      const now = book.get(task.id);
      if (now?.state !== 'running' || now.attempts !== task.attempts) return;
      progress.set(task.id, at);
      publish({ what: 'progress', task: showTask(now, at) });
    },
  });
  const ledger = createTaskLedger({ book, ids, clock, limits, meters, publish });

  await serial(async () => {
    const restarts = [...book.all()].map((task) => decide(task, { type: 'restarted' }, nowMs()));
    await commit(restarts, nowMs());
    await commit(missed(book, book.all(), nowMs()), nowMs());
    runner.adopt(book.all());
    await runner.dispatch();
  });

  const transfer = createStateTransfer({
    book,
    shelf,
    serial,
    limits,
    federation,
    stateKey,
    nowMs,
    commit: async (decisions, beside) => runner.follow(await commit(decisions, nowMs(), beside)),
    dispatch: () => dispatchAfter(),
  });

  const isVisible = (task: Task, { role, owner }: TaskCaller): boolean =>
    SEES_ALL.has(role) || task.createdBy.owner === owner;
  const visible = (id: TaskId, caller: TaskCaller): Task => {
    const task = book.get(id);
    if (task === undefined || !isVisible(task, caller)) throw notFound(id);
    return task;
  };
  const show = (task: Task): TaskShown => showTask(task, progress.get(task.id) ?? null);
  /** A dispatch that failed is no fault of what came before it: the runner comes back to it. */
  const dispatchAfter = async (): Promise<void> => {
    await runner
      .dispatch()
      .catch((error: unknown) => logger.error({ err: error }, 'tasks could not be started'));
  };

  /** What the key made before. @throws QflError `conflict` */
  const repeatedOf = (name: string | undefined, digest: string): readonly Task[] | undefined => {
    const before = name === undefined ? undefined : keys.get(name);
    if (before === undefined) return undefined;
    if (before.digest !== digest)
      throw new QflError('conflict', {
        detail: 'this idempotency key made other tasks before',
        next: 'Use a new key for a new request; repeat a request with exactly the same body.',
        facts: { tasks: before.ids },
      });
    return before.ids.flatMap((id) => book.get(id) ?? []);
  };

  const actor = ({ owner, role }: TaskCaller): Actor => options.actorOf({ id: owner, role });

  const create: Tasks['create'] = (request, caller, idempotencyKey) =>
    serial(async () => {
      const name = idempotencyKey === undefined ? undefined : keyName(caller.owner, idempotencyKey);
      const digest = digestOf('qfl task request', request);
      const before = repeatedOf(name, digest);
      if (before !== undefined) return { tasks: before.map(show), repeated: true };
      const { parallelMax, timeoutMs } = settings();
      const made = createTasks(request, caller, nowMs(), {
        book,
        executors,
        limits,
        ids,
        parallelMax,
        timeoutMs,
      });
      const repeated = { digest, ids: made.tasks.map(({ id }) => id) };
      await recordMade(audit, actor(caller), made.tasks);
      const remember: StoreOperation[] = name === undefined ? [] : [operations.remember(name, repeated)];
      const decisions = made.tasks.map((task) => ({ task, effects: [] }));
      runner.follow(await commit(decisions, nowMs(), [...made.beside, ...remember]));
      if (name !== undefined) keys.put(name, repeated);
      await dispatchAfter();
      return { tasks: made.tasks.map(({ id }) => show(book.get(id)!)), repeated: false };
    });

  const cancel: Tasks['cancel'] = (id, caller) =>
    serial(async () => {
      const task = visible(id, caller);
      if (isRelayed(task))
        throw new QflError('conflict', {
          detail: 'this query runs at a site, for another site',
          next: 'Whoever asked it ends it by closing the connection.',
        });
      const decision = decide(task, { type: 'cancelled' }, nowMs());
      if (decision.task === task)
        throw new QflError('conflict', { detail: `task ${id} has ended already: ${task.state}` });
      await audit.record({
        action: 'task.cancelled',
        outcome: 'ok',
        ...actor(caller),
        objects: [{ kind: 'task', id }],
      });
      runner.follow(await commit([decision], nowMs()));
      await dispatchAfter();
      return show(book.get(id)!);
    });

  const openResult: Tasks['result'] = async (id, caller) => {
    const task = visible(id, caller);
    if (!hasEnded(task))
      throw new QflError('not_ready', {
        detail: `task ${id} is ${task.state}`,
        next: `Wait for it with "qfl task watch ${id}".`,
      });
    if (task.result === null)
      throw new QflError('conflict', {
        detail: `task ${id} has no result here: it is ${task.state}`,
        next: task.failure?.detail ?? 'Results that are files do not come with an imported state.',
      });
    const { form, contentType, bytes } = task.result;
    if (form === 'file') return { form, contentType, bytes, stream: files.read(id) };
    const text = await shelf.result(id);
    if (text === undefined) throw notFound(id);
    return { form, text: fromUtf8(text) };
  };

  return {
    ledger,
    create,
    get: (id, caller) => show(visible(id, caller)),
    list(query, caller) {
      const found = book.list(query, (task) => isVisible(task, caller));
      const shown = found.slice(0, query.limit);
      return { tasks: shown.map(show), next: found.length > query.limit ? shown.at(-1)!.id : null };
    },
    cancel,
    result: openResult,
    watch(id, caller, signal, lastEventId) {
      visible(id, caller);
      const present = (): TaskNews => ({ what: 'state', task: show(visible(id, caller)) });
      return feed.watch(id, present, signal, lastEventId);
    },
    halt: () =>
      serial(async () => {
        isHalted = true;
        const running = [...book.all()].filter((task) => task.state === 'running' && !isRelayed(task));
        const decisions = running.map((task) => decide(task, { type: 'cancelled' }, nowMs()));
        if (decisions.length > 0) runner.follow(await commit(decisions, nowMs()));
      }),
    resume: () =>
      serial(async () => {
        isHalted = false;
        await dispatchAfter();
      }),
    exportPage: transfer.exportPage,
    importPage: transfer.importPage,
    readings: () => ({
      running: runner.running + ledger.running,
      // A cancelled task whose work has not ended yet is no longer among the live ones.
      queued: Math.max(0, book.live.tasks - runner.running),
      queuedMax: limits.liveMax,
    }),
    tick: () => runner.tick(),
    close: () => runner.close(),
  };
};
