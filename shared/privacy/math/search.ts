/** One-dimensional searches with a bounded number of evaluations. */

const STEPS_MAX = 400;

/**
 * The end of the bracket [low, high] where `holds` is true, once the bracket is as narrow as `relative` allows. `holds` is false at
 * low and true at high, or the other way round, and changes once.
 */
export const bisect = (
  low: number,
  high: number,
  holds: (x: number) => boolean,
  relative = 1e-15,
): { readonly below: number; readonly above: number } => {
  const atLow = holds(low);
  let below = low;
  let above = high;
  for (let step = 0; step < STEPS_MAX; step += 1) {
    const middle = below + (above - below) / 2;
    if (middle <= below || middle >= above || above - below <= relative * Math.abs(middle)) break;
    if (holds(middle) === atLow) below = middle;
    else above = middle;
  }
  return { below, above };
};

const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** Where a function with one valley in [low, high] is least, within `width`. */
export const minimise = (low: number, high: number, cost: (x: number) => number, width = 1e-10): number => {
  let from = low;
  let to = high;
  let left = to - GOLDEN * (to - from);
  let right = from + GOLDEN * (to - from);
  let atLeft = cost(left);
  let atRight = cost(right);
  for (let step = 0; step < STEPS_MAX && to - from > width; step += 1) {
    if (atLeft < atRight) {
      to = right;
      [right, atRight] = [left, atLeft];
      left = to - GOLDEN * (to - from);
      atLeft = cost(left);
    } else {
      from = left;
      [left, atLeft] = [right, atRight];
      right = from + GOLDEN * (to - from);
      atRight = cost(right);
    }
  }
  return (from + to) / 2;
};
