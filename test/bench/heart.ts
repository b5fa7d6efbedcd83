/**
 * `heart [--split FILE] [--seeds N] [--random N] [--tune]`: four real hospitals learn to tell heart disease (shared/data/heart) over sealed rounds with masks, noise and
 * ledgers as they ship. On FLamby's split, or one in a file of the same layout, N seeds; on N random splits, a third of each hospital held back, one each.
 * Beside each figure what a hospital does alone and what all rows in one place give, and what is published. `--tune` chooses methods on training rows only.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { QflError } from '../../shared/errors.ts';
import type { PatientFacts } from '../../shared/learning/facts.ts';
import { seeded } from '../../shared/seeded.ts';
import { type HeartTables, flambySplit, loadHeart, splitHeart } from './heart-data.ts';
import { HEART_CANDIDATES, HEART_LOCAL, HEART_METHODS, HEART_POOLED } from './heart-methods.ts';
import {
  examplesBy,
  type Place,
  type Row,
  runBaselines,
  runMethod,
  type SiteFacts,
  tableText,
  type Tell,
  tune,
} from './learning-bench.ts';
import { stratifiedSplit } from './learning-metrics.ts';

export const usage = '[--split FILE] [--seeds N] [--random N] [--tune]';

const TEST_SHARE = 0.34;
const TUNE_REPEATS = 10;
const RANDOM_SEED = 777;

const PUBLISHED = `published, mean of the hospitals' accuracies on FLamby's split: all in one place .735, best federated .731, FedAvg .685, private at epsilon 1, delta 1e-3 .702
earlier here, FLamby's split: FedAvg .794 / AUC .877, hospitals alike .828 / .880; private at epsilon 1, 3, 8 .814 / .871, .811 / .873, .812 / .872
earlier here, 60 random splits: local only .839 / .886, all in one place .808 / .878, FedAvg .795 / .877, with an intercept for each hospital .830 / .878`;

const isIll = ({ conditions }: PatientFacts): 0 | 1 => (conditions.has('heart-disease') ? 1 : 0);

const randomSplit = (sites: readonly SiteFacts[], number: number): SiteFacts[] => {
  const random = seeded(RANDOM_SEED + number);
  return sites.map(({ train, test }) => {
    const labelled = [...train, ...test].map((facts) => ({ facts, target: isIll(facts) }));
    const split = stratifiedSplit(labelled, TEST_SHARE, random);
    return { train: split.train.map(({ facts }) => facts), test: split.test.map(({ facts }) => facts) };
  });
};

const runSplit = async (sites: readonly SiteFacts[], places: readonly Place[], told: Tell): Promise<void> => {
  const examples = examplesBy(sites);
  for (const place of places) {
    // Nothing of them is drawn by chance.
    if (place === places[0])
      runBaselines({ local: HEART_LOCAL, pooled: HEART_POOLED }, examples, place, told);
    for (const method of HEART_METHODS) await runMethod(method, examples, place, told);
  }
};

const placesOf = (split: string, seeds: number): Place[] =>
  Array.from({ length: seeds }, (_, at) => ({ task: 'heart', split, seed: at + 1 }));

const optionsOf = (args: readonly string[]) => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      split: { type: 'string' },
      seeds: { type: 'string', default: '5' },
      random: { type: 'string', default: '60' },
      tune: { type: 'boolean', default: false },
    },
  });
  const [seeds, random] = [Number(values.seeds), Number(values.random)];
  if (!Number.isInteger(seeds) || seeds < 1 || !Number.isInteger(random) || random < 0)
    throw new QflError('invalid_request', {
      detail: 'seeds are a whole number from 1, random splits from 0',
    });
  return { split: values.split, seeds, random, tune: values.tune };
};

const measure = async (
  tables: HeartTables,
  { split, seeds, random }: ReturnType<typeof optionsOf>,
  told: Tell,
): Promise<void> => {
  const text = split === undefined ? flambySplit() : readFileSync(split, 'utf8');
  const named = splitHeart(tables, text);
  const whole = splitHeart(tables, flambySplit());
  await runSplit(named, placesOf(split === undefined ? 'FLamby' : 'given', seeds), told);
  for (let number = 1; number <= random; number += 1)
    await runSplit(randomSplit(whole, number), [{ task: 'heart', split: 'random', seed: number }], told);
};

export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<readonly Row[]> => {
  const options = optionsOf(args);
  const tables = loadHeart();
  const rows: Row[] = [];
  if (options.tune) {
    const examples = examplesBy(splitHeart(tables, flambySplit()));
    tune(HEART_CANDIDATES, examples, TUNE_REPEATS);
    return rows;
  }
  await measure(tables, options, (row) => {
    rows.push(row);
    if (json) console.log(JSON.stringify(row));
  });
  if (!json) console.log(`${tableText(rows)}\n${PUBLISHED}`);
  return rows;
};
