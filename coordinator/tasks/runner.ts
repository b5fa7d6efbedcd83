/**
 * Runs queued tasks: decides by `state.ts`, writes, then does. Every change goes through one line, so a decision is always about the state
 * that is on the disk. An executor starts after its task is written as running, and its outcome counts once it is written.
 */
import type { Clock } from '../../shared/clock.ts';
import { createDeferred } from '../../shared/deferred.ts';
import { QflError } from '../../shared/errors.ts';
import type { TaskId } from '../../shared/ids.ts';
import type { RandomBytes } from '../../shared/random.ts';
import type { StoreOperation } from '../../shared/store/port.ts';
import { type AttemptOptions, createAttempts, type Outcome } from './attempt.ts';
import { isRelayed, type TaskBook } from './book.ts';
import { type Committed, WRITE_TASKS_MAX } from './commit.ts';
import { type Alarm, createDueList, type DueEntry } from './due.ts';
import type { TaskFiles } from './files.ts';
import { createSweptHeap } from './heap.ts';
import type { TaskMeters } from './meters.ts';
import { compareTurns } from './order.ts';
import type { Serial } from '../../shared/serial.ts';
import { decide, type Decision } from './state.ts';
import { hasEnded, type Task } from './task.ts';

export interface RunnerOptions extends Omit<AttemptOptions, 'uniform'> {
  readonly book: TaskBook;
  readonly files: TaskFiles;
  readonly serial: Serial;
  readonly commit: (
    decisions: readonly Decision[],
    nowMs: number,
    beside?: readonly StoreOperation[],
  ) => Promise<readonly Committed[]>;
  readonly clock: Clock;
  readonly alarm: Alarm;
  readonly random: RandomBytes;
  readonly meters: TaskMeters;
  /** Asked at every start, so that it can change while running. */
  readonly parallelMax: () => number;
  /** Nothing is started while this is so. */
  readonly isHalted: () => boolean;
  /** For tests: the ageing of `order.ts`. */
  readonly ageingMs?: number;
}

export interface TaskRunner {
  /** Takes up what was committed: queues, timers, running attempts. Call it inside the line. */
  follow(committed: readonly Committed[]): void;
  /** Starts what may start. Call it inside the line. */
  dispatch(): Promise<void>;
  /** Does what is due now; production's alarm calls it. */
  tick(): Promise<void>;
  readonly running: number;
  /** Takes up tasks as they were loaded. */
  adopt(tasks: Iterable<Task>): void;
  /** Ends attempts without changing their tasks: those that may run again do so at the next start. */
  close(): Promise<void>;
}

interface Execution {
  readonly attempt: number;
  readonly slots: number;
  readonly controller: AbortController;
  readonly over: Promise<void>;
}

const WRITE_AGAIN_FIRST_MS = 1_000;
const WRITE_AGAIN_MAX_MS = 30_000;
/** What attempts get to end when the program stops. */
const CLOSE_GRACE_MS = 5_000;

export const createTaskRunner = (options: RunnerOptions): TaskRunner => {
  const { book, files, serial, commit, clock, alarm, random, logger, meters } = options;
  const executions = new Map<TaskId, Execution>();
  const ready = createSweptHeap<Task>(
    compareTurns(options.ageingMs),
    ({ id }) => book.get(id)?.state !== 'queued',
  );
  const due = createDueList(isStale);
  let isClosing = false;

  const nowMs = (): number => Math.trunc(clock.nowMs());
  const uniform = (): number => Buffer.from(random(4)).readUInt32BE() / 2 ** 32;
  const runAttempt = createAttempts({ ...options, uniform });

  function isStale({ id, what, attempt }: DueEntry): boolean {
    const task = book.get(id);
    if (task === undefined || hasEnded(task)) return true;
    return what === 'timeout' ? task.state !== 'running' || task.attempts !== attempt : false;
  }

  const setAlarm = (): void => {
    const { nextMs } = due;
    if (nextMs === undefined || isClosing) return alarm.clear();
    return alarm.set(nextMs - clock.nowMs(), () => {
      tick().catch((error: unknown) => logger.error({ err: error }, 'due tasks could not be handled'));
    });
  };

  /** Into the queue, or to where it waits for its time. */
  const enqueue = (task: Task): void => {
    if (task.notBeforeMs !== null && task.notBeforeMs > clock.nowMs())
      due.add({ atMs: task.notBeforeMs, id: task.id, what: 'back_off', attempt: 0 });
    // An attempt that was told to end is over before the next begins.
    else if (!executions.has(task.id)) ready.push(task);
  };

  const adoptOne = (before: Task | undefined, task: Task): void => {
    if (before === undefined && task.deadlineMs !== null)
      due.add({ atMs: task.deadlineMs, id: task.id, what: 'deadline', attempt: 0 });
    if (task.state === 'queued') enqueue(task);
  };

  /** Writes an outcome. While the disk refuses, the task stays as it is and the write is tried again. */
  const settle = async (
    id: TaskId,
    { event, beside }: Outcome,
    waitMs = WRITE_AGAIN_FIRST_MS,
  ): Promise<void> => {
    try {
      await serial(async () => {
        const task = book.get(id);
        const decision = task === undefined ? undefined : decide(task, event, nowMs());
        const isNews = decision !== undefined && decision.task !== task;
        // Cut off before its outcome counted: a file that it left belongs to nobody.
        if (!isNews && event.type === 'succeeded' && event.result?.form === 'file') await files.remove(id);
        if (isNews) follow(await commit([decision], nowMs(), beside));
      });
    } catch (error) {
      if (isClosing) return;
      logger.error({ err: error, task: id }, 'the outcome of a task could not be written; trying again');
      await new Promise((resolve) => setTimeout(resolve, waitMs).unref());
      await settle(id, { event, beside }, Math.min(2 * waitMs, WRITE_AGAIN_MAX_MS));
    }
  };

  const perform = async (task: Task, attempt: number, signal: AbortSignal): Promise<void> => {
    const startedMs = clock.monotonicMs();
    const outcome = await runAttempt(task, attempt, signal);
    meters.attempted(task.kind, (clock.monotonicMs() - startedMs) / 1_000);
    // A stop of the program is no failure of the task.
    if (!(isClosing && outcome.event.type !== 'succeeded')) await settle(task.id, outcome);
    executions.delete(task.id);
    if (isClosing) return;
    await serial(async () => {
      const after = book.get(task.id);
      if (after?.state === 'queued') enqueue(after);
      setAlarm();
      await dispatch();
    });
  };

  const launch = (task: Task, attempt: number): void => {
    const controller = new AbortController();
    due.add({ atMs: nowMs() + task.timeoutMs, id: task.id, what: 'timeout', attempt });
    const over = perform(task, attempt, controller.signal).catch((error: unknown) =>
      logger.error({ err: error, task: task.id }, 'a task could not be carried on'),
    );
    executions.set(task.id, { attempt, slots: task.resources.slots, controller, over });
  };

  const abort = (id: TaskId, reason: 'timeout' | 'deadline' | 'cancelled'): void => {
    const code = reason === 'deadline' ? 'expired' : reason;
    executions.get(id)?.controller.abort(new QflError(code, { detail: `the task ended: ${reason}` }));
  };

  function follow(committed: readonly Committed[]): void {
    for (const { before, task, effects } of committed) {
      if (isRelayed(task)) continue;
      if (hasEnded(task)) meters.ended(task);
      adoptOne(before, task);
      for (const effect of effects) {
        if (effect.type === 'run') launch(task, effect.attempt);
        else if (effect.type === 'abort') abort(task.id, effect.reason);
      }
    }
    setAlarm();
  }

  const slotsTaken = (): number => [...executions.values()].reduce((sum, { slots }) => sum + slots, 0);

  /** The next ones in turn that fit. None is passed because it needs more slots than are free: it would wait for ever. */
  const startable = (): Task[] => {
    const parallelMax = options.parallelMax();
    let free = parallelMax - slotsTaken();
    const chosen: Task[] = [];
    for (
      let next = ready.peek();
      next !== undefined && chosen.length < WRITE_TASKS_MAX;
      next = ready.peek()
    ) {
      const task = book.get(next.id);
      const isStartable = task?.state === 'queued' && !executions.has(task.id) && !chosen.includes(task);
      if (isStartable && Math.min(task.resources.slots, parallelMax) > free) break;
      ready.pop();
      if (!isStartable) continue;
      free -= task.resources.slots;
      chosen.push(task);
    }
    return chosen;
  };

  async function dispatch(): Promise<void> {
    if (isClosing || options.isHalted()) return;
    const chosen = startable();
    if (chosen.length === 0) return;
    const now = nowMs();
    try {
      follow(
        await commit(
          chosen.map((task) => decide(task, { type: 'started' }, now)),
          now,
        ),
      );
    } catch (error) {
      // Not started: back to their places, and the next turn tries again.
      for (const task of chosen) enqueue(task);
      due.add({ atMs: now + WRITE_AGAIN_FIRST_MS, id: chosen[0]!.id, what: 'back_off', attempt: 0 });
      setAlarm();
      throw error;
    }
  }

  const decisionFor = ({ id, what, attempt }: DueEntry, now: number): Decision | undefined => {
    const task = book.get(id);
    if (task === undefined || hasEnded(task)) return undefined;
    if (what === 'deadline') {
      // A clock that was set back: it comes again.
      if (task.deadlineMs !== null && task.deadlineMs > now)
        due.add({ atMs: task.deadlineMs, id, what, attempt });
      return decide(task, { type: 'deadline_passed' }, now);
    }
    if (what === 'timeout') return decide(task, { type: 'timed_out', attempt, uniform: uniform() }, now);
    if (task.state === 'queued') enqueue(task);
    return undefined;
  };

  /** One for a task: a deadline and a timeout may come due together, and the first ends the attempt. */
  const decisionsFor = (entries: readonly DueEntry[], now: number): readonly Decision[] => {
    const decisions = new Map<TaskId, Decision>();
    for (const entry of entries) {
      const decision = decisions.has(entry.id) ? undefined : decisionFor(entry, now);
      if (decision !== undefined && decision.task !== book.get(entry.id)) decisions.set(entry.id, decision);
    }
    return [...decisions.values()];
  };

  function tick(): Promise<void> {
    return serial(async () => {
      if (isClosing) return;
      const now = nowMs();
      const entries = due.take(now);
      try {
        const decisions = decisionsFor(entries, now);
        for (let at = 0; at < decisions.length; at += WRITE_TASKS_MAX)
          follow(await commit(decisions.slice(at, at + WRITE_TASKS_MAX), now));
        // Also without news of its own: what a refusing disk held up is looked at again.
        if (decisions.length === 0) follow(await commit([], now));
        await dispatch();
      } catch (error) {
        for (const entry of entries) due.add({ ...entry, atMs: now + WRITE_AGAIN_FIRST_MS });
        setAlarm();
        throw error;
      }
    });
  }

  return {
    follow,
    dispatch,
    tick,
    get running() {
      return executions.size;
    },
    adopt(tasks) {
      for (const task of tasks) if (!hasEnded(task)) adoptOne(undefined, task);
      setAlarm();
    },
    async close() {
      isClosing = true;
      alarm.clear();
      const open = [...executions.values()];
      for (const { controller } of open)
        controller.abort(new QflError('cancelled', { detail: 'the coordinator is stopping' }));
      // Whoever does not listen is left behind: an outcome that comes later finds nobody, as after a crash.
      const grace = createDeferred<void>();
      const timer = setTimeout(() => grace.resolve(), CLOSE_GRACE_MS);
      await Promise.race([Promise.all(open.map(({ over }) => over)), grace.promise]);
      clearTimeout(timer);
      await serial(() => Promise.resolve());
    },
  };
};
