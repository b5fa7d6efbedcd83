/**
 * `icu [--train FOLDER] [--test FOLDER] [--seeds N] [--tune]`: four kinds of intensive care units learn to tell death in hospital (shared/data/icu-physionet2012)
 * over sealed rounds with masks, noise and ledgers as they ship. One folder: trained on four fifths of its stays, tested on the rest, by the split of its README;
 * two: trained on all of one, tested on all of the other. Beside each figure what a unit does alone, what all stays in one place give, and what is published.
 */
import { parseArgs } from 'node:util';
import { QflError } from '../../shared/errors.ts';
import { ICU_SITES, isTestStay, loadStays, type Stay } from './icu-data.ts';
import { ICU_CANDIDATES, ICU_LOCAL, ICU_METHODS, ICU_POOLED, ICU_TOGETHER } from './icu-methods.ts';
import {
  examplesBy,
  type Row,
  runBaselines,
  runMethod,
  runTogether,
  type SiteFacts,
  tableText,
  type Tell,
  tune,
} from './learning-bench.ts';

export const usage = '[--train FOLDER] [--test FOLDER] [--seeds N] [--tune]';

const TUNE_REPEATS = 1;
const PUBLISHED = `published, AUC: CfC .839 ± .002, GRU-D .818, LTC with an ODE solver .648
earlier here: logistic regression .86; a linear model private at epsilon 1, 3, 8 .811, .840, .847`;

const optionsOf = (args: readonly string[]) => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      train: { type: 'string' },
      test: { type: 'string' },
      seeds: { type: 'string', default: '5' },
      tune: { type: 'boolean', default: false },
    },
  });
  const seeds = Number(values.seeds);
  if (!Number.isInteger(seeds) || seeds < 1)
    throw new QflError('invalid_request', { detail: 'seeds are a whole number from 1' });
  return { ...values, seeds };
};

const sitesOf = (train: readonly Stay[], test: readonly Stay[]): SiteFacts[] =>
  ICU_SITES.map((_, site) => {
    const of = (stays: readonly Stay[]) =>
      stays.filter((stay) => stay.site === site).map(({ facts }) => facts);
    return { train: of(train), test: of(test) };
  });

export interface Folders {
  /** The set beside the project where left out. */
  readonly train?: string | undefined;
  readonly test?: string | undefined;
}

/** What each unit learns from and is tested on: two folders as they are, or one split in two. @throws QflError `invalid_request` for a folder without stays */
export const loadSites = ({ train, test }: Folders): SiteFacts[] => {
  const stays = loadStays(train);
  if (test !== undefined) return sitesOf(stays, loadStays(test));
  return sitesOf(
    stays.filter((stay) => !isTestStay(stay)),
    stays.filter(isTestStay),
  );
};

const measure = async (
  sites: readonly SiteFacts[],
  { seeds, test }: { readonly seeds: number; readonly test?: string },
  told: Tell,
): Promise<void> => {
  const examples = examplesBy(sites);
  for (let seed = 1; seed <= seeds; seed += 1) {
    const place = { task: 'icu', split: test === undefined ? 'held back' : 'given', seed };
    // Nothing of them is drawn by chance.
    if (seed === 1) runBaselines({ local: ICU_LOCAL, pooled: ICU_POOLED }, examples, place, told);
    await runTogether(ICU_TOGETHER, examples, place, told);
    for (const method of ICU_METHODS) await runMethod(method, examples, place, told);
  }
};

export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<readonly Row[]> => {
  const options = optionsOf(args);
  const sites = loadSites(options);
  const rows: Row[] = [];
  if (options.tune) {
    const examples = examplesBy(sites);
    tune(ICU_CANDIDATES, examples, TUNE_REPEATS);
    return rows;
  }
  await measure(sites, options, (row) => {
    rows.push(row);
    if (json) console.log(JSON.stringify(row));
  });
  if (!json) console.log(`${tableText(rows)}\n${PUBLISHED}`);
  return rows;
};
