/** What tasks have missed of the tasks they wait for: after an import, after a crash between two writes, after a disk that refused. */
import type { TaskBook } from './book.ts';
import { decide, type Decision } from './state.ts';
import { ENDED, type Task } from './task.ts';

/** Decisions for those of `tasks` that wait for something that is over, or is not there. */
export const missed = (book: Pick<TaskBook, 'get'>, tasks: Iterable<Task>, nowMs: number): Decision[] => {
  const decisions: Decision[] = [];
  for (const task of tasks) {
    let decision: Decision = { task, effects: [] };
    for (const dependency of task.waitingFor) {
      const state = book.get(dependency)?.state ?? 'failed';
      if (!ENDED.has(state)) continue;
      const { task: next, effects } = decide(
        decision.task,
        { type: 'dependency_ended', dependency, state },
        nowMs,
      );
      decision = { task: next, effects: [...decision.effects, ...effects] };
    }
    if (decision.task !== task) decisions.push(decision);
  }
  return decisions;
};
