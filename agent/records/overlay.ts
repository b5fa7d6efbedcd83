import type { Store, StoreOperation } from '../../shared/store/port.ts';

/** Writes gathered for one atomic `write`, and reads that already see them. */
export interface Overlay {
  get(key: string): Promise<Uint8Array | undefined>;
  /** Reads these keys at once, so that `get` need not wait for the disk one by one. */
  prefetch(keys: readonly string[]): Promise<void>;
  /** Keys with the prefix, in no particular order. */
  keys(prefix: string): Promise<readonly string[]>;
  put(key: string, value: Uint8Array): void;
  remove(key: string): void;
  operations(): readonly StoreOperation[];
}

export const createOverlay = (store: Store): Overlay => {
  const pending = new Map<string, Uint8Array | undefined>();
  const fetched = new Map<string, Uint8Array | undefined>();
  return {
    async get(key) {
      if (pending.has(key)) return pending.get(key);
      return fetched.has(key) ? fetched.get(key) : store.get(key);
    },
    async prefetch(keys) {
      await Promise.all(keys.map(async (key) => fetched.set(key, await store.get(key))));
    },
    async keys(prefix) {
      const found = new Set<string>();
      for await (const key of store.keys({ prefix })) if (!pending.has(key)) found.add(key);
      for (const [key, value] of pending) if (value !== undefined && key.startsWith(prefix)) found.add(key);
      return [...found];
    },
    put: (key, value) => void pending.set(key, value),
    remove: (key) => void pending.set(key, undefined),
    operations: () =>
      [...pending].map(([key, value]): StoreOperation =>
        value === undefined ? { type: 'del', key } : { type: 'put', key, value },
      ),
  };
};
