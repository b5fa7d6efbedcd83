/** Deletes keys of a prefix in batches, so that a long range neither fills the memory nor holds others up. */
import type { Store, StoreOperation } from '../store/port.ts';

/** Deleted in one write. */
const SWEEP_KEYS = 1_000;

/** Deletes the keys of `prefix` that sort before `end`. */
export const deleteBefore = async (store: Store, prefix: string, end: string): Promise<void> => {
  for (;;) {
    const gone: StoreOperation[] = [];
    for await (const key of store.keys({ prefix, limit: SWEEP_KEYS })) {
      if (key >= end) break;
      gone.push({ type: 'del', key });
    }
    if (gone.length === 0) return;
    await store.write(gone);
  }
};
