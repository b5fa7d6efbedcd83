/** What the benchmarks of learning rest on: the public sets as their READMEs count them, folds, and a simulation that is the shipped mechanism. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { SiteId } from '../../../shared/ids.ts';
import type { RawExample } from '../../../shared/learning/features.ts';
import { seeded } from '../../../shared/seeded.ts';
import { LearningData } from '../../../shared/wire/learning.ts';
import { flambySplit, loadHeart, splitHeart } from '../../bench/heart-data.ts';
import { loadSites } from '../../bench/icu.ts';
import { ICU_SITES, isTestStay, loadStays } from '../../bench/icu-data.ts';
import { toldTogether } from '../../bench/learning-bench.ts';
import { dataPath } from '../../bench/learning-data.ts';
import { trainFederation } from '../../bench/learning-federation.ts';
import { type Method, requestOf } from '../../bench/learning-methods.ts';
import { scoreSites, stratifiedFolds, stratifiedSplit } from '../../bench/learning-metrics.ts';
import { simulateTraining } from '../../bench/learning-simulation.ts';

const missing = (folder: string): boolean => !existsSync(dataPath(folder));
const whyMissing = (folder: string): string =>
  missing(folder) ? ` (skipped: ${folder} is not beside the project, nor in QFL_DATA)` : '';

describe('the public sets', () => {
  it.skipIf(missing('heart'))(`of heart disease are split as FLamby does${whyMissing('heart')}`, () => {
    const tables = loadHeart();
    const ill = (facts: readonly { conditions: ReadonlySet<string> }[]) =>
      facts.filter(({ conditions }) => conditions.has('heart-disease')).length;
    const sites = splitHeart(tables, flambySplit());
    expect(sites.map(({ train, test }) => [train.length, test.length])).toEqual([
      [199, 104],
      [172, 89],
      [30, 16],
      [85, 45],
    ]);
    // 46 %, 38 %, 98 % and 78 % of the rows without a gap.
    expect(sites.map(({ train, test }) => ill([...train, ...test]))).toEqual([139, 98, 45, 101]);
    expect(() => splitHeart(tables, 'site,row,split\ncleveland,9999,train')).toThrow(/line 2/);
  });

  it.skipIf(missing('icu-physionet2012'))(
    `of intensive care have the stays of their README${whyMissing('icu-physionet2012')}`,
    () => {
      const stays = loadStays();
      expect(ICU_SITES.map((_, site) => stays.filter((stay) => stay.site === site).length)).toEqual([
        577, 874, 1_481, 1_068,
      ]);
      const tests = stays.filter(isTestStay);
      expect([tests.length, tests.filter(({ facts }) => facts.conditions.size > 0).length]).toEqual([
        766, 90,
      ]);
    },
  );
});

describe('two folders of stays', () => {
  const outcomes = () => readFileSync(path.join(dataPath('icu-physionet2012'), 'Outcomes-a.csv'), 'utf8');
  /** The small set cut in two by the last digit of a record. */
  const writeHalves = (root: string): string[] => {
    const packed = readFileSync(path.join(dataPath('icu-physionet2012'), 'set-a-mini300.csv.gz'));
    const [head = '', ...rows] = gunzipSync(packed).toString('latin1').trimEnd().split('\n');
    return ['train', 'test'].map((name, half) => {
      const folder = path.join(root, name);
      mkdirSync(folder);
      const own = rows.filter((row) => Number(row.slice(0, row.indexOf(','))) % 2 === half);
      writeFileSync(path.join(folder, 'set-c.csv.gz'), gzipSync([head, ...own].join('\n')));
      writeFileSync(path.join(folder, 'Outcomes-c.csv'), outcomes());
      return folder;
    });
  };

  it.skipIf(missing('icu-physionet2012'))(
    `are learnt from and tested on as they are${whyMissing('icu-physionet2012')}`,
    () => {
      const root = mkdtempSync(path.join(tmpdir(), 'qfl-stays-'));
      try {
        const [train, test] = writeHalves(root);
        const sites = loadSites({ train, test });
        expect(sites.map((site) => site.train.length + site.test.length)).toEqual([75, 75, 75, 75]);
        const all = sites.flatMap((site) => [...site.train, ...site.test]);
        expect(all.filter(({ conditions }) => conditions.size > 0).length).toBe(40);
        for (const site of sites) {
          expect(site.train.length).toBeGreaterThan(20);
          expect(site.test.length).toBeGreaterThan(20);
        }
        expect(() => loadSites({ train, test: root })).toThrow(/not one file/);
      } finally {
        rmSync(root, { recursive: true });
      }
    },
  );
});

describe('models that tell together', () => {
  it('say the mean of their logits, patient by patient', () => {
    const site = (...chances: number[]) => [{ chances, targets: chances.map(() => 1) }];
    const [told] = toldTogether([site(0.5, 0.9), site(0.9, 0.9)]);
    // Odds of 1 and 9 to 1: their geometric mean is 3.
    expect(told?.chances[0]).toBeCloseTo(0.75, 12);
    expect(told?.chances[1]).toBeCloseTo(0.9, 12);
    const [certain] = toldTogether([site(1), site(0)]);
    expect(certain?.chances[0]).toBeCloseTo(0.5, 3);
  });
});

describe('folds and scores', () => {
  const patients = Array.from({ length: 53 }, (_, at) => ({
    at,
    target: at % 5 === 0 ? (1 as const) : (0 as const),
  }));

  it('test on each patient once, with either outcome in each fold', () => {
    const folds = stratifiedFolds(patients, 5, seeded(1));
    expect(folds.flatMap(({ test }) => test.map(({ at }) => at)).toSorted((a, b) => a - b)).toEqual(
      patients.map(({ at }) => at),
    );
    for (const { train, test } of folds) {
      expect(train.length + test.length).toBe(53);
      expect(test.filter(({ target }) => target === 1).length).toBeGreaterThanOrEqual(2);
    }
  });

  it('hold back the share asked for of either outcome', () => {
    const { train, test } = stratifiedSplit(patients, 0.34, seeded(2));
    expect([train.length, test.length, test.filter(({ target }) => target === 1).length]).toEqual([
      35, 18, 4,
    ]);
  });

  it('give each site the same weight in accuracy, and each patient in AUC', () => {
    const { accuracy, auc } = scoreSites([
      { chances: [0.9, 0.8, 0.7, 0.2], targets: [1, 1, 1, 0] },
      { chances: [0.6], targets: [0] },
    ]);
    expect([accuracy, auc]).toEqual([0.5, 1]);
  });
});

describe('the simulation', () => {
  const data = LearningData.parse({
    target: 'ill',
    features: [
      { kind: 'observation', code: 'pressure', low: 50, high: 250 },
      { kind: 'sex', is: 'male' },
    ],
  });
  const random = seeded(7);
  const patient = (middle: number): RawExample => {
    const pressure = middle + 60 * (random.uniform() - 0.5);
    const isIll = random.uniform() < 1 / (1 + Math.exp((150 - pressure) / 8));
    return {
      inputs: Float64Array.of(pressure, random.uniform() < 0.5 ? 1 : 0),
      series: undefined,
      target: isIll ? 1 : 0,
    };
  };
  const sites = [140, 145, 150, 160].map((middle) => Array.from({ length: 150 }, () => patient(middle)));
  const names = [0, 1, 2, 3].map((at) => SiteId.parse(`site-${at}`));
  const method = (ask: Method['ask']): Method => ({ name: '', data, epsilons: [], ask });

  it.each<[string, Method['ask'], number]>([
    ['fedsgd with moments', { rounds: 5, standardise: { share: 0.2 }, averageLast: 2 }, 100],
    ['fedsgd', { rounds: 5, momentum: 0.5, minCohort: 4 }, 100],
    [
      'fedavg',
      {
        strategy: 'fedavg',
        rounds: 3,
        clip: 2,
        local: { epochs: 3, batch: 500, optimiser: 'descent', learningRate: 1 },
      },
      900_000,
    ],
  ])('of %s learns what sealed rounds do, where there is little noise', async (_name, ask, epsilon) => {
    const request = requestOf(method(ask), epsilon);
    const real = await trainFederation(request, sites);
    const simulated = simulateTraining({ ...request, sites: names }, sites, 1);
    expect(real.weights[0]!).toBeGreaterThan(0.5);
    // Eight standard deviations of the difference and more: of the weights 0.006 at most, of the spread 0.36.
    for (const [at, weight] of real.weights.entries()) expect(simulated.weights[at]!).toBeCloseTo(weight, 1);
    expect(Math.abs(simulated.scaling.sd[0]! - real.scaling.sd[0]!)).toBeLessThan(3);
  });

  it('has the noise of sealed rounds, where there is much', async () => {
    const request = requestOf(method({ rounds: 1, clip: 1 }), 0.5);
    const spread = (values: readonly number[]): number =>
      Math.sqrt(
        values.reduce((sum, value) => sum + value ** 2, 0) / values.length -
          (values.reduce((sum, value) => sum + value, 0) / values.length) ** 2,
      );
    const few = [];
    for (let run = 0; run < 24; run += 1) few.push((await trainFederation(request, sites)).weights[1]!);
    const many = Array.from(
      { length: 400 },
      (_, seed) => simulateTraining({ ...request, sites: names }, sites, seed + 1).weights[1]!,
    );
    // The spread of 24 values is less than 0.4 of the true one, or more than twice it, a few times in a million.
    expect(spread(few) / spread(many)).toBeGreaterThan(0.4);
    expect(spread(few) / spread(many)).toBeLessThan(2);
  });
});
