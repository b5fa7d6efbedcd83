/** Merges of sorted streams: memory is one element per stream, however long they are. */

/** Reads one element ahead. */
export interface Cursor<Item> {
  current(): Item | undefined;
  advance(): Promise<void>;
  close(): Promise<void>;
}

export const openCursor = async <Item>(source: AsyncIterable<Item>): Promise<Cursor<Item>> => {
  const iterator = source[Symbol.asyncIterator]();
  let item: Item | undefined;
  const advance = async (): Promise<void> => {
    const step = await iterator.next();
    item = step.done === true ? undefined : step.value;
  };
  await advance();
  return {
    current: () => item,
    advance,
    close: async () => void (await iterator.return?.()),
  };
};

/** Moves `cursor` to the first element whose key is not below `key`; that element if it is equal. */
export const seek = async <Item>(
  cursor: Cursor<Item>,
  keyOfItem: (item: Item) => string,
  key: string,
): Promise<Item | undefined> => {
  for (let item = cursor.current(); item !== undefined; item = cursor.current()) {
    const found = keyOfItem(item);
    if (found === key) return item;
    if (found > key) return undefined;
    await cursor.advance();
  }
  return undefined;
};

/** Elements of `left` (sorted by `leftKey`) paired with the element of `right` (sorted, one per key) that has the same key. */
export async function* innerJoin<Left, Right>(
  left: AsyncIterable<Left>,
  leftKey: (item: Left) => string,
  right: AsyncIterable<Right>,
  rightKey: (item: Right) => string,
): AsyncGenerator<readonly [Left, Right]> {
  const cursor = await openCursor(right);
  try {
    for await (const item of left) {
      const match = await seek(cursor, rightKey, leftKey(item));
      if (match !== undefined) yield [item, match];
    }
  } finally {
    await cursor.close();
  }
}

/** Elements of `left` whose key is not in `right`; both sorted. */
export async function* without<Left>(
  left: AsyncIterable<Left>,
  leftKey: (item: Left) => string,
  right: AsyncIterable<string>,
): AsyncGenerator<Left> {
  const cursor = await openCursor(right);
  try {
    for await (const item of left) {
      if ((await seek(cursor, (key) => key, leftKey(item))) === undefined) yield item;
    }
  } finally {
    await cursor.close();
  }
}

/** The different keys of a sorted stream. */
export async function* distinct<Item>(
  source: AsyncIterable<Item>,
  keyOfItem: (item: Item) => string,
): AsyncGenerator<string> {
  let last: string | undefined;
  for await (const item of source) {
    const key = keyOfItem(item);
    if (key !== last) yield key;
    last = key;
  }
}

/** Sorted streams as one, each key once: of equal keys the element of the first stream that has it. */
export async function* mergeUnique<Item>(
  sources: readonly AsyncIterable<Item>[],
  keyOfItem: (item: Item) => string,
): AsyncGenerator<Item> {
  const cursors: Cursor<Item>[] = [];
  try {
    for (const source of sources) cursors.push(await openCursor(source));
    for (;;) {
      const least = cursors.reduce<Item | undefined>((best, cursor) => {
        const item = cursor.current();
        if (item === undefined) return best;
        return best === undefined || keyOfItem(item) < keyOfItem(best) ? item : best;
      }, undefined);
      if (least === undefined) return;
      const key = keyOfItem(least);
      for (const cursor of cursors) {
        const item = cursor.current();
        if (item !== undefined && keyOfItem(item) === key) await cursor.advance();
      }
      yield least;
    }
  } finally {
    for (const cursor of cursors) await cursor.close();
  }
}
