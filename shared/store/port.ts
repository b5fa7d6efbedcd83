/**
 * The embedded store as the rest of the program knows it: sorted keys, opaque values, and one atomic, durable
 * write. Adapters: `level.ts` (LevelDB), `memory.ts` (tests), each possibly wrapped by `encrypted.ts`.
 */
export interface StoreEntry {
  readonly key: string;
  readonly value: Uint8Array;
}

export type StoreOperation =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: string };

export interface ListOptions {
  /** Only keys that start with this. */
  readonly prefix: string;
  /** Only keys that sort after this one. */
  readonly after?: string;
  readonly limit?: number;
  readonly reverse?: boolean;
}

export interface Store {
  get(key: string): Promise<Uint8Array | undefined>;
  /** Entries in key order (UTF-8 bytes). A snapshot: later writes do not appear. */
  list(options: ListOptions): AsyncIterable<StoreEntry>;
  /** Keys only; cheaper where values are not needed. */
  keys(options: ListOptions): AsyncIterable<string>;
  /**
   * All operations or none, fsynced before it returns unless `durable` is false.
   * @throws QflError `storage_failed`
   */
  write(operations: readonly StoreOperation[], options?: { readonly durable?: boolean }): Promise<void>;
  /**
   * Rewrites what holds keys of this prefix (which ends in `/`), so that values deleted or replaced are gone from the files too, not only from view. Costs as
   * much as there is below the prefix.
   */
  compact(prefix: string): Promise<void>;
  close(): Promise<void>;
}
