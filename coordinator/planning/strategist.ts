/** Which weights are in force. A fixed strategy is itself; `adaptive` asks the bandit, one epoch after another, and keeps its regret in the open. */
import { createBandit } from './bandit.ts';
import { FIXED_STRATEGIES, type FixedStrategy, type Strategy } from './strategies.ts';

/** Served requests in one epoch. */
export const EPOCH_REQUESTS = 50;

export interface Strategist {
  current(strategy: Strategy): FixedStrategy;
  /** A request that was served: what it could have taken at best, and what it took from question to end. */
  ended(bestMs: number, tookMs: number, isLate: boolean): void;
  report(): ReturnType<ReturnType<typeof createBandit<FixedStrategy>>['report']>;
}

export const createStrategist = (): Strategist => {
  const bandit = createBandit(FIXED_STRATEGIES);
  let arm: FixedStrategy = bandit.choose();
  let [sum, count] = [0, 0];
  return {
    current: (strategy) => (strategy === 'adaptive' ? arm : strategy),
    ended(bestMs, tookMs, isLate) {
      // 1 is as fast as the best site alone would have been, 0 is late: comparable over sizes and sites.
      sum += isLate ? 0 : Math.min(1, (bestMs + 1) / (tookMs + 1));
      count += 1;
      if (count < EPOCH_REQUESTS) return;
      bandit.reward(arm, sum / count);
      [sum, count] = [0, 0];
      arm = bandit.choose();
    },
    report: () => bandit.report(),
  };
};
