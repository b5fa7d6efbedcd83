/** A task as a value. */
import type { Task } from '../../../coordinator/tasks/task.ts';
import { TaskId } from '../../../shared/ids.ts';

export const taskOf = (rest: Partial<Task> = {}): Task => ({
  v: 1,
  id: TaskId.parse('f'.repeat(32)),
  kind: 'quantum',
  state: 'queued',
  version: 1,
  priority: 4,
  dependsOn: [],
  waitingFor: [],
  resources: { slots: 1, tokens: null, microEpsilon: null },
  createdMs: 500,
  queuedMs: 500,
  notBeforeMs: null,
  startedMs: null,
  endedMs: null,
  deadlineMs: null,
  timeoutMs: 60_000,
  attempts: 0,
  failures: 0,
  attemptsMax: 3,
  restarts: 0,
  site: null,
  reference: null,
  createdBy: { role: 'operator', owner: 'operator' },
  specBytes: 10,
  failure: null,
  result: null,
  ...rest,
});
