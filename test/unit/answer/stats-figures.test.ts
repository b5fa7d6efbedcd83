/** From released integers to figures: exact arithmetic, intervals that hold what they say, and answers that are not believed. */
import { describe, expect, test } from 'vitest';
import { figuresOf } from '../../../agent/answer/stats/figures.ts';
import { decimalText, gridOf, unitsText } from '../../../agent/answer/stats/grid.ts';
import { createMeasuresPlanner } from '../../../agent/answer/stats/plan.ts';
import { questionOf } from '../../../agent/answer/stats/question.ts';
import { DEFAULT_LIMITS } from '../../../agent/budget/ledger.ts';
import { parseMeasure } from '../../../shared/cli/measure-text.ts';
import { mechanismToText } from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { prepareRelease } from '../../../shared/privacy/release.ts';
import { MeasuresQuery, type StatsAnswer } from '../../../shared/wire/stats.ts';
import { seededRandom } from '../../fixtures/drbg.ts';
import { memoryRecords } from '../../fixtures/fhir.ts';

const RANGE = { variable: 'age', at: '2025-01-01', low: '0', high: '100', granularity: '1' };
const query = (...measures: unknown[]): MeasuresQuery =>
  MeasuresQuery.parse({ kind: 'measures', cohort: 'Patient', measures, microEpsilon: 1_000_000 });

const planned = async (asked: MeasuresQuery) =>
  (await createMeasuresPlanner(memoryRecords())(asked, { limits: DEFAULT_LIMITS })).releases;

/** An answer with these exact vectors and fresh noise, or none. */
const answer = async (asked: MeasuresQuery, exact: readonly (readonly bigint[])[], seed?: number) => {
  const random = seededRandom(seed ?? 0);
  const releases = [];
  for (const [at, { cells, mechanism }] of (await planned(asked)).entries()) {
    const values =
      seed === undefined ? exact[at]! : (await prepareRelease(mechanism, cells.length, random))(exact[at]!);
    releases.push({ cells: [...cells], values: values.map(String), mechanism: mechanismToText(mechanism) });
  }
  return { releases, microEpsilon: 1_000_000, chargedUnits: '0', ledgers: [] } satisfies StatsAnswer;
};

const RUNS = 300;
const CONFIDENCE = 0.9;

/** Share of fresh releases whose interval holds the truth. */
const coverage = async (
  asked: MeasuresQuery,
  exact: readonly (readonly bigint[])[],
  truth: number,
  sites = 1,
): Promise<number> => {
  let held = 0;
  for (let run = 0; run < RUNS; run += 1) {
    const answers = [];
    for (let site = 0; site < sites; site += 1)
      answers.push(await answer(asked, exact, 100 + run * sites + site));
    const [figure] = figuresOf(asked, answers, CONFIDENCE);
    const shown = figure?.measure === 'quantiles' ? figure.points[0] : figure;
    const interval = shown !== undefined && 'interval' in shown ? shown.interval : null;
    if (interval !== null && Number(interval.low) <= truth && truth <= Number(interval.high)) held += 1;
  }
  return held / RUNS;
};

describe('without noise', () => {
  test('a mean is the sum of sums over the sum of counts', async () => {
    const asked = query({ measure: 'mean', of: RANGE });
    const answers = [await answer(asked, [[-200n], [10n]]), await answer(asked, [[100n], [40n]])];
    // 50 rows; twice the centred sum is −100, so the mean is 50 − 1.
    expect(figuresOf(asked, answers, 0.95)).toMatchObject([
      { measure: 'mean', value: '49', count: { value: '50' } },
    ]);
  });

  test('a mean stays within its bounds, and over nobody there is none', async () => {
    const asked = query({ measure: 'mean', of: RANGE });
    expect(figuresOf(asked, [await answer(asked, [[99_999n], [10n]])], 0.95)).toMatchObject([
      { value: '100' },
    ]);
    expect(figuresOf(asked, [await answer(asked, [[5n], [0n]])], 0.95)).toMatchObject([
      { value: null, interval: null },
    ]);
    expect(figuresOf(asked, [await answer(asked, [[5n], [-90n]])], 0.95)).toMatchObject([{ value: null }]);
  });

  test('quantiles of merged histograms', async () => {
    const asked = query({
      measure: 'quantiles',
      of: { ...RANGE, high: '9' },
      quantiles: ['0.1', '0.5', '0.95'],
      method: 'histogram',
    });
    const bins = [0n, 10n, 0n, 0n, 50n, 20n, 0n, 0n, 19n, 1n];
    const [figure] = figuresOf(asked, [await answer(asked, [bins]), await answer(asked, [bins])], 0.95);
    expect(figure?.measure === 'quantiles' && figure.points.map(({ value }) => value)).toEqual([
      '1',
      '4',
      '8',
    ]);
  });

  test('cells of a table add up over sites', async () => {
    const asked = query({ measure: 'table', by: [{ variable: 'gender' }] });
    const answers = [await answer(asked, [[1n, 2n, 3n, 4n]]), await answer(asked, [[10n, 20n, 30n, 40n]])];
    const [figure] = figuresOf(asked, answers, 0.95);
    expect(figure?.measure === 'table' && figure.cells.map(({ value }) => value)).toEqual([
      '11',
      '22',
      '33',
      '44',
    ]);
  });
});

describe('intervals hold the truth at least as often as they say', () => {
  test('count over three sites', async () => {
    const asked = query({ measure: 'count' });
    expect(await coverage(asked, [[100n]], 300, 3)).toBeGreaterThan(CONFIDENCE - 0.05);
  });
  test('mean', async () => {
    const asked = query({ measure: 'mean', of: RANGE });
    expect(await coverage(asked, [[-300n], [60n]], 47.5)).toBeGreaterThan(CONFIDENCE);
  });
  test('quantile from histograms of two sites', async () => {
    const asked = query({
      measure: 'quantiles',
      of: { ...RANGE, high: '40' },
      quantiles: ['0.3'],
      method: 'histogram',
    });
    const bins = Array.from({ length: 41 }, (_, at) => BigInt(at % 7));
    const total = bins.reduce((sum, bin) => sum + bin, 0n);
    let below = 0n;
    const truth = bins.findIndex((bin) => (below += bin) * 10n >= 3n * total);
    expect(await coverage(asked, [bins], truth, 2)).toBeGreaterThan(CONFIDENCE);
  });
});

describe('answers that are not to the question', () => {
  const asked = query({ measure: 'table', by: [{ variable: 'gender' }] });
  test.each([
    [
      'another number of vectors',
      (one: StatsAnswer) => ({ ...one, releases: [...one.releases, ...one.releases] }),
    ],
    [
      'other cells',
      (one: StatsAnswer) => ({
        ...one,
        releases: one.releases.map((release) => ({ ...release, cells: ['a', 'b', 'c', 'd'] })),
      }),
    ],
    [
      'another kind of mechanism',
      (one: StatsAnswer) => ({
        ...one,
        releases: one.releases.map((release) => ({
          ...release,
          mechanism: {
            kind: 'exponential' as const,
            candidates: 4,
            epsilon: ['1', '1'] as [string, string],
            sensitivity: '1',
          },
        })),
      }),
    ],
  ])('%s is refused', async (_, change) => {
    const given = change(await answer(asked, [[1n, 2n, 3n, 4n]]));
    expect(() => figuresOf(asked, [given], 0.95)).toThrowError(
      expect.objectContaining({ code: 'protocol' }) as Error,
    );
  });
});

describe('grids', () => {
  test('round to the nearest step, halves up, and clamp', () => {
    const grid = gridOf({ low: '-1', high: '2', granularity: '0.25' });
    const shown = ['-9', '0.12', '0.125', '1e-9', '0.1249999999999999999999', '99'].map((text) => {
      const units = grid.unitsOf(text);
      return units === undefined ? undefined : unitsText(units, grid.granularity);
    });
    expect(shown).toEqual(['-1', '0', '0.25', '0', '0', '2']);
    expect(grid.unitsOf('NaN')).toBeUndefined();
  });
  test('decimal text rounds as told', () => {
    expect(decimalText(rational(-1n, 3n), 2, 'down')).toBe('-0.34');
    expect(decimalText(rational(-1n, 3n), 2, 'up')).toBe('-0.33');
    expect(decimalText(rational(1n, 1000n), 2, 'nearest')).toBe('0');
    expect(decimalText(rational(2n, 1n), 2, 'nearest')).toBe('2');
  });
});

describe('questions as people write them', () => {
  const around = { today: '2025-06-30', sites: 3 };
  const asked = (cohort: string, ...measures: ReturnType<typeof parseMeasure>[]) =>
    questionOf({ cohort, measures: measures as { measure: 'count' }[], microEpsilon: 1 }, around).query
      .measures;

  test('short forms are written out, and what was open is fixed', () => {
    const [mean, quantiles] = asked(
      'Observation?code=4548-4',
      parseMeasure('mean', 'value % 3..15 step 0.1'),
      parseMeasure('quantiles', '0.5,0.9 age 0..110 share 2'),
    );
    expect(mean).toMatchObject({
      of: { variable: 'value', unit: '%', low: '3', high: '15', granularity: '0.1' },
      rows: { of: { resource: 'Observation' }, perPatientMax: 1, take: 'latest' },
    });
    expect(quantiles).toMatchObject({ method: 'histogram', share: 2, of: { at: '2025-06-30' } });
  });

  test('tables, steps and clauses', () => {
    const [table] = asked(
      'Patient',
      parseMeasure(
        'table',
        'gender value % 4..6 step 0.5 take 2 earliest noise laplace of Observation?code=4548-4',
      ),
    );
    expect(table).toMatchObject({
      by: [{ variable: 'gender' }, { edges: ['4.0', '4.5', '5.0', '5.5', '6.0'] }],
      rows: { perPatientMax: 2, take: 'earliest', of: { resource: 'Observation' } },
      noise: 'laplace',
    });
  });

  test.each([
    ['mean', 'value'],
    ['mean', 'pulse 3..4'],
    ['mean', 'value % 3-15'],
    ['mean', 'value % 3..15 and more'],
    ['quantiles', '0.5'],
    ['histogram', 'colour red'],
    ['histogram', 'age 0..100'],
    ['table', ''],
  ] as const)('%s "%s" is refused', (figure, text) => {
    expect(() => parseMeasure(figure, text)).toThrowError(
      expect.objectContaining({ code: 'invalid_request' }) as Error,
    );
  });

  test.each([
    ['bounds the wrong way round', parseMeasure('mean', 'age 9..3')],
    ['edges that fall', parseMeasure('histogram', 'age 10,5')],
    ['a quantile that is none', parseMeasure('quantiles', '1.5 age 0..9')],
    ['rows that are not named', parseMeasure('mean', 'value % 3..15')],
    [
      'days that fall',
      {
        measure: 'table',
        by: [{ variable: 'date', edges: ['2025-01-01', '2024-01-01'] }],
        rows: { of: 'Observation' },
      },
    ],
    [
      'keys that only the records know',
      { measure: 'table', by: [{ variable: 'code' }], rows: { of: 'Observation' } },
    ],
    ['too many candidates', parseMeasure('quantiles', '0.5 age 0..110 step 0.001')],
  ])('%s: refused before any site hears of it', (_, measure) => {
    expect(() => asked('Patient', measure)).toThrowError(
      expect.objectContaining({ code: 'invalid_request' }) as Error,
    );
  });
});
