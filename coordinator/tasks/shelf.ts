/**
 * Tasks on the disk. A record, its parameters and its result have keys of their own; what changes together is written together, in one
 * atomic write that is on the disk before it returns.
 *
 *     task/t/ID  record      task/s/ID  parameters, until the end      task/r/ID  result      task/i/HASH  idempotency key
 */
import { z } from 'zod';
import { fromUtf8, toHex, utf8 } from '../../shared/bytes.ts';
import { hashOf } from '../../shared/crypto/hash.ts';
import { TaskId } from '../../shared/ids.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { TaskSpec } from '../../shared/wire/task.ts';
import { decodeTask, encodeTask, hasEnded, type Task } from './task.ts';

const RECORD = 'task/t/';
const SPEC = 'task/s/';
const RESULT = 'task/r/';
const KEY = 'task/i/';

/** What an idempotency key made before. */
export const Repeated = z.strictObject({ digest: z.string(), ids: z.array(TaskId).min(1) });
export type Repeated = z.infer<typeof Repeated>;

/** A caller's idempotency key as a name of its own: callers do not meet each other's. */
export const keyName = (owner: string, key: string): string =>
  toHex(hashOf('qfl task idempotency', utf8(owner), utf8(key)));

const put = (key: string, value: Uint8Array): StoreOperation => ({ type: 'put', key, value });
const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

export const operations = {
  /** A task after a change; parameters are not needed after its end. */
  save: (task: Task): StoreOperation[] => [
    put(RECORD + task.id, encodeTask(task)),
    ...(hasEnded(task) ? [{ type: 'del', key: SPEC + task.id } as const] : []),
  ],
  spec: (id: TaskId, spec: TaskSpec): StoreOperation => put(SPEC + id, json(spec)),
  result: (id: TaskId, text: Uint8Array): StoreOperation => put(RESULT + id, text),
  remember: (name: string, repeated: Repeated): StoreOperation => put(KEY + name, json(repeated)),
  forget: (id: TaskId): StoreOperation[] =>
    [RECORD, SPEC, RESULT].map((prefix) => ({ type: 'del', key: prefix + id }) as const),
  forgetKey: (name: string): StoreOperation => ({ type: 'del', key: KEY + name }),
};

export interface TaskShelf {
  write(ops: readonly StoreOperation[]): Promise<void>;
  tasks(): AsyncIterable<Task>;
  keys(): AsyncIterable<{ readonly name: string; readonly repeated: Repeated }>;
  spec(id: TaskId): Promise<TaskSpec | undefined>;
  /** The result's JSON text. */
  result(id: TaskId): Promise<Uint8Array | undefined>;
}

export const createTaskShelf = (store: Store): TaskShelf => ({
  write: (ops) => (ops.length === 0 ? Promise.resolve() : store.write(ops)),
  async *tasks() {
    for await (const { value } of store.list({ prefix: RECORD })) yield decodeTask(value);
  },
  async *keys() {
    for await (const { key, value } of store.list({ prefix: KEY }))
      yield { name: key.slice(KEY.length), repeated: Repeated.parse(JSON.parse(fromUtf8(value))) };
  },
  async spec(id) {
    const value = await store.get(SPEC + id);
    return value === undefined ? undefined : TaskSpec.parse(JSON.parse(fromUtf8(value)));
  },
  result: (id) => store.get(RESULT + id),
});
