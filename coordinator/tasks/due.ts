/** What becomes due: deadlines, ends of back-offs, ends of attempts. Entries whose task has moved on are dropped when their time comes. */
import type { TaskId } from '../../shared/ids.ts';
import { createSweptHeap } from './heap.ts';

export interface DueEntry {
  readonly atMs: number;
  readonly id: TaskId;
  readonly what: 'deadline' | 'back_off' | 'timeout';
  /** Of `timeout`. */
  readonly attempt: number;
}

/** One timer at a time; production sets real ones. */
export interface Alarm {
  /** Replaces the one before. */
  set(delayMs: number, ring: () => void): void;
  clear(): void;
}

/** The longest that a timer of Node can wait. */
const DELAY_MAX_MS = 2 ** 31 - 1;

export const systemAlarm = (): Alarm => {
  let timer: NodeJS.Timeout | undefined;
  const clear = (): void => clearTimeout(timer);
  return {
    set(delayMs, ring) {
      clear();
      timer = setTimeout(ring, Math.min(Math.max(0, delayMs), DELAY_MAX_MS));
      timer.unref();
    },
    clear,
  };
};

export interface DueList {
  add(entry: DueEntry): void;
  /** Takes out everything that is due. */
  take(nowMs: number): readonly DueEntry[];
  readonly nextMs: number | undefined;
}

/** @param isStale entries that will never matter */
export const createDueList = (isStale: (entry: DueEntry) => boolean): DueList => {
  const heap = createSweptHeap<DueEntry>((left, right) => left.atMs - right.atMs, isStale);
  return {
    add: (entry) => heap.push(entry),
    take(nowMs) {
      const due: DueEntry[] = [];
      while ((heap.peek()?.atMs ?? Infinity) <= nowMs) due.push(heap.pop()!);
      return due;
    },
    get nextMs() {
      return heap.peek()?.atMs;
    },
  };
};
