/**
 * `adaptive`: a bandit over the fixed strategies, UCB1 (Auer, Cesa-Bianchi, Fischer 2002) with a discount, so that yesterday's night shift does not decide
 * today's morning. Rewards are in [0, 1]. Regret is what the best arm's mean would have brought more, and is kept in the open.
 */
export interface Bandit<Arm extends string> {
  /** The arm for the next epoch. */
  choose(): Arm;
  /** How the epoch under that arm went. */
  reward(arm: Arm, value: number): void;
  report(): {
    readonly epochs: number;
    readonly regret: number;
    readonly arms: readonly {
      readonly arm: Arm;
      readonly epochs: number;
      readonly meanReward: number | null;
    }[];
  };
}

const EXPLORATION = 0.5;
const KEPT = 0.98;

export const createBandit = <Arm extends string>(arms: readonly Arm[]): Bandit<Arm> => {
  const stats = new Map(arms.map((arm) => [arm, { epochs: 0, weight: 0, sum: 0 }]));
  const meanOf = ({ sum, weight }: { sum: number; weight: number }): number | null =>
    weight === 0 ? null : sum / weight;
  let regret = 0;
  const best = (): number => Math.max(0, ...[...stats.values()].map((arm) => meanOf(arm) ?? 0));
  return {
    choose() {
      const total = [...stats.values()].reduce((sum, { weight }) => sum + weight, 0);
      const value = (arm: Arm): number => {
        const own = stats.get(arm)!;
        const mean = meanOf(own);
        return mean === null ? Infinity : mean + EXPLORATION * Math.sqrt(Math.log(total + 1) / own.weight);
      };
      return arms.reduce((chosen, arm) => (value(arm) > value(chosen) ? arm : chosen));
    },
    reward(arm, value) {
      const bounded = Math.min(1, Math.max(0, value));
      for (const one of stats.values()) {
        one.weight *= KEPT;
        one.sum *= KEPT;
      }
      const own = stats.get(arm);
      if (own === undefined) return;
      own.epochs += 1;
      own.weight += 1;
      own.sum += bounded;
      regret += Math.max(0, best() - bounded);
    },
    report: () => ({
      epochs: [...stats.values()].reduce((sum, { epochs }) => sum + epochs, 0),
      regret,
      arms: arms.map((arm) => ({
        arm,
        epochs: stats.get(arm)!.epochs,
        meanReward: meanOf(stats.get(arm)!),
      })),
    }),
  };
};
