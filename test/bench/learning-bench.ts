/** What the benchmarks of learning share: methods over the real federation, baselines beside them, the table, and the choice on training folds. */
import { spreadOf } from '../../shared/learning/metrics.ts';
import { rawExample, type RawExample } from '../../shared/learning/features.ts';
import { SiteId } from '../../shared/ids.ts';
import { seeded } from '../../shared/seeded.ts';
import type { LearningData } from '../../shared/wire/learning.ts';
import type { TrainingRequest } from '../../shared/wire/training.ts';
import { trainFederation } from './learning-federation.ts';
import { type Score, scoreSites, stratifiedFolds, type Told } from './learning-metrics.ts';
import {
  type Baseline,
  type ExamplesFor,
  type LearntModel,
  type Method,
  NO_PRIVACY,
  requestOf,
  type SiteExamples,
  tell,
  tellBaseline,
  tellPersonal,
} from './learning-methods.ts';
import { simulateTraining } from './learning-simulation.ts';
import type { PatientFacts } from '../../shared/learning/facts.ts';

/** What a site has to learn from, and what it is tested on. */
export interface SiteFacts {
  readonly train: readonly PatientFacts[];
  readonly test: readonly PatientFacts[];
}
/** As each method's data has them, made once for each. */
export const examplesBy = (sites: readonly SiteFacts[]): ExamplesFor => {
  const made = new Map<LearningData, readonly SiteExamples[]>();
  return (data) => {
    const of = (facts: readonly PatientFacts[]): RawExample[] =>
      facts.flatMap((one) => rawExample(one, data) ?? []);
    const examples = made.get(data) ?? sites.map(({ train, test }) => ({ train: of(train), test: of(test) }));
    made.set(data, examples);
    return examples;
  };
};

export interface Row extends Score {
  readonly task: string;
  /** On which rows: a named split, or the number of a random one. */
  readonly split: string;
  readonly method: string;
  /** null: nothing is kept private from the coordinator, or there is no federation. */
  readonly epsilon: number | null;
  readonly seed: number;
}

/** Several trainings, each charged, whose models tell together. */
export interface Together {
  readonly name: string;
  readonly methods: readonly Method[];
}

export type Tell = (row: Row) => void;
export type Place = Pick<Row, 'task' | 'split' | 'seed'>;

const PERSONAL = ', fitted at each site';

export const runBaselines = (
  { local, pooled }: { readonly local: Baseline; readonly pooled: Baseline },
  examples: ExamplesFor,
  place: Place,
  told: Tell,
): void => {
  const alone = examples(local.data).map(({ train, test }) => tellBaseline(local, train, [test])[0]!);
  told({ ...place, method: 'local only', epsilon: null, ...scoreSites(alone) });
  const sites = examples(pooled.data);
  const together = tellBaseline(
    pooled,
    sites.flatMap(({ train }) => train),
    sites.map(({ test }) => test),
  );
  told({ ...place, method: 'all in one place', epsilon: null, ...scoreSites(together) });
};

/** Logits are finite: no chance is taken for nearer to 0 or 1. */
const CHANCE_FLOOR = 1e-12;
const logitOf = (chance: number): number => {
  const inside = Math.min(1 - CHANCE_FLOOR, Math.max(CHANCE_FLOOR, chance));
  return Math.log(inside / (1 - inside));
};

/** The mean of what models say of the same patients, as logits. @param all of each model what it tells of each site */
export const toldTogether = (all: readonly (readonly Told[])[]): Told[] =>
  (all[0] ?? []).map(({ targets }, site) => ({
    targets,
    chances: targets.map((_, at) => {
      const sum = all.reduce((total, told) => total + logitOf(told[site]!.chances[at]!), 0);
      return 1 / (1 + Math.exp(-sum / all.length));
    }),
  }));

const scoresOf = (
  { name, data, personal }: Method,
  request: TrainingRequest,
  model: LearntModel,
  examples: ExamplesFor,
): (Score & Pick<Row, 'method'>)[] => {
  const sites = examples(data);
  const common = { method: name, ...scoreSites(sites.map(({ test }) => tell(request, model, test))) };
  if (personal === undefined) return [common];
  const own = tellPersonal(
    model,
    personal,
    sites,
    personal.also === undefined ? undefined : examples(personal.also),
  );
  return [common, { method: name + PERSONAL, ...scoreSites(own) }];
};

/**
 * Each training of a method over real sealed rounds, charged to real ledgers. The seed of its place is also that of the weights that a network begins from.
 * Returns what the last model tells of each site.
 */
export const runMethod = async (
  method: Method,
  examples: ExamplesFor,
  place: Place,
  told: Tell,
): Promise<readonly Told[]> => {
  const sites = examples(method.data);
  let last: readonly Told[] = [];
  for (const epsilon of method.epsilons) {
    const request = { ...requestOf(method, epsilon), seed: place.seed };
    const model = await trainFederation(
      request,
      sites.map(({ train }) => train),
    );
    for (const score of scoresOf(method, request, model, examples))
      told({ ...place, epsilon: epsilon === NO_PRIVACY ? null : epsilon, ...score });
    last = sites.map(({ test }) => tell(request, model, test));
  }
  return last;
};

/** Methods without privacy one after another, each with its rows, then their models together. */
export const runTogether = async (
  { name, methods }: Together,
  examples: ExamplesFor,
  place: Place,
  told: Tell,
): Promise<void> => {
  const all: (readonly Told[])[] = [];
  for (const method of methods) all.push(await runMethod(method, examples, place, told));
  told({ ...place, method: name, epsilon: null, ...scoreSites(toldTogether(all)) });
};

/** The longest name of a method, and some. */
const NAME_CHARS = 84;
const spreadText = (values: readonly number[]): string => {
  const { mean, sd } = spreadOf(values);
  return `${mean.toFixed(3)} ± ${Number.isNaN(sd) ? '-' : sd.toFixed(3)}`;
};

/** Rows of one split, method and epsilon as one line, with mean and standard deviation. */
export const tableText = (rows: readonly Row[]): string => {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = JSON.stringify([row.split, row.method, row.epsilon]);
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  const lines = [...groups.values()].map((group) => {
    const { split, method, epsilon } = group[0]!;
    const accuracy = spreadText(group.map((row) => row.accuracy));
    const auc = spreadText(group.map((row) => row.auc));
    const privacy = epsilon === null ? '-' : String(epsilon);
    return `${split.padEnd(12)}${method.padEnd(NAME_CHARS)}${privacy.padStart(4)}  ${accuracy}  ${auc}  (${group.length})`;
  });
  return [
    `${'split'.padEnd(12)}${'method'.padEnd(NAME_CHARS)} eps  accuracy       AUC            (runs)`,
    ...lines,
  ].join('\n');
};

const FOLDS = 5;
const SITES = ['a', 'b', 'c', 'd'].map((name) => SiteId.parse(`site-${name}`));

/** Training rows alone, cut into folds alike for all data: each patient is in the same fold whatever is looked at. */
const foldsOf = (train: ExamplesFor, data: LearningData, seed: number): ExamplesFor[] => {
  const random = seeded(seed);
  const numbers = train(data).map((site) =>
    stratifiedFolds(
      site.train.map(({ target }, at) => ({ target, at })),
      FOLDS,
      random,
    ),
  );
  return Array.from(
    { length: FOLDS },
    (_, fold) => (of: LearningData) =>
      train(of).map((site, at) => {
        const { train: learnt, test } = numbers[at]![fold]!;
        return {
          train: learnt.map((one) => site.train[one.at]!),
          test: test.map((one) => site.train[one.at]!),
        };
      }),
  );
};

/** One cross-validation of one method within training rows, by simulation: scores of each fold. */
const foldScores = (method: Method, epsilon: number, train: ExamplesFor, seed: number) =>
  foldsOf(train, method.data, seed).map((examples, fold) => {
    const sites = examples(method.data);
    const request = { ...requestOf(method, epsilon), sites: SITES.slice(0, sites.length) };
    const model = simulateTraining(
      request,
      sites.map((site) => site.train),
      seed * FOLDS + fold + 1,
    );
    return scoresOf(method, request, model, examples);
  });

/** The candidates over training folds, as they come. */
export const tune = (candidates: readonly Method[], train: ExamplesFor, repeats: number): void => {
  console.log(`in ${FOLDS} folds of the training rows, ${repeats} times; mean and spread over the folds`);
  for (const method of candidates) {
    const rows = method.epsilons.flatMap((epsilon) =>
      Array.from({ length: repeats }, (_, at) => foldScores(method, epsilon, train, at + 1))
        .flat(2)
        .map((score) => ({
          ...score,
          task: '',
          split: 'folds',
          seed: 0,
          epsilon: epsilon === NO_PRIVACY ? null : epsilon,
        })),
    );
    console.log(tableText(rows));
  }
};
