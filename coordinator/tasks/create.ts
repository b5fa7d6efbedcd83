/** From a request to tasks: who may, what fits, what it depends on. Decides; the caller writes. */
import { utf8 } from '../../shared/bytes.ts';
import { hashOf } from '../../shared/crypto/hash.ts';
import { toHex } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import { TaskId } from '../../shared/ids.ts';
import type { StoreOperation } from '../../shared/store/port.ts';
import {
  SPEC_CHARS_MAX,
  type TaskRequest,
  type TaskSpec,
  type TasksRequest,
} from '../../shared/wire/task.ts';
import type { TaskBook } from './book.ts';
import { executorFor, type TaskCaller, type TaskExecutors } from './executor.ts';
import { creationOrder } from './graph.ts';
import type { TaskIds } from './ids.ts';
import type { TaskLimits } from './limits.ts';
import { operations } from './shelf.ts';
import { hasEnded, type Task } from './task.ts';

/** JSON with sorted keys: the same request gives the same text, however it was written. */
const sortedJson = (value: unknown): string =>
  JSON.stringify(value, (_key, one: unknown) =>
    typeof one === 'object' && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).toSorted(([left], [right]) => (left < right ? -1 : 1)))
      : one,
  );

/** Names a value: BLAKE2b-256 of its JSON, independent of the order of its keys. */
export const digestOf = (label: string, value: unknown): string =>
  toHex(hashOf(label, utf8(sortedJson(value))));

export interface CreationOptions {
  readonly book: TaskBook;
  readonly executors: TaskExecutors;
  readonly limits: TaskLimits;
  readonly ids: TaskIds;
  readonly timeoutMs: number;
  readonly parallelMax: number;
}

export interface Creation {
  /** In the order of the request. */
  readonly tasks: readonly Task[];
  /** Their parameters. */
  readonly beside: readonly StoreOperation[];
}

interface Prepared {
  readonly request: TaskRequest;
  readonly spec: TaskSpec;
  readonly specBytes: number;
}

const prepare = (
  request: TaskRequest,
  caller: TaskCaller,
  { executors, parallelMax }: CreationOptions,
): Prepared => {
  const spec = executorFor(executors, request.spec.kind).prepare(request.spec, caller);
  const specBytes = utf8(JSON.stringify(spec)).byteLength;
  if (specBytes > SPEC_CHARS_MAX)
    throw new QflError('too_large', {
      detail: `the parameters of a task have ${specBytes} bytes; at most ${SPEC_CHARS_MAX}`,
      next: 'Make the work smaller, or divide it into several tasks.',
    });
  if (request.resources.slots > parallelMax)
    throw new QflError('invalid_request', {
      detail: `a task asks for ${request.resources.slots} slots, and there are ${parallelMax} (max_parallel_tasks)`,
      next: 'Ask for fewer slots.',
    });
  return { request, spec, specBytes };
};

/** @throws QflError `overloaded` when the queue cannot take them all */
const checkRoom = (prepared: readonly Prepared[], { book, limits }: CreationOptions): void => {
  const bytes = prepared.reduce((sum, { specBytes }) => sum + specBytes, 0);
  const fits =
    book.live.tasks + prepared.length <= limits.liveMax && book.live.specBytes + bytes <= limits.specBytesMax;
  if (fits) return;
  throw new QflError('overloaded', {
    detail: `${book.live.tasks} tasks are waiting or running, and the queue holds ${limits.liveMax} of at most ${limits.specBytesMax} bytes together; none of these ${prepared.length} was taken`,
    next: 'Send them again when some have ended ("qfl task list --state queued" shows how many wait), or fewer at a time.',
    facts: {
      tasks: book.live.tasks,
      tasksMax: limits.liveMax,
      specBytes: book.live.specBytes,
      given: prepared.length,
    },
  });
};

const checkDeadline = ({ deadlineMs }: TaskRequest, nowMs: number): void => {
  if (deadlineMs === undefined || deadlineMs > nowMs) return;
  throw new QflError('invalid_request', {
    detail: 'a deadline is in the past',
    next: 'Give deadlineMs as milliseconds since 1970 in the future, or leave it out.',
  });
};

/** Ids of what a task depends on; those already done need no waiting. */
const resolve = (
  request: TaskRequest,
  idOf: (ref: string) => TaskId,
  book: TaskBook,
  made: ReadonlyMap<TaskId, Task>,
) => {
  const dependsOn = [
    ...new Set(
      request.dependsOn.map((name) => {
        const id = TaskId.safeParse(name);
        return id.success ? id.data : idOf(name);
      }),
    ),
  ];
  const waitingFor = dependsOn.filter((id) => {
    const task = made.get(id) ?? book.get(id);
    if (task === undefined)
      throw new QflError('invalid_request', {
        detail: `there is no task ${id} to depend on`,
        next: 'Tasks that ended long ago are forgotten: leave the dependency out if it was done.',
      });
    if (hasEnded(task) && task.state !== 'done')
      throw new QflError('conflict', {
        detail: `task ${id}, which this one would depend on, ended as ${task.state}`,
        next: 'Create that one again first.',
      });
    return task.state !== 'done';
  });
  return { dependsOn, waitingFor };
};

/**
 * The tasks of a request, all or none; dependencies get smaller ids than what depends on them.
 * @throws QflError `invalid_request` (cycle, unknown task or kind, bad parameters), `forbidden`, `conflict`, `too_large`, `overloaded`
 */
export const createTasks = (
  { tasks: requests }: TasksRequest,
  caller: TaskCaller,
  nowMs: number,
  options: CreationOptions,
): Creation => {
  const { order, refs } = creationOrder(requests);
  const prepared = requests.map((request) => prepare(request, caller, options));
  checkRoom(prepared, options);
  const ids = new Map<number, TaskId>();
  const made = new Map<TaskId, Task>();
  for (const at of order) {
    const { request, specBytes } = prepared[at]!;
    checkDeadline(request, nowMs);
    const idOf = (ref: string): TaskId => ids.get(refs.get(ref)!)!;
    const { dependsOn, waitingFor } = resolve(request, idOf, options.book, made);
    const id = options.ids();
    ids.set(at, id);
    const isFree = waitingFor.length === 0;
    made.set(id, {
      v: 1,
      id,
      kind: request.spec.kind,
      state: isFree ? 'queued' : 'waiting',
      version: 1,
      priority: request.priority,
      dependsOn,
      waitingFor,
      resources: request.resources,
      createdMs: nowMs,
      queuedMs: isFree ? nowMs : null,
      notBeforeMs: null,
      startedMs: null,
      endedMs: null,
      deadlineMs: request.deadlineMs ?? null,
      timeoutMs: request.timeoutMs ?? options.timeoutMs,
      attempts: 0,
      failures: 0,
      attemptsMax: request.attemptsMax,
      restarts: 0,
      site: null,
      reference: null,
      createdBy: caller,
      specBytes,
      failure: null,
      result: null,
    });
  }
  const tasks = requests.map((_, at) => made.get(ids.get(at)!)!);
  return { tasks, beside: tasks.map(({ id }, at) => operations.spec(id, prepared[at]!.spec)) };
};
