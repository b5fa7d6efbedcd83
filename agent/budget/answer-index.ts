/**
 * Where each ended query stands in the journal: key → outcome and offset. Kept in the embedded store, so that memory does not grow with the
 * ledger. The store may have lost anything (`security.md` §10), so nothing rests on it: at start the keys it holds are compared with
 * those the journal has, and it is built anew when they differ.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { hashKey, type KeyFilter, KEY_HASH_BYTES } from './key-filter.ts';
import { canonicalJson } from '../../shared/audit/canonical.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';

const PREFIX = 'ledger/ended/';
const HEAD_KEY = 'ledger/index-head';
const REBUILD_BATCH = 1_000;

const Place = z.strictObject({
  outcome: z.enum(['committed', 'unknown']),
  /** Of the record that ended the query. */
  offset: z.int().nonnegative(),
  /** Of its reservation, whose hash the answer names. */
  reservedOffset: z.int().nonnegative(),
});
export type Place = z.infer<typeof Place>;

export interface Ended {
  /** `keyText` of the charge. */
  readonly key: string;
  readonly place: Place;
}

const IndexHead = z.strictObject({ counter: z.int() });

const json = (value: Place | z.infer<typeof IndexHead>): Uint8Array => utf8(canonicalJson(value));
const parse = (bytes: Uint8Array): unknown => JSON.parse(fromUtf8(bytes));

/** Order-independent digest of a set of keys: the exclusive or of their hashes. */
export interface KeyDigest {
  add(keyHash: Uint8Array): void;
  equals(other: KeyDigest): boolean;
  value(): Uint8Array;
}

export const keyDigest = (): KeyDigest => {
  const sum = new Uint8Array(KEY_HASH_BYTES);
  return {
    add(keyHash) {
      for (let at = 0; at < KEY_HASH_BYTES; at += 1) sum[at]! ^= keyHash[at]!;
    },
    equals: (other) => Buffer.compare(sum, other.value()) === 0,
    value: () => sum,
  };
};

export interface AnswerIndex {
  /** The filter must know every key that was added. */
  get(key: string): Promise<Place | undefined>;
  /** Adds these; `counter` is the last record they cover. */
  add(ended: readonly Ended[], counter: number): Promise<void>;
  /** The last record whose ended queries the index claims to hold; −1 when it has none. */
  counter(): Promise<number>;
  /** Digest of the keys it really holds. */
  digest(): Promise<KeyDigest>;
  clear(): Promise<void>;
}

export const createAnswerIndex = (store: Store, filter: KeyFilter): AnswerIndex => ({
  async get(key) {
    if (!filter.mayHold(hashKey(key))) return undefined;
    const value = await store.get(PREFIX + key);
    return value === undefined ? undefined : Place.parse(parse(value));
  },
  async add(ended, counter) {
    const operations: StoreOperation[] = ended.map(({ key, place }) => ({
      type: 'put',
      key: PREFIX + key,
      value: json(place),
    }));
    operations.push({ type: 'put', key: HEAD_KEY, value: json({ counter }) });
    // Not synced: what is lost is found in the journal at the next start.
    await store.write(operations, { durable: false });
  },
  async counter() {
    try {
      const value = await store.get(HEAD_KEY);
      return value === undefined ? -1 : IndexHead.parse(parse(value)).counter;
    } catch {
      // Unreadable is as good as absent: everything is then written again from the journal.
      return -1;
    }
  },
  async digest() {
    const digest = keyDigest();
    for await (const key of store.keys({ prefix: PREFIX })) digest.add(hashKey(key.slice(PREFIX.length)));
    return digest;
  },
  async clear() {
    let batch: StoreOperation[] = [{ type: 'del', key: HEAD_KEY }];
    for await (const key of store.keys({ prefix: PREFIX })) {
      batch.push({ type: 'del', key });
      if (batch.length < REBUILD_BATCH) continue;
      await store.write(batch);
      batch = [];
    }
    await store.write(batch);
  },
});
