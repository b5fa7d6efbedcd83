/** All tasks in memory, with the orders in which they are looked for. What it holds is on the disk, but for relayed tasks. */
import { assert } from '../../shared/errors.ts';
import type { TaskId } from '../../shared/ids.ts';
import type { TaskListQuery } from '../../shared/wire/task.ts';
import { hasEnded, type Task } from './task.ts';

/** Relayed tasks are shown and forgotten: the audit log is their record on disk, and no content ever was here. */
export const isRelayed = ({ reference }: Pick<Task, 'reference'>): boolean => reference !== null;

export interface TaskBook {
  get(id: TaskId): Task | undefined;
  /** Adds or replaces. */
  put(task: Task): void;
  remove(id: TaskId): void;
  all(): Iterable<Task>;
  /** With greater ids than `from`, in ascending order. */
  after(from: TaskId | null): Iterable<Task>;
  /** Those that still wait for `id`. */
  dependantsOf(id: TaskId): readonly TaskId[];
  /** Newest first; one more than `limit` when there are more. */
  list(query: TaskListQuery, isVisible: (task: Task) => boolean): readonly Task[];
  /** Ended tasks above the number that is kept, the longest ended first. */
  surplus(keptMax: number, relayed: boolean): readonly TaskId[];
  /** Of the coordinator's own tasks that have not ended. */
  readonly live: { readonly tasks: number; readonly specBytes: number };
  readonly size: number;
  readonly greatest: TaskId | undefined;
}

/** Position of the first id in ascending `ids` that is not below `id`. */
const positionOf = (ids: readonly TaskId[], id: TaskId): number => {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ids[middle]! < id) low = middle + 1;
    else high = middle;
  }
  return low;
};

const fits = (task: Task, { state, kind, site, sinceMs }: TaskListQuery): boolean =>
  (state === undefined || task.state === state) &&
  (kind === undefined || task.kind === kind) &&
  (site === undefined || task.site === site) &&
  (sinceMs === undefined || task.createdMs >= sinceMs);

export const createTaskBook = (): TaskBook => {
  const tasks = new Map<TaskId, Task>();
  const order: TaskId[] = [];
  const dependants = new Map<TaskId, Set<TaskId>>();
  // In the order in which they ended: a Set keeps it.
  const ended = { own: new Set<TaskId>(), relayed: new Set<TaskId>() };
  const live = { tasks: 0, specBytes: 0 };

  const count = (task: Task, by: 1 | -1): void => {
    const endedHere = isRelayed(task) ? ended.relayed : ended.own;
    if (hasEnded(task)) {
      if (by === 1) endedHere.add(task.id);
      else endedHere.delete(task.id);
    } else if (!isRelayed(task)) {
      live.tasks += by;
      live.specBytes += by * task.specBytes;
    }
    for (const id of task.waitingFor) {
      const of = dependants.get(id) ?? new Set();
      if (by === 1) dependants.set(id, of.add(task.id));
      else if (of.delete(task.id) && of.size === 0) dependants.delete(id);
    }
  };

  return {
    get: (id) => tasks.get(id),
    put(task) {
      const before = tasks.get(task.id);
      if (before !== undefined) count(before, -1);
      else if (order.length === 0 || order.at(-1)! < task.id) order.push(task.id);
      else order.splice(positionOf(order, task.id), 0, task.id);
      tasks.set(task.id, task);
      count(task, 1);
    },
    remove(id) {
      const task = tasks.get(id);
      assert(task !== undefined && hasEnded(task), 'only what has ended is forgotten');
      count(task, -1);
      tasks.delete(id);
      order.splice(positionOf(order, id), 1);
    },
    all: () => tasks.values(),
    *after(from) {
      let at = from === null ? 0 : positionOf(order, from);
      if (from !== null && order[at] === from) at += 1;
      for (; at < order.length; at += 1) yield tasks.get(order[at]!)!;
    },
    dependantsOf: (id) => [...(dependants.get(id) ?? [])],
    list(query, isVisible) {
      const found: Task[] = [];
      const end = query.after === undefined ? order.length : positionOf(order, query.after);
      for (let at = end - 1; at >= 0 && found.length <= query.limit; at -= 1) {
        const task = tasks.get(order[at]!)!;
        if (fits(task, query) && isVisible(task)) found.push(task);
      }
      return found;
    },
    surplus(keptMax, relayed) {
      const of = relayed ? ended.relayed : ended.own;
      const ids: TaskId[] = [];
      if (of.size <= keptMax) return ids;
      for (const id of of) {
        ids.push(id);
        if (of.size - ids.length <= keptMax) break;
      }
      return ids;
    },
    live,
    get size() {
      return tasks.size;
    },
    get greatest() {
      return order.at(-1);
    },
  };
};
