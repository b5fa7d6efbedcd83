/** Sums of integers, and whether each was exact: they are while every term and every sum stays below 2^53. Infinity is where a task may not go. */
export interface ExactSums {
  readonly add: (sum: number, term: number) => number;
  readonly isExact: boolean;
}

export const exactSums = (): ExactSums => {
  let isExact = true;
  const isFine = (value: number): boolean => value === Infinity || Number.isSafeInteger(value);
  return {
    add: (sum, term) => {
      const next = sum + term;
      if (!isFine(term) || !isFine(next)) isExact = false;
      return next;
    },
    get isExact() {
      return isExact;
    },
  };
};
