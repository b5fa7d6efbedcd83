/**
 * Which queued task comes first. A task's rank is its priority plus one level for every `AGEING_MS` it has waited:
 *
 *     rank(t, now) = priority + (now − queuedMs) / AGEING_MS
 *
 * The comparison of two ranks does not depend on `now`, so tasks are kept in the order of `queuedMs − priority · AGEING_MS`, which never
 * changes while they wait. A task of priority p can therefore only be passed by tasks that are queued within (9 − p) · AGEING_MS after it:
 * nothing starves, however much urgent work keeps coming.
 */
import type { Task } from './task.ts';

export const AGEING_MS = 30_000;

/** Smaller comes first. */
export const turnOf = (
  { queuedMs, priority }: Pick<Task, 'queuedMs' | 'priority'>,
  ageingMs = AGEING_MS,
): number => (queuedMs ?? 0) - priority * ageingMs;

/** Equal turns: the nearer deadline, then the older task. */
export const compareTurns =
  (ageingMs = AGEING_MS) =>
  (left: Task, right: Task): number =>
    turnOf(left, ageingMs) - turnOf(right, ageingMs) ||
    (left.deadlineMs ?? Infinity) - (right.deadlineMs ?? Infinity) ||
    (left.id < right.id ? -1 : 1);
