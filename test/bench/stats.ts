/**
 * `stats`: how far federated figures are from the truth, and how fast a histogram is released. Unit: absolute error in the figure's own
 * unit (patients for counts, rows per bin for histograms), mean over repeated releases. Input: a generated hospital of 10,000
 * patients at one site, and 4,000 intensive care stays over four sites (PhysioNet 2012), imported as any records are. Bound beside
 * every count and bin: the expected size of the noise from its closed form, which no implementation can beat at that scale. The
 * truth comes from a plain reader of the same files.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { figuresOf } from '../../agent/answer/stats/figures.ts';
import type { ExactVector } from '../../agent/answer/measurement.ts';
import { createMeasuresPlanner, evaluateMeasures } from '../../agent/answer/stats/plan.ts';
import { DEFAULT_LIMITS } from '../../agent/budget/ledger.ts';
import { laplaceMass } from '../../shared/privacy/laplace.ts';
import {
  discreteGaussian,
  discreteLaplace,
  type Mechanism,
  mechanismToText,
} from '../../shared/privacy/mechanism.ts';
import { rational, toNumber } from '../../shared/privacy/rational.ts';
import { prepareRelease } from '../../shared/privacy/release.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { type MeasureResult, MeasuresQuery, type StatsAnswer } from '../../shared/wire/stats.ts';
import {
  type Dataset,
  generatedHospital,
  hasIcu,
  intensiveCare,
  type Site,
  type Subject,
} from './stats-data.ts';

export interface StatsBenchOptions {
  readonly json: boolean;
  readonly patients?: number;
}

const PATIENTS = 10_000;
const EPSILONS = [0.1, 0.5, 1, 3] as const;
const RELEASES = 60;
const CONFIDENCE = 0.95;
const MICRO = 1_000_000;
const BIN_WIDTH = 0.5;

export interface ErrorRow {
  readonly data: string;
  readonly figure: string;
  readonly epsilon: number;
  readonly truth: number;
  readonly meanError: number;
  /** Expected from the noise alone; null where no closed form says. */
  readonly expectedError: number | null;
  /** Share of the releases whose interval held the truth. */
  readonly covered: number | null;
}

const decimals = (value: number): string => String(Number(value.toFixed(6)));

const measuresFor = ({ rows, unit, low, high, granularity }: Subject, sites: number) => {
  const range = { variable: 'value', unit, low: decimals(low), high: decimals(high) };
  const take = { of: rows, perPatientMax: 1, take: 'latest' };
  const edges = Array.from({ length: (high - low) / BIN_WIDTH + 1 }, (_, at) =>
    decimals(low + at * BIN_WIDTH),
  );
  return {
    count: { measure: 'count' },
    mean: { measure: 'mean', of: { ...range, granularity: decimals(granularity) }, rows: take },
    median: {
      measure: 'quantiles',
      of: { ...range, granularity: decimals(granularity) },
      quantiles: ['0.5'],
      method: sites === 1 ? 'select' : 'histogram',
      rows: take,
    },
    histogram: { measure: 'table', by: [{ variable: 'value', unit, edges }], rows: take },
  } as const;
};
type Figure = keyof ReturnType<typeof measuresFor>;

const queryFor = (subject: Subject, measure: unknown, epsilon: number): MeasuresQuery =>
  MeasuresQuery.parse({
    kind: 'measures',
    cohort: subject.cohort,
    measures: [measure],
    microEpsilon: Math.round(epsilon * MICRO),
  });

type Vectors = readonly (readonly bigint[])[];

/** One site's answer with fresh noise on vectors that were evaluated before. */
const answerOf = async (site: Site, query: MeasuresQuery, exact: Vectors): Promise<StatsAnswer> => {
  const { releases } = await createMeasuresPlanner(site.records)(query, { limits: DEFAULT_LIMITS });
  const noisy = [];
  for (const [at, { cells, mechanism }] of releases.entries()) {
    const release = await prepareRelease(mechanism, cells.length, secureRandomBytes);
    noisy.push({
      cells: [...cells],
      values: release(exact[at]!).map(String),
      mechanism: mechanismToText(mechanism),
    });
  }
  return { releases: noisy, microEpsilon: query.microEpsilon, chargedUnits: '0', ledgers: [] };
};

/** Numbers that a result states, with their intervals. */
const figuresIn = (result: MeasureResult) => {
  if (result.measure === 'table' || result.measure === 'keyed_table') return result.cells;
  return result.measure === 'quantiles' ? result.points : [result];
};

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.max(0, Math.ceil(sorted.length / 2) - 1)] ?? 0;
};

/** Clamped and rounded as the question asks. */
const rounded = (value: number, { low, high, granularity }: Subject): number =>
  Math.min(high, Math.max(low, Math.round(value / granularity) * granularity));

const truthOf = ({ subject, truth }: Dataset, figure: Figure): readonly number[] => {
  const { values, count } = truth;
  const onGrid = values.map((value) => rounded(value, subject));
  if (figure === 'count') return [count];
  if (figure === 'mean') return [onGrid.reduce((sum, value) => sum + value, 0) / onGrid.length];
  // As the figure is written, so that an interval that ends at the truth holds it.
  if (figure === 'median') return [Number(decimals(median(onGrid)))];
  const bins = Array.from({ length: (subject.high - subject.low) / BIN_WIDTH }, () => 0);
  for (const value of values) {
    const at = Math.floor((value - subject.low) / BIN_WIDTH);
    bins[Math.min(bins.length - 1, Math.max(0, at))]! += 1;
  }
  return bins;
};

/** E|sum of k discrete Laplace noises| by convolution; one noise per site. */
const expectedSize = (mechanism: Mechanism, sites: number): number | null => {
  if (mechanism.kind !== 'discrete_laplace') return null;
  const scale = toNumber(mechanism.scale);
  const reach = Math.ceil(scale * 20);
  const one = Float64Array.from({ length: 2 * reach + 1 }, (_, at) => laplaceMass(scale, at - reach));
  let sum: Float64Array = one;
  for (let site = 1; site < sites; site += 1) {
    const next = new Float64Array(sum.length + one.length - 1);
    sum.forEach((left, at) => one.forEach((right, other) => void (next[at + other]! += left * right)));
    sum = next;
  }
  const middle = (sum.length - 1) / 2;
  return sum.reduce((total, mass, at) => total + mass * Math.abs(at - middle), 0);
};

const errorsOf = async (
  data: Dataset,
  figure: Figure,
  epsilon: number,
  exact: Map<string, Vectors>,
): Promise<ErrorRow> => {
  const { subject, sites } = data;
  const query = queryFor(subject, measuresFor(subject, sites.length)[figure], epsilon);
  const truth = truthOf(data, figure);
  let error = 0;
  let held = 0;
  let judged = 0;
  let mechanism: Mechanism | undefined;
  for (let run = 0; run < RELEASES; run += 1) {
    const answers: StatsAnswer[] = [];
    for (const site of sites) answers.push(await answerOf(site, query, exact.get(`${site.name} ${figure}`)!));
    const [result] = figuresOf(query, answers, CONFIDENCE);
    figuresIn(result!).forEach(({ value, interval }, at) => {
      // A mean that the noise leaves open is as wrong as the range allows.
      const shown = value === null ? subject.high : Number(value);
      error += Math.abs(shown - truth[at]!) / truth.length / RELEASES;
      if (interval === null) return;
      judged += 1;
      if (Number(interval.low) <= truth[at]! && truth[at]! <= Number(interval.high)) held += 1;
    });
  }
  const { releases } = await createMeasuresPlanner(sites[0]!.records)(query, { limits: DEFAULT_LIMITS });
  mechanism = releases[0]?.mechanism;
  const isSum = figure === 'count' || figure === 'histogram';
  return {
    data: subject.name,
    figure,
    epsilon,
    truth: figure === 'histogram' ? truth.reduce((sum, value) => sum + value, 0) : truth[0]!,
    meanError: error,
    expectedError: isSum && mechanism !== undefined ? expectedSize(mechanism, sites.length) : null,
    covered: judged === 0 ? null : held / judged,
  };
};

const FIGURES: readonly Figure[] = ['count', 'mean', 'median', 'histogram'];

/** The figures of this bench name their cells. */
const cellsOnly = (exact: ExactVector): readonly bigint[] => (Array.isArray(exact) ? exact : []);

const measureData = async (data: Dataset): Promise<ErrorRow[]> => {
  const exact = new Map<string, Vectors>();
  for (const site of data.sites)
    for (const figure of FIGURES) {
      const query = queryFor(data.subject, measuresFor(data.subject, data.sites.length)[figure], 1);
      exact.set(`${site.name} ${figure}`, (await evaluateMeasures(site.records, query)).map(cellsOnly));
    }
  const rows: ErrorRow[] = [];
  for (const figure of FIGURES)
    for (const epsilon of EPSILONS) rows.push(await errorsOf(data, figure, epsilon, exact));
  return rows;
};

export interface ReleaseTime {
  readonly noise: string;
  readonly bins: number;
  readonly medianMs: number;
  readonly slowestMs: number;
}

const BINS = 1_000;
const TIMES = 40;

const releaseTime = async (noise: string, mechanism: Mechanism): Promise<ReleaseTime> => {
  const exact = Array.from({ length: BINS }, (_, at) => BigInt(at));
  const times: number[] = [];
  for (let run = 0; run < TIMES; run += 1) {
    const startMs = performance.now();
    (await prepareRelease(mechanism, BINS, secureRandomBytes))(exact);
    times.push(performance.now() - startMs);
  }
  return { noise, bins: BINS, medianMs: median(times), slowestMs: Math.max(...times) };
};

export interface StatsBenchResult {
  readonly errors: readonly ErrorRow[];
  readonly releases: readonly ReleaseTime[];
  readonly skipped: readonly string[];
}

const measureAll = async (root: string, patients: number): Promise<StatsBenchResult> => {
  const errors: ErrorRow[] = [];
  for (const data of [await generatedHospital(root, patients), await intensiveCare(root)]) {
    if (data === undefined) continue;
    errors.push(...(await measureData(data)));
    for (const site of data.sites) await site.close();
  }
  const gaussian = (sigma: bigint) => discreteGaussian(rational(1n), rational(sigma * sigma));
  return {
    errors,
    releases: [
      await releaseTime('discrete Gaussian, sigma 20', gaussian(20n)),
      await releaseTime('discrete Gaussian, sigma 200', gaussian(200n)),
      await releaseTime('discrete Laplace, scale 10', discreteLaplace(1n, rational(10n))),
    ],
    skipped: hasIcu ? [] : ['../shared/data/icu-physionet2012 is not beside the project'],
  };
};

const short = (value: number | null): string => (value === null ? '–' : String(Number(value.toPrecision(3))));

const text = ({ errors, releases, skipped }: StatsBenchResult): string =>
  [
    ...[...new Set(errors.map(({ data }) => data))].flatMap((data) => [
      data,
      'figure     epsilon  truth     mean error  noise alone  interval holds truth',
      ...errors
        .filter((row) => row.data === data)
        .map((row) =>
          [
            row.figure.padEnd(11),
            String(row.epsilon).padEnd(9),
            short(row.truth).padEnd(10),
            short(row.meanError).padEnd(12),
            short(row.expectedError).padEnd(13),
            short(row.covered),
          ].join(''),
        ),
      '',
    ]),
    ...releases.map(
      ({ noise, bins, medianMs, slowestMs }) =>
        `${bins} bins, ${noise}: median ${medianMs.toFixed(1)} ms, slowest ${slowestMs.toFixed(1)} ms (target 100 ms)`,
    ),
    ...skipped.map((reason) => `skipped: ${reason}`),
  ].join('\n');

/** Prints tables, or one JSON object with `json`. */
export const run = async ({ json, patients = PATIENTS }: StatsBenchOptions): Promise<StatsBenchResult> => {
  const root = await mkdtemp(join(tmpdir(), 'qfl-bench-stats-'));
  try {
    const result = await measureAll(root, patients);
    console.log(json ? JSON.stringify({ bench: 'stats', ...result }) : text(result));
    return result;
  } finally {
    await rm(root, { recursive: true, force: true });
  }
};
