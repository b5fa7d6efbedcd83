/** Chi-square with a bound that needs no tables. */

/**
 * Upper bound of P(X > x) for a chi-square variable of k degrees, x > k (Chernoff): (z·e^(1−z))^(k/2), z = x/k. A test that fails at
 * alpha under this bound fails at alpha exactly.
 */
export const chiSquareTailBound = (x: number, degrees: number): number => {
  const z = x / degrees;
  return z <= 1 ? 1 : Math.exp((degrees / 2) * (1 - z + Math.log(z)));
};

/** Chi-square of counts of integers against their masses; cells expecting under 25 are joined into one at each end. */
export const chiSquare = (
  draws: readonly number[],
  mass: (x: number) => number,
  tail: (x: number) => number,
): { readonly statistic: number; readonly degrees: number } => {
  let reach = 0;
  while (mass(reach + 1) * draws.length >= 25) reach += 1;
  const counts = new Map<number, number>();
  for (const draw of draws) {
    const cell = Math.max(-reach - 1, Math.min(reach + 1, draw));
    counts.set(cell, (counts.get(cell) ?? 0) + 1);
  }
  let statistic = 0;
  let degrees = -1;
  for (let cell = -reach - 1; cell <= reach + 1; cell += 1) {
    const expected = draws.length * (Math.abs(cell) > reach ? tail(reach) : mass(cell));
    if (expected < 1) continue;
    statistic += ((counts.get(cell) ?? 0) - expected) ** 2 / expected;
    degrees += 1;
  }
  return { statistic, degrees };
};
