/** Saves the state of all tasks page by page, and reads pages back into what is here. */
import { utf8 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import type { TaskId } from '../../shared/ids.ts';
import type { StoreOperation } from '../../shared/store/port.ts';
import type { TaskImportAnswer, TaskSpec, TaskStatePage } from '../../shared/wire/task.ts';
import { isRelayed, type TaskBook } from './book.ts';
import type { TaskLimits } from './limits.ts';
import {
  checkOrder,
  mergeOne,
  openPage,
  PAGE_BYTES,
  PAGE_TASKS,
  RECORD_BYTES,
  savedText,
  sealPage,
} from './saved-state.ts';
import type { Serial } from '../../shared/serial.ts';
import { missed } from './missed.ts';
import { operations, type TaskShelf } from './shelf.ts';
import type { Decision } from './state.ts';
import { hasEnded, type Task } from './task.ts';

export interface StateTransfer {
  /** The page after the one of that number and tag; `from` is its `next`. */
  readonly exportPage: (after: {
    readonly page: number;
    readonly tag: string;
    readonly from: TaskId | null;
  }) => Promise<TaskStatePage>;
  /**
   * All of a page or none; a rehearsal says what would happen.
   * @throws QflError `bad_signature`, `conflict` (another history), `invalid_request`, `overloaded`
   */
  readonly importPage: (page: TaskStatePage, dryRun: boolean) => Promise<TaskImportAnswer>;
}

export interface TransferOptions {
  readonly book: TaskBook;
  readonly shelf: TaskShelf;
  readonly serial: Serial;
  readonly limits: TaskLimits;
  readonly federation: string;
  readonly stateKey: Uint8Array;
  readonly nowMs: () => number;
  readonly commit: (decisions: readonly Decision[], beside?: readonly StoreOperation[]) => Promise<void>;
  readonly dispatch: () => Promise<void>;
}

interface Added {
  readonly task: Task;
  readonly isUnknown: boolean;
  readonly spec: TaskSpec | null;
  readonly text: string | null;
}

const besideOf = ({ task, spec, text }: Added): StoreOperation[] => [
  ...(spec === null || hasEnded(task) ? [] : [operations.spec(task.id, spec)]),
  ...(text === null ? [] : [operations.result(task.id, utf8(text))]),
];

export const createStateTransfer = (options: TransferOptions): StateTransfer => {
  const { book, shelf, serial, limits, federation, stateKey, nowMs, commit, dispatch } = options;

  /** A page's worth of own tasks, and whether there are more. */
  const ownAfter = (from: TaskId | null): { readonly tasks: readonly Task[]; readonly more: boolean } => {
    const tasks: Task[] = [];
    let bytes = 0;
    for (const task of book.after(from)) {
      if (isRelayed(task)) continue;
      if (tasks.length === PAGE_TASKS || bytes >= PAGE_BYTES) return { tasks, more: true };
      tasks.push(task);
      const resultBytes = task.result?.form === 'json' ? task.result.bytes : 0;
      bytes += RECORD_BYTES + (hasEnded(task) ? 0 : task.specBytes) + resultBytes;
    }
    return { tasks, more: false };
  };

  const checkRoom = (added: readonly Added[]): void => {
    const live = added.filter(({ task }) => !hasEnded(task));
    const specBytes = live.reduce((sum, { task }) => sum + task.specBytes, book.live.specBytes);
    if (book.live.tasks + live.length <= limits.liveMax && specBytes <= limits.specBytesMax) return;
    throw new QflError('overloaded', {
      detail: `the queue holds ${limits.liveMax} tasks, and this page would bring it above`,
      next: 'Import it again when some of the tasks that are here have ended.',
    });
  };

  const readPage = (page: TaskStatePage) => {
    const saved = openPage(page, federation, stateKey);
    const merged = saved.map((one) => ({
      ...one,
      merge: mergeOne(book.get(one.task.id), one.task, nowMs()),
    }));
    const kept = merged.flatMap(({ task: { id }, merge }) =>
      merge.what === 'kept' ? [{ id, here: merge.here, given: merge.given }] : [],
    );
    const added = merged.flatMap(({ spec, result: text, merge }): Added[] =>
      merge.what === 'add' ? [{ task: merge.task, isUnknown: merge.isUnknown, spec, text }] : [],
    );
    return { ids: new Set(saved.map(({ task }) => task.id)), kept, added };
  };

  return {
    async exportPage({ page, tag, from }) {
      const { tasks, more } = ownAfter(from);
      const texts: string[] = [];
      for (const task of tasks) {
        const result = task.result?.form === 'json' ? await shelf.result(task.id) : undefined;
        texts.push(savedText(task, await shelf.spec(task.id), result));
      }
      const next = more ? tasks.at(-1)!.id : null;
      const head = { v: 1 as const, federation, createdMs: nowMs(), page, previousTag: tag };
      return sealPage({ ...head, last: !more, next, tasks: texts }, stateKey);
    },
    importPage: (page, dryRun) =>
      serial(async () => {
        const { ids, kept, added } = readPage(page);
        // In a rehearsal the pages before this one have not come in.
        const isKnown = (id: TaskId): boolean => dryRun || ids.has(id) || book.get(id) !== undefined;
        for (const { task } of added) checkOrder(task, isKnown);
        const answer: TaskImportAnswer = {
          added: added.length,
          unchanged: ids.size - added.length - kept.length,
          kept,
          unknown: added.filter(({ isUnknown }) => isUnknown).length,
          applied: !dryRun,
        };
        if (dryRun || added.length === 0) return answer;
        checkRoom(added);
        await commit(
          added.map(({ task }) => ({ task, effects: [] })),
          added.flatMap(besideOf),
        );
        const here = added.flatMap(({ task }) => book.get(task.id) ?? []);
        await commit(missed(book, here, nowMs()));
        await dispatch();
        return answer;
      }),
  };
};
