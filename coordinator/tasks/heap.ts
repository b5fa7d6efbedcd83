/** A binary heap; the least element by `compare` is on top. */
export interface Heap<Value> {
  readonly size: number;
  peek(): Value | undefined;
  push(value: Value): void;
  pop(): Value | undefined;
  /** Keeps what `isKept` says, in time proportional to the size. */
  retain(isKept: (value: Value) => boolean): void;
}

export const createHeap = <Value>(compare: (left: Value, right: Value) => number): Heap<Value> => {
  let values: Value[] = [];
  const isBefore = (left: number, right: number): boolean => compare(values[left]!, values[right]!) < 0;
  const swap = (left: number, right: number): void => {
    [values[left], values[right]] = [values[right]!, values[left]!];
  };
  const rise = (from: number): void => {
    for (let at = from; at > 0;) {
      const parent = (at - 1) >> 1;
      if (!isBefore(at, parent)) return;
      swap(at, parent);
      at = parent;
    }
  };
  const sink = (from: number): void => {
    for (let at = from; ;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < values.length && isBefore(child, least)) least = child;
      if (least === at) return;
      swap(at, least);
      at = least;
    }
  };
  return {
    get size() {
      return values.length;
    },
    peek: () => values[0],
    push(value) {
      values.push(value);
      rise(values.length - 1);
    },
    pop() {
      const [top] = values;
      const last = values.pop();
      if (values.length > 0 && last !== undefined) {
        values[0] = last;
        sink(0);
      }
      return top;
    },
    retain(isKept) {
      values = values.filter(isKept);
      // Bottom up (Floyd 1964).
      for (let at = (values.length >> 1) - 1; at >= 0; at -= 1) sink(at);
    },
  };
};

/** A heap that drops values which no longer matter when they may be the most of it: its size follows what is alive. */
export const createSweptHeap = <Value>(
  compare: (left: Value, right: Value) => number,
  isStale: (value: Value) => boolean,
  sweepAt = 4_096,
): Heap<Value> => {
  const heap = createHeap(compare);
  let limit = sweepAt;
  return {
    ...heap,
    get size() {
      return heap.size;
    },
    push(value) {
      heap.push(value);
      if (heap.size <= limit) return;
      heap.retain((one) => !isStale(one));
      limit = Math.max(sweepAt, 2 * heap.size);
    },
  };
};
