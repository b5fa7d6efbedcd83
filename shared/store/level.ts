import { Level } from 'level';
import { QflError } from '../errors.ts';
import type { ListOptions, Store, StoreEntry, StoreOperation } from './port.ts';

const encoding = { keyEncoding: 'utf8', valueEncoding: 'view' } as const;

const range = ({ prefix, after, limit, reverse }: ListOptions) => ({
  ...(after === undefined ? { gte: prefix } : { gt: after > prefix ? after : prefix }),
  // Keys are ASCII by construction, so every key with the prefix sorts below prefix + U+FFFF.
  lt: `${prefix}\uffff`,
  limit: limit ?? -1,
  reverse: reverse ?? false,
});

/** LevelDB has it, and writes its log out first; the package's types are those that browsers share. */
const canCompact = (db: object): db is { compactRange(start: string, end: string): Promise<void> } =>
  'compactRange' in db;

/** A key just before and one just after all that begin with `prefix`; nobody's own, because prefixes end in "/". */
const around = (prefix: string): [string, string] => {
  const [head, last] = [prefix.slice(0, -1), prefix.charCodeAt(prefix.length - 1)];
  return [
    `${head}${String.fromCharCode(last - 1)}~compact`,
    `${head}${String.fromCharCode(last + 1)}compact`,
  ];
};

class LevelStore implements Store {
  readonly #db: Level<string, Uint8Array>;

  constructor(db: Level<string, Uint8Array>) {
    this.#db = db;
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#db.get(key);
  }

  async *list(options: ListOptions): AsyncIterable<StoreEntry> {
    for await (const [key, value] of this.#db.iterator(range(options))) yield { key, value };
  }

  async *keys(options: ListOptions): AsyncIterable<string> {
    for await (const key of this.#db.keys(range(options))) yield key;
  }

  async write(operations: readonly StoreOperation[], { durable = true } = {}): Promise<void> {
    try {
      // Operation by operation: handing over an array costs twice the time of the whole write.
      const batch = this.#db.batch();
      for (const operation of operations) {
        if (operation.type === 'put') batch.put(operation.key, operation.value);
        else batch.del(operation.key);
      }
      await batch.write({ sync: durable });
    } catch (cause) {
      throw new QflError('storage_failed', { detail: 'the local store could not be written', cause });
    }
  }

  async compact(prefix: string): Promise<void> {
    const db = this.#db;
    if (!canCompact(db)) return;
    const bounds = around(prefix);
    const rewrite = (): Promise<void> => db.compactRange(...bounds);
    // LevelDB rewrites a file only when a file above overlaps it, and what is in memory it may put down to where nothing is above: so the
    // first pass brings everything to disk, and each of the next lays something around the range that has to be merged with it.
    await rewrite();
    for (const type of ['put', 'del'] as const) {
      await db.batch(
        bounds.map((key) => (type === 'put' ? { type, key, value: new Uint8Array(0) } : { type, key })),
        { sync: true },
      );
      await rewrite();
    }
  }

  close(): Promise<void> {
    return this.#db.close();
  }
}

const isLocked = (error: unknown): boolean =>
  error instanceof Error && (('code' in error && error.code === 'LEVEL_LOCKED') || isLocked(error.cause));

/**
 * Opens (or creates) a LevelDB folder.
 * @throws QflError `conflict` when another process holds it, `storage_failed` otherwise.
 */
export const openLevelStore = async (folder: string): Promise<Store> => {
  const db = new Level<string, Uint8Array>(folder, encoding);
  try {
    await db.open();
  } catch (cause) {
    if (isLocked(cause)) {
      throw new QflError('conflict', {
        detail: `another process has ${folder} open`,
        next: 'Stop the running program first, or talk to it through its API.',
        cause,
      });
    }
    throw new QflError('storage_failed', { detail: `the store in ${folder} could not be opened`, cause });
  }
  return new LevelStore(db);
};
