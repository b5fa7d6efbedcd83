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
