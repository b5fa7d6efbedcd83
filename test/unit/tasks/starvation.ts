/** One place, an urgent task for every one that is served, and one patient task among them: how many pass it. */
import { createHeap } from '../../../coordinator/tasks/heap.ts';
import { compareTurns } from '../../../coordinator/tasks/order.ts';
import type { Task } from '../../../coordinator/tasks/task.ts';
import { TaskId } from '../../../shared/ids.ts';
import { taskOf } from './task-of.ts';

export const idAt = (at: number): TaskId => TaskId.parse(at.toString(16).padStart(32, '0'));

/** @returns tasks served before it; `roundsMax` when it never came to its turn */
export const passedBy = (priority: number, everyMs: number, roundsMax: number, ageingMs: number): number => {
  const queue = createHeap<Task>(compareTurns(ageingMs));
  const patient = taskOf({ id: idAt(0), priority, queuedMs: 0 });
  queue.push(patient);
  for (let round = 0; round < roundsMax; round += 1) {
    queue.push(taskOf({ id: idAt(round + 1), priority: 9, queuedMs: round * everyMs }));
    if (queue.pop() === patient) return round;
  }
  return roundsMax;
};
