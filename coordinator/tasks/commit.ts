/**
 * Carries decisions out: one atomic write of what changes together, then memory, then whoever listens. Tasks that wait for one that ended
 * change with it. When they are very many, the rest of them follows in writes of its own, because one write of thousands of records holds
 * the event loop; a crash between them is healed at the next start, and a disk that refuses by the next change.
 */
import { assert } from '../../shared/errors.ts';
import type { TaskId } from '../../shared/ids.ts';
import type { StoreOperation } from '../../shared/store/port.ts';
import type { TaskNews, TaskProgress } from '../../shared/wire/task.ts';
import { isRelayed, type TaskBook } from './book.ts';
import type { TaskFiles } from './files.ts';
import type { TaskLimits } from './limits.ts';
import { operations, type Repeated, type TaskShelf } from './shelf.ts';
import { missed } from './missed.ts';
import { decide, type Decision, type TaskEffect } from './state.ts';
import { hasEnded, showTask, type Task } from './task.ts';

export interface Committed {
  readonly before: Task | undefined;
  readonly task: Task;
  readonly effects: readonly TaskEffect[];
}

/** Decisions and, after them, those of tasks that waited for what ended. Later decisions about a task include the earlier. */
export const withDependants = (
  book: Pick<TaskBook, 'get' | 'dependantsOf'>,
  decisions: readonly Decision[],
  nowMs: number,
): readonly Committed[] => {
  const changed = new Map<TaskId, Committed>();
  const ended: Task[] = [];
  const add = ({ task, effects }: Decision): void => {
    const earlier = changed.get(task.id);
    const before = earlier === undefined ? book.get(task.id) : earlier.before;
    if (task === (earlier?.task ?? before)) return;
    changed.set(task.id, { before, task, effects: [...(earlier?.effects ?? []), ...effects] });
    if (hasEnded(task)) ended.push(task);
  };
  for (const decision of decisions) add(decision);
  for (let head = 0; head < ended.length; head += 1) {
    const { id, state } = ended[head]!;
    for (const dependant of book.dependantsOf(id)) {
      const task = changed.get(dependant)?.task ?? book.get(dependant);
      assert(task !== undefined, 'a dependant is there');
      add(decide(task, { type: 'dependency_ended', dependency: id, state }, nowMs));
    }
  }
  return [...changed.values()];
};

export interface CommitOptions {
  readonly book: TaskBook;
  readonly shelf: TaskShelf;
  readonly files: TaskFiles;
  readonly limits: TaskLimits;
  /** Idempotency keys by the tasks they made. */
  readonly keys: IdempotencyKeys;
  /** Before the write: no entry, no action. */
  readonly recordEnds: (ended: readonly Task[]) => Promise<void>;
  readonly publish: (news: TaskNews) => void;
  readonly progressOf: (id: TaskId) => TaskProgress | null;
  /** What was written is written; tidying up that failed is tried again after the next change. */
  readonly onFault: (error: unknown) => void;
}

/** What is remembered of idempotency keys; each goes when its first task is forgotten. */
export interface IdempotencyKeys {
  get(name: string): Repeated | undefined;
  put(name: string, repeated: Repeated): void;
  /** The name whose first task `id` is. */
  nameOf(id: TaskId): string | undefined;
  remove(name: string): void;
}

export const createIdempotencyKeys = (): IdempotencyKeys => {
  const byName = new Map<string, Repeated>();
  const byFirst = new Map<TaskId, string>();
  return {
    get: (name) => byName.get(name),
    put(name, repeated) {
      byName.set(name, repeated);
      byFirst.set(repeated.ids[0]!, name);
    },
    nameOf: (id) => byFirst.get(id),
    remove(name) {
      const first = byName.get(name)?.ids[0];
      byName.delete(name);
      if (first !== undefined) byFirst.delete(first);
    },
  };
};

/** Tasks that one write holds. */
export const WRITE_TASKS_MAX = 100;

export const createCommit = (options: CommitOptions) => {
  const { book, shelf, files, limits, keys, recordEnds, publish, progressOf, onFault } = options;

  /** Ended tasks beyond the number kept go, own ones from the disk as well. */
  const forgetSurplus = async (): Promise<void> => {
    for (const id of book.surplus(limits.relayedKeptMax, true)) book.remove(id);
    const gone = book.surplus(limits.keptMax, false);
    if (gone.length === 0) return;
    const names = gone.flatMap((id) => keys.nameOf(id) ?? []);
    await shelf.write([...gone.flatMap(operations.forget), ...names.map(operations.forgetKey)]);
    for (const name of names) keys.remove(name);
    for (const id of gone) {
      const isFile = book.get(id)?.result?.form === 'file';
      book.remove(id);
      if (isFile) await files.remove(id);
    }
  };

  /** Tasks whose dependencies ended, and which a refusing disk kept from hearing of it. */
  const late = new Set<TaskId>();

  const writeChunk = async (
    chunk: readonly Committed[],
    beside: readonly StoreOperation[],
  ): Promise<void> => {
    const own = chunk.flatMap(({ task }) => (isRelayed(task) ? [] : [task]));
    await recordEnds(own.filter(hasEnded));
    await shelf.write([...own.flatMap(operations.save), ...beside]);
    for (const { task } of chunk) {
      book.put(task);
      late.delete(task.id);
      publish({ what: 'state', task: showTask(task, progressOf(task.id)) });
    }
  };

  /**
   * What was asked for is written when this returns, all of it if it is at most `WRITE_TASKS_MAX` tasks; so is what followed from it, as far
   * as the disk took it.
   * @throws QflError `storage_failed`: of the first write nothing has changed then
   */
  return async (
    decisions: readonly Decision[],
    nowMs: number,
    beside: readonly StoreOperation[] = [],
  ): Promise<readonly Committed[]> => {
    const overdue = missed(
      book,
      [...late].flatMap((id) => book.get(id) ?? []),
      nowMs,
    );
    const all = withDependants(book, [...decisions, ...overdue], nowMs);
    let done = Math.min(all.length, WRITE_TASKS_MAX);
    await writeChunk(all.slice(0, done), beside);
    try {
      for (; done < all.length; done += WRITE_TASKS_MAX)
        await writeChunk(all.slice(done, done + WRITE_TASKS_MAX), []);
    } catch (error) {
      for (const { task } of all.slice(done)) late.add(task.id);
      onFault(error);
    }
    await forgetSurplus().catch(onFault);
    return all.slice(0, done);
  };
};
