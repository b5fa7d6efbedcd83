/**
 * Personal detail beside the leaves: each person's under a key of its own, so that destroying the key destroys all of it (crypto-shredding),
 * with the salts that open the commitments. Names under the log's prefix: `k/subject` keys, `p/index` sealed detail, `x/subject/index` which
 * entries there are, `y/subject` an erasure that has begun. A subject is blinded: no key of the store names a person.
 */
import { fromUtf8, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import type { RandomBytes } from '../random.ts';
import { blind, openAtRest, sealAtRest } from '../store/encrypted.ts';
import type { Store, StoreOperation } from '../store/port.ts';
import { indexKey } from './tiles.ts';

const KEY_BYTES = 32;
const SUBJECT_CHARACTERS = 32;
const ERASE_BATCH = 1_000;

export interface PersonalDetails {
  /** The name of a person in the store. */
  subjectOf(person: string): string;
  /** The writes that put an opening beside entry `index`. */
  writesFor(subject: string, key: Uint8Array, index: number, opening: Uint8Array): Beside[];
  /**
   * Does `work` with the subject's key, made and kept first if there is none. An erasure waits until what is written under a key is written, and
   * whoever comes meanwhile gets the next key: detail under a destroyed key would be lost.
   */
  withKey<T>(subject: string, work: (key: Uint8Array) => Promise<T>): Promise<T>;
  /** The opening of entry `index`; undefined when there is none or it was erased. */
  read(index: number): Promise<Uint8Array | undefined>;
  /** Entries that hold detail of this subject, oldest first. */
  entriesOf(subject: string): AsyncIterable<number>;
  /** Destroys the key and all detail of a subject, in files too. May be run again after a crash. */
  erase(subject: string): Promise<void>;
  /** Deletes the detail of entries below `index`; the caller has it leave the files (`Store.compact` of `p/` and `x/`). */
  eraseBelow(index: number): Promise<number>;
  /** Ends erasures that a crash cut short; says how many. */
  resume(): Promise<number>;
}
interface Beside {
  readonly name: string;
  readonly value: Uint8Array;
}

export interface PersonalOptions {
  readonly store: Store;
  /** Of the log, ending in `/`. */
  readonly prefix: string;
  /** 32 bytes; blinds subjects. */
  readonly blindingKey: Uint8Array;
  readonly random: RandomBytes;
}

export const createPersonalDetails = (options: PersonalOptions): PersonalDetails => {
  const { store, prefix, blindingKey, random } = options;
  const keys = new Map<string, Promise<Uint8Array>>();
  const name = (kind: 'k' | 'p' | 'x' | 'y', rest: string): string => `${prefix}${kind}/${rest}`;

  const loadOrMake = async (subject: string): Promise<Uint8Array> => {
    const stored = await store.get(name('k', subject));
    if (stored !== undefined) return stored;
    const key = random(KEY_BYTES);
    await store.write([{ type: 'put', key: name('k', subject), value: key }]);
    return key;
  };
  async function* entriesOf(subject: string): AsyncIterable<number> {
    for await (const key of store.keys({ prefix: name('x', `${subject}/`) }))
      yield Number(key.slice(name('x', `${subject}/`).length));
  }
  /** Deletes in batches; memory stays flat. */
  const deleteAll = async (found: AsyncIterable<readonly string[]>): Promise<number> => {
    let batch: StoreOperation[] = [];
    let entries = 0;
    for await (const group of found) {
      batch.push(...group.map((key): StoreOperation => ({ type: 'del', key })));
      entries += 1;
      if (batch.length < ERASE_BATCH) continue;
      await store.write(batch);
      batch = [];
    }
    if (batch.length > 0) await store.write(batch);
    return entries;
  };
  const keyOf = (subject: string): Promise<Uint8Array> => {
    const known = keys.get(subject) ?? loadOrMake(subject);
    keys.set(subject, known);
    known.catch(() => keys.delete(subject));
    return known;
  };
  /** What is being written under the keys of subjects, and which of them are being erased. */
  const writing = new Map<string, Set<Promise<unknown>>>();
  const erasing = new Map<string, Promise<void>>();
  const withKey = async <T>(subject: string, work: (key: Uint8Array) => Promise<T>): Promise<T> => {
    // Nothing comes between the last look and the next line.
    while (erasing.has(subject)) await erasing.get(subject);
    const result = keyOf(subject).then(work);
    const others = writing.get(subject) ?? new Set();
    writing.set(subject, others.add(result));
    try {
      return await result;
    } finally {
      others.delete(result);
      if (others.size === 0) writing.delete(subject);
    }
  };
  const erase = async (subject: string): Promise<void> => {
    while (erasing.has(subject)) await erasing.get(subject);
    const erased = destroy(subject).finally(() => erasing.delete(subject));
    erasing.set(
      subject,
      erased.catch(() => undefined),
    );
    await erased;
  };
  const destroy = async (subject: string): Promise<void> => {
    await Promise.allSettled(writing.get(subject) ?? new Set<Promise<unknown>>());
    keys.delete(subject);
    // The key first: from here on nothing of it opens, whatever happens to the rest.
    await store.write([
      { type: 'put', key: name('y', subject), value: new Uint8Array(0) },
      { type: 'del', key: name('k', subject) },
    ]);
    const groups = async function* groups() {
      for await (const index of entriesOf(subject))
        yield [name('p', indexKey(index)), name('x', `${subject}/${indexKey(index)}`)];
    };
    await deleteAll(groups());
    for (const kind of ['k', 'p', 'x'] as const) await store.compact(name(kind, ''));
    await store.write([{ type: 'del', key: name('y', subject) }]);
  };

  return {
    subjectOf: (person) => blind(blindingKey, person),
    withKey,
    writesFor(subject, key, index, opening) {
      const at = indexKey(index);
      const sealed = sealAtRest(key, `${prefix}p/${at}`, opening, random);
      return [
        { name: `p/${at}`, value: Buffer.concat([utf8(subject), sealed]) },
        { name: `x/${subject}/${at}`, value: new Uint8Array(0) },
      ];
    },
    async read(index) {
      const stored = await store.get(name('p', indexKey(index)));
      if (stored === undefined) return undefined;
      const key = await store.get(name('k', fromUtf8(stored.subarray(0, SUBJECT_CHARACTERS))));
      if (key === undefined) return undefined;
      return openAtRest(key, name('p', indexKey(index)), stored.subarray(SUBJECT_CHARACTERS));
    },
    entriesOf,
    erase,
    async eraseBelow(index) {
      const end = name('p', indexKey(index));
      const groups = async function* groups() {
        for await (const { key, value } of store.list({ prefix: name('p', '') })) {
          if (key >= end) return;
          const subject = fromUtf8(value.subarray(0, SUBJECT_CHARACTERS));
          yield [key, name('x', `${subject}/${key.slice(name('p', '').length)}`)];
        }
      };
      return deleteAll(groups());
    },
    async resume() {
      const begun: string[] = [];
      for await (const key of store.keys({ prefix: name('y', '') }))
        begun.push(key.slice(name('y', '').length));
      for (const subject of begun) {
        if (subject.length !== SUBJECT_CHARACTERS)
          throw new QflError('storage_failed', { detail: 'an erasure that began does not read' });
        await erase(subject);
      }
      return begun.length;
    },
  };
};
