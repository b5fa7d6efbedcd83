/**
 * Where each ended query stands in the journal: key → outcome and offset. Kept in the embedded store, so that memory does not grow with the
 * ledger. The store may have lost anything without a word (`security.md` §10), so nothing rests on it: that a key is absent
 * is believed only when the filter says so, or when the key's bucket in the store is exactly what the journal put there.
 */
import { z } from 'zod';
import { fromUtf8, toHex, utf8 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import {
  bucketName,
  createKeyDigest,
  hashKey,
  KEY_HASH_BYTES,
  type KeyDigest,
  type KeyFilter,
} from './key-filter.ts';
import { createSerial } from '../../shared/serial.ts';

const PREFIX = 'ledger/answer/';
const HEAD_KEY = 'ledger/answer-head';
/** Of earlier versions, which kept whole keys; taken out when the index is built anew. */
const FORMER_PREFIXES = ['ledger/ended/', 'ledger/index-head'];
const REMOVE_BATCH = 1_000;

export interface Place {
  readonly outcome: 'committed' | 'unknown';
  /** Of the record that ended the query. */
  readonly offset: number;
  /** Of its reservation, whose hash the answer names. */
  readonly reservedOffset: number;
}

export interface Ended {
  /** `keyText` of the charge. */
  readonly key: string;
  readonly place: Place;
}

const IndexHead = z.strictObject({
  /** The last record whose ended queries the index claims to hold; −1 when it has none. */
  counter: z.int(),
  /** The first record of the journal that its offsets point into. */
  first: z.int(),
});
export type IndexHead = z.infer<typeof IndexHead>;
const NO_INDEX: IndexHead = { counter: -1, first: -1 };

const PLACE_BYTES = 17;
const encodePlace = ({ outcome, offset, reservedOffset }: Place): Uint8Array => {
  const bytes = Buffer.allocUnsafe(PLACE_BYTES);
  bytes.writeUInt8(outcome === 'committed' ? 1 : 0);
  bytes.writeBigUInt64BE(BigInt(offset), 1);
  bytes.writeBigUInt64BE(BigInt(reservedOffset), 9);
  return bytes;
};
const lost = (detail: string): QflError =>
  new QflError('ledger_damaged', {
    detail,
    next: 'Restart the agent: it rebuilds the index from the ledger.',
  });
const decodePlace = (value: Uint8Array): Place => {
  if (value.byteLength !== PLACE_BYTES) throw lost('an entry in the index of the privacy ledger is damaged');
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return {
    outcome: bytes.readUInt8() === 1 ? 'committed' : 'unknown',
    offset: Number(bytes.readBigUInt64BE(1)),
    reservedOffset: Number(bytes.readBigUInt64BE(9)),
  };
};

const hashOfName = (name: string): Uint8Array => Buffer.from(name.slice(PREFIX.length), 'hex');

export interface AnswerIndex {
  /**
   * Undefined when the query never ended here, for certain.
   * @throws QflError `ledger_damaged` when the store lost entries; the index is then built anew at the next start.
   */
  get(key: string): Promise<Place | undefined>;
  /** A record ended this query: the index owes it from here on. Synchronous, in the order of the journal. */
  owe(ended: Ended): void;
  /** It is in the store from earlier. */
  hold(ended: Ended): void;
  /** Writes these, which were owed; `counter` is the last record they cover. Not synced. */
  add(ended: readonly Ended[], counter: number): Promise<void>;
  /** Everything added before is on the disk when this returns. */
  sync(counter: number): Promise<void>;
  /** Resolves when nothing that ended up to now is owed any more. */
  settled(): Promise<void>;
  /** Is anything owed now? */
  owes(): boolean;
  /** Reads every key: does the store hold what the journal says, no more and no less? */
  sound(): Promise<boolean>;
}

/** What the index in this store claims to hold. */
export const readIndexHead = async (store: Store): Promise<IndexHead> => {
  try {
    const value = await store.get(HEAD_KEY);
    return value === undefined ? NO_INDEX : IndexHead.parse(JSON.parse(fromUtf8(value)));
  } catch {
    // Unreadable is as good as absent: everything is then written again from the journal.
    return NO_INDEX;
  }
};

/** Takes out everything, that of former versions too. */
export const clearIndex = async (store: Store): Promise<void> => {
  await store.write([{ type: 'del', key: HEAD_KEY }]);
  for (const prefix of [PREFIX, ...FORMER_PREFIXES]) {
    let batch: StoreOperation[] = [];
    for await (const key of store.keys({ prefix })) {
      batch.push({ type: 'del', key });
      if (batch.length < REMOVE_BATCH) continue;
      await store.write(batch);
      batch = [];
    }
    await store.write(batch);
  }
};

export interface AnswerIndexOptions {
  readonly store: Store;
  readonly filter: KeyFilter;
  /** Of all keys that ended so far. */
  readonly digest: KeyDigest;
  /** The first record of the journal. */
  readonly first: number;
}

export const createAnswerIndex = ({ store, filter, digest, first }: AnswerIndexOptions): AnswerIndex => {
  /** Hash of the key by offset of the record: owed to the store and not in it yet. */
  const owed = new Map<number, Uint8Array>();
  let waiting: { readonly until: ReadonlySet<number>; readonly resolve: () => void }[] = [];
  let claimed = -1;
  /** A bucket is compared between two writes, never across one. */
  const inTurn = createSerial();
  const claim = (counter: number): StoreOperation => {
    claimed = Math.max(claimed, counter);
    return { type: 'put', key: HEAD_KEY, value: utf8(JSON.stringify({ counter: claimed, first })) };
  };
  const know = ({ key }: Ended): Uint8Array => {
    const keyHash = hashKey(key);
    filter.add(keyHash);
    digest.add(keyHash);
    return keyHash;
  };
  const paid = (ended: readonly Ended[]): void => {
    for (const { place } of ended) owed.delete(place.offset);
    waiting = waiting.filter(({ until, resolve }) => {
      for (const offset of until) if (owed.has(offset)) return true;
      resolve();
      return false;
    });
  };
  const foundIn = async (prefix: string): Promise<KeyDigest> => {
    const found = createKeyDigest();
    for await (const name of store.keys({ prefix })) found.add(hashOfName(name));
    return found;
  };
  /** What a bucket should be: everything that ended, without what the store was not given yet. */
  const expectedBucket = (keyHash: Uint8Array): Uint8Array => {
    const sum = digest.bucket(keyHash);
    const name = bucketName(keyHash);
    for (const one of owed.values())
      if (bucketName(one) === name) for (let at = 0; at < KEY_HASH_BYTES; at += 1) sum[at]! ^= one[at]!;
    return sum;
  };
  const checkAbsence = async (keyHash: Uint8Array): Promise<Place | undefined> => {
    const value = await store.get(PREFIX + toHex(keyHash));
    if (value !== undefined) return decodePlace(value);
    const expected = expectedBucket(keyHash);
    const found = await foundIn(PREFIX + bucketName(keyHash));
    if (Buffer.compare(found.bucket(keyHash), expected) === 0) return undefined;
    // The next start must not believe what this store claims to hold.
    await store.write([{ type: 'del', key: HEAD_KEY }]);
    throw lost('the index of the privacy ledger has lost entries');
  };

  return {
    async get(key) {
      const keyHash = hashKey(key);
      if (!filter.mayHold(keyHash)) return undefined;
      const value = await store.get(PREFIX + toHex(keyHash));
      return value === undefined ? await inTurn(() => checkAbsence(keyHash)) : decodePlace(value);
    },
    owe(ended) {
      owed.set(ended.place.offset, know(ended));
    },
    hold: (ended) => void know(ended),
    add: (ended, counter) =>
      inTurn(async () => {
        const operations = ended.map(({ key, place }): StoreOperation => ({
          type: 'put',
          key: PREFIX + toHex(owed.get(place.offset) ?? hashKey(key)),
          value: encodePlace(place),
        }));
        // Not synced: what is lost is found in the journal at the next start.
        await store.write([...operations, claim(counter)], { durable: false });
        paid(ended);
      }),
    sync: (counter) => inTurn(() => store.write([claim(counter)])),
    settled: () =>
      owed.size === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            waiting.push({ until: new Set(owed.keys()), resolve });
          }),
    owes: () => owed.size > 0,
    sound: () =>
      inTurn(async () => {
        const expected = createKeyDigest(digest.bytes());
        for (const one of owed.values()) expected.add(one);
        return expected.equals(await foundIn(PREFIX));
      }),
  };
};
