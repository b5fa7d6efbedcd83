/** How a federation's predictions are scored, and the folds that methods are chosen on. */
import { assert } from '../../shared/errors.ts';
import { accuracyOf, aucOf, spreadOf } from '../../shared/learning/metrics.ts';
import type { Seeded } from '../../shared/seeded.ts';

/** What was told of some patients of one site, and what is so. */
export interface Told {
  readonly chances: readonly number[];
  readonly targets: readonly number[];
}

export interface Score {
  /** Mean of the sites' accuracies. */
  readonly accuracy: number;
  /** Over the patients of all sites together. */
  readonly auc: number;
}

export const scoreSites = (sites: readonly Told[]): Score => ({
  accuracy: spreadOf(
    sites
      .filter(({ targets }) => targets.length > 0)
      .map(({ chances, targets }) => accuracyOf(chances, targets)),
  ).mean,
  auc: aucOf(
    sites.flatMap(({ chances }) => chances),
    sites.flatMap(({ targets }) => targets),
  ),
});

const shuffled = <T>(items: readonly T[], random: Seeded): T[] => {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at -= 1) {
    const other = random.below(at + 1);
    [order[at], order[other]] = [order[other]!, order[at]!];
  }
  return order;
};

export interface Fold<T> {
  readonly train: readonly T[];
  readonly test: readonly T[];
}
interface Labelled {
  readonly target: 0 | 1;
}

const byTarget = <T extends Labelled>(patients: readonly T[], random: Seeded): T[][] =>
  ([0, 1] as const).map((kind) =>
    shuffled(
      patients.filter(({ target }) => target === kind),
      random,
    ),
  );

/** Each patient is tested on once; each fold has its share of either target. */
export const stratifiedFolds = <T extends Labelled>(
  patients: readonly T[],
  folds: number,
  random: Seeded,
): Fold<T>[] => {
  assert(folds >= 2, 'at least two folds');
  const order = byTarget(patients, random).flat();
  return Array.from({ length: folds }, (_, fold) => ({
    train: order.filter((_one, at) => at % folds !== fold),
    test: order.filter((_one, at) => at % folds === fold),
  }));
};

/** `share` of either target for tests, rounded. */
export const stratifiedSplit = <T extends Labelled>(
  patients: readonly T[],
  share: number,
  random: Seeded,
): Fold<T> => {
  const parts = byTarget(patients, random).map((order) => {
    const tests = Math.round(order.length * share);
    return { test: order.slice(0, tests), train: order.slice(tests) };
  });
  return { train: parts.flatMap(({ train }) => train), test: parts.flatMap(({ test }) => test) };
};
