/** What every store has to do. Each adapter runs it. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import type { ListOptions, Store, StoreOperation } from '../../shared/store/port.ts';

export interface StoreUnderTest {
  readonly store: Store;
  dispose(): Promise<void>;
}
export interface PersistentStoreUnderTest extends StoreUnderTest {
  /** The same store after a close and a new opening. */
  reopen(): Promise<Store>;
}

const put = (key: string, value = key): StoreOperation => ({ type: 'put', key, value: utf8(value) });
const listed = async (store: Store, options: ListOptions): Promise<string[]> => {
  const found: string[] = [];
  for await (const { key, value } of store.list(options)) found.push(`${key}=${fromUtf8(value)}`);
  return found;
};
const keysOf = async (store: Store, options: ListOptions): Promise<string[]> => {
  const found: string[] = [];
  for await (const key of store.keys(options)) found.push(key);
  return found;
};

export const storeContract = (name: string, open: () => Promise<StoreUnderTest>): void => {
  describe(`the store ${name}`, () => {
    let under: StoreUnderTest;
    beforeEach(async () => {
      under = await open();
    });
    afterEach(() => under.dispose());

    test('gives back what was put, and undefined for what was not or no longer is', async () => {
      const { store } = under;
      expect(await store.get('a')).toBeUndefined();
      await store.write([put('a', 'one'), put('b', '')]);
      expect(fromUtf8((await store.get('a'))!)).toBe('one');
      expect((await store.get('b'))!.byteLength).toBe(0);
      await store.write([put('a', 'two'), { type: 'del', key: 'b' }, { type: 'del', key: 'never' }]);
      expect(fromUtf8((await store.get('a'))!)).toBe('two');
      expect(await store.get('b')).toBeUndefined();
    });

    test('operations of one write apply in order; a later change of the caller’s bytes does not show', async () => {
      const { store } = under;
      const value = Buffer.from('first');
      await store.write([put('k', 'x'), { type: 'del', key: 'k' }, { type: 'put', key: 'k', value }]);
      value.fill(0);
      expect(fromUtf8((await store.get('k'))!)).toBe('first');
      await store.write([]);
    });

    test('lists by prefix in key order, after a key, limited, reversed', async () => {
      const { store } = under;
      await store.write(['p/1', 'p/10', 'p/2', 'p', 'p0', 'q/1', 'o/9'].map((key) => put(key, 'v')));
      expect(await listed(store, { prefix: 'p/' })).toEqual(['p/1=v', 'p/10=v', 'p/2=v']);
      expect(await keysOf(store, { prefix: 'p/', reverse: true })).toEqual(['p/2', 'p/10', 'p/1']);
      expect(await keysOf(store, { prefix: 'p/', after: 'p/1' })).toEqual(['p/10', 'p/2']);
      expect(await keysOf(store, { prefix: 'p/', after: 'a' })).toEqual(['p/1', 'p/10', 'p/2']);
      expect(await keysOf(store, { prefix: 'p/', after: 'z' })).toEqual([]);
      expect(await keysOf(store, { prefix: 'p/', limit: 2 })).toEqual(['p/1', 'p/10']);
      expect(await keysOf(store, { prefix: 'p/', limit: 2, reverse: true })).toEqual(['p/2', 'p/10']);
      expect(await keysOf(store, { prefix: 'p/', limit: 0 })).toEqual([]);
      expect(await keysOf(store, { prefix: '' })).toHaveLength(7);
    });

    test('a list is a snapshot', async () => {
      const { store } = under;
      await store.write(['1', '2', '3'].map((key) => put(`s/${key}`)));
      const seen: string[] = [];
      for await (const { key } of store.list({ prefix: 's/' })) {
        seen.push(key);
        await store.write([put('s/4'), { type: 'del', key: 's/3' }]);
      }
      expect(seen).toEqual(['s/1', 's/2', 's/3']);
      expect(await keysOf(store, { prefix: 's/' })).toEqual(['s/1', 's/2', 's/4']);
    });

    test('behaves as a sorted map under any sequence of writes', async () => {
      const operation = fc.record({
        del: fc.boolean(),
        key: fc.stringMatching(/^[ab]\/[0-3]{1,2}$/),
        value: fc.uint8Array({ maxLength: 300 }),
      });
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(operation, { maxLength: 6 }), { maxLength: 6 }),
          async (writes) => {
            const { store } = under;
            await store.write((await keysOf(store, { prefix: '' })).map((key) => ({ type: 'del', key })));
            const model = new Map<string, Uint8Array>();
            for (const write of writes) {
              await store.write(
                write.map(({ del, key, value }): StoreOperation =>
                  del ? { type: 'del', key } : { type: 'put', key, value },
                ),
                { durable: false },
              );
              for (const { del, key, value } of write)
                if (del) model.delete(key);
                else model.set(key, value);
            }
            const expected = [...model.keys()].filter((key) => key.startsWith('a/')).toSorted();
            const found: string[] = [];
            for await (const { key, value } of store.list({ prefix: 'a/' })) {
              found.push(key);
              expect([...value]).toEqual([...model.get(key)!]);
            }
            expect(found).toEqual(expected);
          },
        ),
        { numRuns: 25 },
      );
    });
  });
};

/** What a store that outlives its process has to do besides. */
export const persistentStoreContract = (
  name: string,
  open: () => Promise<PersistentStoreUnderTest>,
): void => {
  test(`the store ${name} keeps what was written over a close`, async () => {
    const under = await open();
    await under.store.write([put('kept', 'yes'), put('gone', 'yes')]);
    await under.store.write([{ type: 'del', key: 'gone' }]);
    const again = await under.reopen();
    expect(await listed(again, { prefix: '' })).toEqual(['kept=yes']);
    await under.dispose();
  });
};
