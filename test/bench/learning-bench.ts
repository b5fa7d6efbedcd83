/** What the benchmarks of learning share: methods over the real federation, baselines beside them, the table, and the choice on training folds. */
import { spreadOf } from '../../shared/learning/metrics.ts';
import { rawExample, type RawExample } from '../../shared/learning/features.ts';
import { SiteId } from '../../shared/ids.ts';
import { seeded } from '../../shared/seeded.ts';
import type { LearningData } from '../../shared/wire/learning.ts';
import type { TrainingRequest } from '../../shared/wire/training.ts';
import { trainFederation } from './learning-federation.ts';
import { joined, type Score, scoreSites, stratifiedFolds, type Told } from './learning-metrics.ts';
import {
  type Baseline,
  type LearntModel,
  type Method,
  NO_PRIVACY,
  requestOf,
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
export interface SiteExamples {
  readonly train: readonly RawExample[];
  readonly test: readonly RawExample[];
}

/** As each method's data has them, made once for each. */
export const examplesBy = (
  sites: readonly SiteFacts[],
): ((data: LearningData) => readonly SiteExamples[]) => {
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

export type Tell = (row: Row) => void;
export type Place = Pick<Row, 'task' | 'split' | 'seed'>;

const PERSONAL = ', fitted at each site';

export const runBaselines = (
  { local, pooled }: { readonly local: Baseline; readonly pooled: Baseline },
  examples: (data: LearningData) => readonly SiteExamples[],
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

const scoresOf = (
  { name, personal }: Method,
  request: TrainingRequest,
  model: LearntModel,
  sites: readonly SiteExamples[],
): (Score & Pick<Row, 'method'>)[] => {
  const common = { method: name, ...scoreSites(sites.map(({ test }) => tell(request, model, test))) };
  if (personal === undefined) return [common];
  const own = sites.map(({ train, test }) => tellPersonal(model, personal, train, test));
  return [common, { method: name + PERSONAL, ...scoreSites(own) }];
};

/** Each training of a method over real sealed rounds, charged to real ledgers. */
export const runMethod = async (
  method: Method,
  examples: (data: LearningData) => readonly SiteExamples[],
  place: Place,
  told: Tell,
): Promise<void> => {
  const sites = examples(method.data);
  for (const epsilon of method.epsilons) {
    const request = requestOf(method, epsilon);
    const model = await trainFederation(
      request,
      sites.map(({ train }) => train),
    );
    for (const score of scoresOf(method, request, model, sites))
      told({ ...place, epsilon: epsilon === NO_PRIVACY ? null : epsilon, ...score });
  }
};

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
    return `${split.padEnd(12)}${method.padEnd(62)}${privacy.padStart(4)}  ${accuracy}  ${auc}  (${group.length})`;
  });
  return [
    `${'split'.padEnd(12)}${'method'.padEnd(62)} eps  accuracy       AUC            (runs)`,
    ...lines,
  ].join('\n');
};

const FOLDS = 5;
const SITES = ['a', 'b', 'c', 'd'].map((name) => SiteId.parse(`site-${name}`));

/** One cross-validation of one method within training rows, by simulation. */
const foldScores = (
  method: Method,
  epsilon: number,
  train: readonly (readonly RawExample[])[],
  seed: number,
) => {
  const request = { ...requestOf(method, epsilon), sites: SITES.slice(0, train.length) };
  const random = seeded(seed);
  const folds = train.map((site) => stratifiedFolds(site, FOLDS, random));
  const told: { common: Told[]; own: Told[] }[] = train.map(() => ({ common: [], own: [] }));
  const aucs: number[] = [];
  for (let fold = 0; fold < FOLDS; fold += 1) {
    const parts = folds.map((of) => of[fold]!);
    const model = simulateTraining(
      request,
      parts.map((part) => part.train),
      seed * FOLDS + fold + 1,
    );
    const common = parts.map(({ test }) => tell(request, model, test));
    // Each fold has a model of its own: chances of different folds are not held against each other.
    aucs.push(scoreSites(common).auc);
    for (const [site, part] of parts.entries()) {
      told[site]!.common.push(common[site]!);
      if (method.personal !== undefined)
        told[site]!.own.push(tellPersonal(model, method.personal, part.train, part.test));
    }
  }
  const { accuracy } = scoreSites(told.map(({ common }) => joined(common)));
  return { accuracy, auc: spreadOf(aucs).mean, told };
};

/** The candidates over training folds, as they come. */
export const tune = (
  candidates: readonly Method[],
  train: (data: LearningData) => readonly (readonly RawExample[])[],
  repeats: number,
): void => {
  console.log(`in ${FOLDS} folds of the training rows, ${repeats} times: accuracy, AUC (of each fold)`);
  for (const method of candidates)
    for (const epsilon of method.epsilons) {
      const scores = Array.from({ length: repeats }, (_, at) =>
        foldScores(method, epsilon, train(method.data), at + 1),
      );
      const privacy = epsilon === NO_PRIVACY ? '' : ` at epsilon ${epsilon}`;
      const accuracy = spreadText(scores.map((score) => score.accuracy));
      const own =
        method.personal === undefined
          ? ''
          : `; fitted at each site ${spreadText(
              scores.map(({ told }) => scoreSites(told.map((site) => joined(site.own))).accuracy),
            )}, ${spreadText(scores.map(({ told }) => scoreSites(told.map((site) => joined(site.own))).auc))}`;
      console.log(
        `${(method.name + privacy).padEnd(80)} ${accuracy}, ${spreadText(scores.map(({ auc }) => auc))}${own}`,
      );
    }
};
