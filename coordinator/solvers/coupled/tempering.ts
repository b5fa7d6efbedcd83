/**
 * Parallel tempering (Swendsen, Wang 1986; Geyer 1991): walkers at fixed temperatures that trade places, so that a plan stuck when cold is shaken where it
 * is hot and comes back. On small rugged instances it finds in half a second what restarts of annealing miss.
 */
import type { Seeded } from '../../../shared/seeded.ts';
import type { Walker } from './anneal.ts';

export interface TemperingOptions {
  readonly random: Seeded;
  readonly cold: number;
  readonly hot: number;
  readonly deadlineMs: number;
  readonly nowMs: () => number;
}

const MOVES_BETWEEN_TRADES = 500;

/** Walks until the deadline. @param walkers at least two; coldest first when it returns */
export const temper = (
  walkers: Walker[],
  { random, cold, hot, deadlineMs, nowMs }: TemperingOptions,
): void => {
  const temperatures = walkers.map((_, at) => cold * (hot / cold) ** (at / (walkers.length - 1)));
  for (let round = 0; nowMs() < deadlineMs; round += 1) {
    walkers.forEach((walker, at) => {
      const temperature = temperatures[at]!;
      walker.run(temperature, temperature, MOVES_BETWEEN_TRADES, deadlineMs, nowMs);
    });
    for (let at = round % 2; at + 1 < walkers.length; at += 2) {
      const [left, right] = [walkers[at]!, walkers[at + 1]!];
      const gain = (1 / temperatures[at]! - 1 / temperatures[at + 1]!) * (left.cost - right.cost);
      if (gain < 0 && random.uniform() >= Math.exp(gain)) continue;
      walkers[at] = right;
      walkers[at + 1] = left;
    }
  }
};
