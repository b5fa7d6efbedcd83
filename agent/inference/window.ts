/** The last so many numbers, and what is asked of them. */
export interface RecentNumbers {
  add(value: number): void;
  /** null before the first. */
  mean(): number | null;
  /** The smallest that `share` of them do not exceed; null before the first. */
  quantile(share: number): number | null;
}

export const createRecentNumbers = (size: number): RecentNumbers => {
  const ring = new Float64Array(size);
  let [count, next] = [0, 0];
  const there = (): Float64Array => ring.subarray(0, count);
  return {
    add(value) {
      ring[next] = value;
      next = (next + 1) % size;
      count = Math.min(size, count + 1);
    },
    mean: () => (count === 0 ? null : there().reduce((sum, value) => sum + value, 0) / count),
    quantile(share) {
      if (count === 0) return null;
      const sorted = there().toSorted();
      return sorted[Math.min(count - 1, Math.max(0, Math.ceil(share * count) - 1))] ?? null;
    },
  };
};
