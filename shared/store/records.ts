/** Records of one kind in a store: JSON, checked by a schema on the way in and out. */
import type { z } from 'zod';
import { fromUtf8, utf8 } from '../bytes.ts';
import type { Store, StoreOperation } from './port.ts';

export interface RecordStore<Schema extends z.ZodType> {
  get(id: string): Promise<z.output<Schema> | undefined>;
  /** In the order of their ids. */
  list(options?: { readonly after?: string; readonly limit?: number }): AsyncIterable<z.output<Schema>>;
  /** The operation that keeps a record, for a write with others. */
  putting(id: string, record: z.output<Schema>): StoreOperation;
  deleting(id: string): StoreOperation;
  put(id: string, record: z.output<Schema>): Promise<void>;
  delete(id: string): Promise<void>;
}

/** @param prefix ending in `/` */
export const createRecordStore = <Schema extends z.ZodType>(
  store: Store,
  prefix: string,
  schema: Schema,
): RecordStore<Schema> => {
  const parse = (value: Uint8Array): z.output<Schema> => schema.parse(JSON.parse(fromUtf8(value)));
  const putting = (id: string, record: z.output<Schema>): StoreOperation => ({
    type: 'put',
    key: prefix + id,
    value: utf8(JSON.stringify(schema.parse(record))),
  });
  const deleting = (id: string): StoreOperation => ({ type: 'del', key: prefix + id });
  return {
    async get(id) {
      const value = await store.get(prefix + id);
      return value === undefined ? undefined : parse(value);
    },
    async *list({ after, limit } = {}) {
      const options = {
        prefix,
        ...(after === undefined ? {} : { after: prefix + after }),
        ...(limit === undefined ? {} : { limit }),
      };
      for await (const { value } of store.list(options)) yield parse(value);
    },
    putting,
    deleting,
    put: (id, record) => store.write([putting(id, record)]),
    delete: (id) => store.write([deleting(id)]),
  };
};
