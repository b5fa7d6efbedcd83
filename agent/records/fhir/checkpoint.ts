/**
 * Where an interrupted import stands: per folder the report so far, per file its hash and the units done. Written in
 * the same atomic batch as the records themselves, removed when the folder is done, so that importing the folder
 * again replaces everything.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../../shared/bytes.ts';
import type { StoreOperation } from '../../../shared/store/port.ts';
import { keyOf, prefixOf } from '../keys.ts';
import type { Records } from '../store.ts';
import { type ImportReport, ImportReportShape } from './report.ts';

const State = z.strictObject({ run: z.string(), report: ImportReportShape });
const FileState = z.strictObject({ hash: z.string(), unitsDone: z.number().int(), complete: z.boolean() });
export type FileState = z.infer<typeof FileState>;

export interface Checkpoints {
  load(): Promise<{ readonly run: string; readonly report: ImportReport } | undefined>;
  loadFile(name: string): Promise<FileState | undefined>;
  operations(run: string, report: ImportReport, name: string, file: FileState): readonly StoreOperation[];
  clear(): Promise<void>;
}

const encode = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

export const createCheckpoints = ({ store, keys }: Records, root: string): Checkpoints => {
  const folder = keys.folder(root);
  const fileKey = (name: string): string => keyOf.importFile(folder, keys.folder(name));
  const read = async (key: string): Promise<unknown> => {
    const value = await store.get(key);
    return value === undefined ? undefined : JSON.parse(fromUtf8(value));
  };
  return {
    load: async () => State.optional().parse(await read(keyOf.importState(folder))),
    loadFile: async (name) => FileState.optional().parse(await read(fileKey(name))),
    operations: (run, report, name, file) => [
      { type: 'put', key: keyOf.importState(folder), value: encode({ run, report }) },
      { type: 'put', key: fileKey(name), value: encode(file) },
    ],
    async clear() {
      const operations: StoreOperation[] = [];
      for await (const key of store.keys({ prefix: prefixOf.import(folder) }))
        operations.push({ type: 'del', key });
      if (operations.length > 0) await store.write(operations);
    },
  };
};
