/**
 * The whole state of the tasks as pages that can be kept elsewhere and read back here. Each page carries a BLAKE2b-256 tag under a key of this
 * coordinator, over everything in it and the tag before it: a page that was changed, moved or taken from another federation is refused.
 */
import { equalConstantTime, framed, fromHex, fromUtf8, toHex, utf8 } from '../../shared/bytes.ts';
import { blake2b, HASH_BYTES } from '../../shared/crypto/hash.ts';
import { QflError } from '../../shared/errors.ts';
import type { TaskId } from '../../shared/ids.ts';
import { TaskSpec, type TaskStatePage } from '../../shared/wire/task.ts';
import { z } from 'zod';
import { DELIVERY, hasEnded, Task } from './task.ts';

/** One task of a page: its record, its parameters while they matter, its result where that is not a file. */
export const SavedTask = z.strictObject({
  task: Task,
  spec: TaskSpec.nullable(),
  result: z.string().nullable(),
});
export type SavedTask = z.infer<typeof SavedTask>;

/** A page is closed by the first task that reaches this; tasks count with their parameters and results. */
export const PAGE_BYTES = 256 * 1024;
export const PAGE_TASKS = 100;
/** About what a record takes. */
export const RECORD_BYTES = 1_024;
const LABEL = 'qfl task state page';

const tagOf = (page: Omit<TaskStatePage, 'tag'>, key: Uint8Array): Uint8Array => {
  const head = [
    LABEL,
    page.v,
    page.federation,
    page.createdMs,
    page.page,
    page.previousTag,
    page.last,
    page.next,
  ];
  return blake2b(HASH_BYTES, framed(utf8(JSON.stringify(head)), ...page.tasks.map(utf8)), key);
};

export const sealPage = (page: Omit<TaskStatePage, 'tag'>, key: Uint8Array): TaskStatePage => ({
  ...page,
  tag: toHex(tagOf(page, key)),
});

const refuseEntry = (cause: unknown): never => {
  throw new QflError('invalid_request', {
    detail: 'a task of this page cannot be read',
    next: 'The file is of another version of this program.',
    cause,
  });
};

/**
 * The tasks of a page.
 * @throws QflError `bad_signature` when anything in it is not as it was written, or it is another federation's
 */
export const openPage = (page: TaskStatePage, federation: string, key: Uint8Array): readonly SavedTask[] => {
  if (page.federation !== federation || !equalConstantTime(tagOf(page, key), fromHex(page.tag)))
    throw new QflError('bad_signature', {
      detail: `page ${page.page} of this file is not as this coordinator wrote it`,
      next: 'Take the file from where it was kept again; one that was changed, or another coordinator wrote, is not read.',
    });
  return page.tasks.map((text) => {
    try {
      return SavedTask.parse(JSON.parse(text));
    } catch (cause) {
      return refuseEntry(cause);
    }
  });
};

export const savedText = (task: Task, spec: TaskSpec | undefined, result: Uint8Array | undefined): string =>
  JSON.stringify({
    task,
    spec: spec ?? null,
    result: result === undefined ? null : fromUtf8(result),
  } satisfies SavedTask);

/** What becomes of one saved task here. */
export type Merge =
  | { readonly what: 'add'; readonly task: Task; readonly isUnknown: boolean }
  | { readonly what: 'unchanged' }
  | { readonly what: 'kept'; readonly here: number; readonly given: number };

/** As it comes back: what was under way may have run since, so only what may run twice goes on. Result files are not in the pages. */
const revived = (task: Task, nowMs: number): { readonly task: Task; readonly isUnknown: boolean } => {
  const plain = task.result?.form === 'file' ? { ...task, result: null } : task;
  if (hasEnded(plain)) return { task: plain, isUnknown: false };
  if (DELIVERY[plain.kind] === 'at_least_once') {
    const state = plain.state === 'running' ? 'queued' : plain.state;
    return { task: { ...plain, state, version: plain.version + 1 }, isUnknown: false };
  }
  return {
    isUnknown: true,
    task: {
      ...plain,
      state: 'failed',
      version: plain.version + 1,
      endedMs: nowMs,
      waitingFor: [],
      failure: {
        reason: 'outcome_unknown',
        code: 'outcome_unknown',
        detail: `it came from a saved state, may have run since, and a ${plain.kind} task must not run twice`,
        next: 'Look at the audit logs, then create a new task if it is still wanted.',
        dependency: null,
      },
    },
  };
};

/**
 * Never puts an older state over a newer one, nor another history over the one that is here.
 * @throws QflError `conflict` when the task went different ways here and in the file
 */
export const mergeOne = (here: Task | undefined, given: Task, nowMs: number): Merge => {
  if (here === undefined) return { what: 'add', ...revived(given, nowMs) };
  if (here.version > given.version) return { what: 'kept', here: here.version, given: given.version };
  if (JSON.stringify(here) === JSON.stringify(given)) return { what: 'unchanged' };
  throw new QflError('conflict', {
    detail: `task ${given.id} is here in version ${here.version} and in the file in version ${given.version}, and neither follows from the other`,
    next: 'The file is from a history that this coordinator does not have: restore the whole folder from its backup instead, or import into an empty one.',
  });
};

/** Dependencies have smaller ids than what depends on them: no page, whatever it says, brings a circle. */
export const checkOrder = (task: Task, isKnown: (id: TaskId) => boolean): void => {
  const bad = task.dependsOn.find((id) => id >= task.id) ?? task.waitingFor.find((id) => !isKnown(id));
  if (bad === undefined) return;
  throw new QflError('invalid_request', {
    detail: `task ${task.id} waits for ${bad}, which is neither here nor before it in the file`,
    next: 'Import the pages in their order, from the first one on.',
  });
};
