/** One thing after another. */
export type Serial = <T>(action: () => Promise<T>) => Promise<T>;

/** Each waits until those before it are over, whether they went well or not. */
export const createSerial = (): Serial => {
  let last: Promise<unknown> = Promise.resolve();
  return (action) => {
    const result = last.then(action);
    last = result.catch(() => undefined);
    return result;
  };
};

export type SerialByKey<Key> = <T>(key: Key, action: () => Promise<T>) => Promise<T>;

/** As `createSerial`, among those of one key; keys that nothing waits for are not kept. */
export const createSerialByKey = <Key>(): SerialByKey<Key> => {
  const lasts = new Map<Key, Promise<unknown>>();
  return (key, action) => {
    const result = (lasts.get(key) ?? Promise.resolve()).then(action);
    const last = result
      .catch(() => undefined)
      .finally(() => {
        if (lasts.get(key) === last) lasts.delete(key);
      });
    lasts.set(key, last);
    return result;
  };
};

/**
 * Work that may be asked for at any time and runs once at a time: whoever asks gets a run that begins after the question, together with all
 * who ask before it begins. Asking often does not queue up.
 */
export const createLane = (work: () => Promise<void>): (() => Promise<void>) => {
  const inTurn = createSerial();
  let next: Promise<void> | undefined;
  return () =>
    (next ??= inTurn(() => {
      next = undefined;
      return work();
    }));
};

/** Does `work` for each item in their order, at most `max` at once. An error is thrown when the rest is over. */
export const eachOf = async <T>(
  items: readonly T[],
  max: number,
  work: (item: T) => Promise<void>,
): Promise<void> => {
  const left = items.values();
  const results = await Promise.allSettled(
    Array.from({ length: max }, async () => {
      for (const item of left) await work(item);
    }),
  );
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
};
