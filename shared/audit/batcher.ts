/**
 * Group commit: callers wait on one shared write. A write begins at once when none is running, with everything that arrived in
 * the same turn of the event loop; while it runs (about as long as an fsync) the next batch gathers. The first failure ends the batcher for good: after a write error LevelDB has acknowledged writes that
 * were gone after reopening, so nothing more is promised until the owner opens the store anew.
 */
import { QflError } from '../errors.ts';

export interface BatcherOptions<Item> {
  /** Writes these items, in order, all or none. */
  readonly commit: (items: readonly Item[]) => Promise<void>;
  readonly batchItemsMax: number;
  readonly queueItemsMax: number;
}

export interface Batcher<Item> {
  /** Throws at once when nothing more is accepted: `overloaded`, or what the first failed write threw. */
  assertOpen(): void;
  /** Resolves when the write that holds `item` is durable. */
  add(item: Item): Promise<void>;
  /** What the first failed write threw; nothing is written after it. */
  fault(): QflError | undefined;
  /** Makes `fault` the answer to everything from now on. */
  poison(fault: QflError): void;
  /** Waits for what is queued. */
  drain(): Promise<void>;
}

interface Waiting<Item> {
  readonly item: Item;
  readonly resolve: () => void;
  readonly reject: (fault: QflError) => void;
}

export const createBatcher = <Item>(options: BatcherOptions<Item>): Batcher<Item> => {
  const { commit, batchItemsMax, queueItemsMax } = options;
  const queue: Waiting<Item>[] = [];
  let fault: QflError | undefined;
  let running: Promise<void> | undefined;

  const poison = (reason: QflError): void => {
    fault ??= reason;
    for (const waiting of queue.splice(0)) waiting.reject(fault);
  };

  const writeBatch = async (batch: readonly Waiting<Item>[]): Promise<void> => {
    try {
      await commit(batch.map(({ item }) => item));
      for (const { resolve } of batch) resolve();
    } catch (cause) {
      const reason = new QflError('storage_failed', {
        detail: 'the log could not be written and takes no more entries',
        next: 'Free disk space or repair the disk, then restart the program; it verifies the log before it serves.',
        cause,
      });
      for (const { reject } of batch) reject(reason);
      poison(reason);
    }
  };

  const run = async (): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
    while (queue.length > 0) await writeBatch(queue.splice(0, batchItemsMax));
    running = undefined;
  };

  const assertOpen = (): void => {
    if (fault !== undefined) throw fault;
    if (queue.length < queueItemsMax) return;
    throw new QflError('overloaded', {
      detail: `${queueItemsMax} log entries are waiting for the disk`,
      next: 'Try again in a moment.',
    });
  };

  return {
    assertOpen,
    add: (item) =>
      new Promise((resolve, reject) => {
        assertOpen();
        queue.push({ item, resolve, reject });
        running ??= run();
      }),
    fault: () => fault,
    poison,
    drain: () => running ?? Promise.resolve(),
  };
};
