/** The 0–1 knapsack by dynamic programming over the capacity (Bellman 1957), on typed arrays that are kept from call to call. */

export class Knapsack {
  #best = new Float64Array(0);
  #taken = new Uint8Array(0);

  /**
   * The greatest profit within the capacity. Items with no profit are not taken.
   * @param profits one per item, any sign
   * @param offset where this agent's weights begin in `weights`
   * @param chosen set to 1 for what is taken, 0 for the rest
   */
  solve(
    profits: Float64Array,
    weights: Int32Array,
    offset: number,
    capacity: number,
    chosen: Uint8Array,
  ): number {
    const items = profits.length;
    const width = capacity + 1;
    if (this.#best.length < width) this.#best = new Float64Array(width);
    if (this.#taken.length < items * width) this.#taken = new Uint8Array(items * width);
    const best = this.#best;
    const taken = this.#taken;
    best.fill(0, 0, width);
    for (let item = 0; item < items; item += 1) {
      const profit = profits[item]!;
      const weight = weights[offset + item]!;
      const row = item * width;
      taken.fill(0, row, row + width);
      if (profit <= 0) continue;
      for (let room = capacity; room >= weight; room -= 1) {
        const value = best[room - weight]! + profit;
        if (value <= best[room]!) continue;
        best[room] = value;
        taken[row + room] = 1;
      }
    }
    let room = capacity;
    for (let item = items - 1; item >= 0; item -= 1) {
      chosen[item] = taken[item * width + room]!;
      if (chosen[item] === 1) room -= weights[offset + item]!;
    }
    return best[capacity]!;
  }
}

/**
 * What forcing each item costs: the best profit with the item taken, and with it left out. From the tables of prefixes and suffixes.
 * @returns two arrays of one value per item; −Infinity where an item does not fit at all
 */
export const forcedProfits = (
  profits: Float64Array,
  weights: Int32Array,
  offset: number,
  capacity: number,
): { readonly taken: Float64Array; readonly left: Float64Array } => {
  const items = profits.length;
  const width = capacity + 1;
  const prefix = new Float64Array((items + 1) * width);
  const suffix = new Float64Array((items + 1) * width);
  const extend = (table: Float64Array, from: number, to: number, item: number): void => {
    const profit = profits[item]!;
    const weight = weights[offset + item]!;
    for (let room = 0; room < width; room += 1) {
      const without = table[from * width + room]!;
      const value = profit > 0 && room >= weight ? table[from * width + room - weight]! + profit : -Infinity;
      table[to * width + room] = Math.max(without, value);
    }
  };
  for (let item = 0; item < items; item += 1) extend(prefix, item, item + 1, item);
  for (let item = items - 1; item >= 0; item -= 1) extend(suffix, item + 1, item, item);
  const taken = new Float64Array(items).fill(-Infinity);
  const left = new Float64Array(items);
  for (let item = 0; item < items; item += 1) {
    const weight = weights[offset + item]!;
    let best = 0;
    for (let room = 0; room < width; room += 1)
      best = Math.max(best, prefix[item * width + room]! + suffix[(item + 1) * width + capacity - room]!);
    left[item] = best;
    if (weight > capacity) continue;
    let with_ = -Infinity;
    for (let room = 0; room <= capacity - weight; room += 1)
      with_ = Math.max(
        with_,
        prefix[item * width + room]! + suffix[(item + 1) * width + capacity - weight - room]!,
      );
    taken[item] = with_ + profits[item]!;
  }
  return { taken, left };
};
