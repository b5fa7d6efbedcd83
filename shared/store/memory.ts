import type { ListOptions, Store, StoreEntry, StoreOperation } from './port.ts';

/** A store that forgets: for tests of what stands above the port. */
export const createMemoryStore = (): Store => {
  const map = new Map<string, Uint8Array>();
  const select = ({ prefix, after, limit, reverse }: ListOptions): StoreEntry[] => {
    const found = [...map.keys()]
      .filter((key) => key.startsWith(prefix) && (after === undefined || key > after))
      .toSorted();
    const ordered = reverse === true ? found.toReversed() : found;
    return ordered.slice(0, limit ?? found.length).map((key) => ({ key, value: map.get(key)! }));
  };
  return {
    get: (key) => Promise.resolve(map.get(key)),
    async *list(options) {
      yield* select(options);
    },
    async *keys(options) {
      for (const entry of select(options)) yield entry.key;
    },
    write: (operations: readonly StoreOperation[]) => {
      for (const operation of operations) {
        if (operation.type === 'put') map.set(operation.key, Buffer.from(operation.value));
        else map.delete(operation.key);
      }
      return Promise.resolve();
    },
    compact: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
};
