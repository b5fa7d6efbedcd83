/** Who does the work of a kind: registered by name, told apart from who keeps the tasks. */
import { QflError } from '../../shared/errors.ts';
import type { TaskId } from '../../shared/ids.ts';
import type { TaskKind, TaskProgress, TaskSpec } from '../../shared/wire/task.ts';
import type { Task } from './task.ts';

/** Who asks: the role decides what may be made, the owner what is seen. */
export interface TaskCaller {
  readonly role: string;
  readonly owner: string;
}

export interface TaskWork {
  readonly id: TaskId;
  readonly task: Task;
  readonly spec: TaskSpec;
  /** Aborted when the task is cancelled, out of time, or the program stops: the run then ends soon, whatever it gives. */
  readonly signal: AbortSignal;
  readonly progress: (progress: TaskProgress) => void;
}

export type TaskOutput =
  /** Kept in the store; at most `RESULT_BYTES_MAX` as JSON text. */
  | { readonly form: 'json'; readonly value: unknown; readonly cached: boolean }
  /** Written by the executor to the task's file. */
  | { readonly form: 'file'; readonly contentType: string; readonly bytes: number };

export interface TaskExecutor {
  readonly kind: TaskKind;
  /**
   * Looks at parameters before anything is kept, and fills in what was left out.
   * @throws QflError `invalid_request`, `forbidden`, `too_large`
   */
  prepare(spec: TaskSpec, caller: TaskCaller): TaskSpec;
  /** @throws QflError; what is not one counts as `internal` */
  run(work: TaskWork): Promise<TaskOutput>;
}

export type TaskExecutors = ReadonlyMap<TaskKind, TaskExecutor>;

export const executorsOf = (...executors: readonly TaskExecutor[]): TaskExecutors =>
  new Map(executors.map((executor) => [executor.kind, executor]));

const INSTEAD: Readonly<Record<TaskKind, string>> = {
  chat: 'Chats run at the sites: "qfl query chat" at an agent asks one; it then appears among the tasks by itself.',
  stats: 'Statistics run at the sites: "qfl query stats" at an agent asks them.',
  ask: 'Questions over records run at the sites: "qfl query ask" at an agent asks them.',
  train: 'Begin a training with "qfl round start".',
  quantum: 'The quantum simulator is switched off in this coordinator (backends.simulator.enabled).',
  export: 'Use "qfl audit export" instead.',
};

/** @throws QflError `invalid_request` that says what to use instead */
export const executorFor = (executors: TaskExecutors, kind: TaskKind): TaskExecutor => {
  const executor = executors.get(kind);
  if (executor !== undefined) return executor;
  throw new QflError('invalid_request', {
    detail: `this coordinator does not run tasks of kind ${kind} by itself`,
    next: INSTEAD[kind],
    facts: { kind, kinds: [...executors.keys()] },
  });
};
