/** Forecasters of service times: how each is learned, how its settings are chosen, and how near it comes on later time. */
import {
  chooseByLaterTime,
  type LaterTimeChoice,
  splitByTime,
} from '../../coordinator/planning/later-time.ts';
import {
  type CandidateSettings,
  type LogForecast,
  trainCandidate,
} from '../../coordinator/planning/service-candidate.ts';
import { atOnce } from '../../shared/rounds/slowly.ts';
import { type ServiceRow, serviceRows } from './predictor-data.ts';
import { type LinearSettings, trainLinear } from './predictor-linear.ts';
import type { TraceRow } from './replay-trace.ts';

const SHARES = { first: 0.5, middle: 0.2 } as const;
/** Of the first part: while sites are hardly known, the incumbent misses in ways that never come again. */
const WARM_UP = 0.1;
/** Where the loss of `cell, bent error` turns absolute, in standard deviations of the target. */
const BEND = 0.03;

type Told = (row: ServiceRow) => number;

export type Method =
  | 'incumbent'
  | 'its mean'
  | 'moving average'
  | 'last value'
  | 'running mean'
  | 'linear regression'
  | 'cell, squared error'
  | 'cell, bent error';

interface Learned {
  readonly method: Method;
  readonly told: Told;
  readonly settings: object | null;
}

/** What learns nothing beforehand. The first is the incumbent: its median is what is best by an absolute error. */
const STANDING: readonly Learned[] = [
  { method: 'incumbent', told: ({ sight }) => sight.baseLog, settings: null },
  { method: 'its mean', told: ({ sight }) => sight.meanLog, settings: null },
  { method: 'moving average', told: ({ averageLog }) => averageLog, settings: null },
  { method: 'last value', told: ({ lastLog }) => lastLog, settings: null },
  { method: 'running mean', told: ({ runningLog }) => runningLog, settings: null },
];

const LINEAR: readonly LinearSettings[] = [Infinity, 0.1, 0.01].flatMap((bend) =>
  [1, 100, 1_000].map((ridge) => ({ bend, ridge })),
);

/**
 * Ranges were looked for on the first and middle part of seed 101, which is not reported. The largest penalty was added after a comparison had been seen, so that
 * the network may stay as near to the incumbent as it likes.
 */
const cellGrid = (bend: number): readonly Omit<CandidateSettings, 'seed'>[] =>
  (['site', 'model'] as const).flatMap((follows) =>
    [0.003, 0.03, 0.3].map((l2) => ({ bend, follows, l2, units: 12, epochs: 3, rate: 0.003 })),
  );

export interface PredictorRow {
  readonly trace: string;
  readonly seed: number;
  readonly method: Method;
  /** On the last part. */
  readonly meanAbsoluteLogError: number;
  /** Root of the mean squared error of the logarithm, likewise: not what the rule goes by. */
  readonly rootMeanSquareLogError: number;
  readonly requests: number;
  /** Against the incumbent; null for itself. */
  readonly choice: LaterTimeChoice | null;
  /** As chosen on the middle part; null for what has none. */
  readonly settings: string | null;
}

const errorsOf = (told: Told, rows: readonly ServiceRow[]): Float64Array =>
  Float64Array.from(rows, (row) => Math.abs(row.serviceLog - told(row)));

const meanOf = (values: Float64Array): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

interface Chosen<Settings> {
  readonly told: Told;
  readonly settings: Settings;
}

/** Of what was learned with each of the settings, what is nearest on the middle part. */
const chosen = <Settings>(
  grid: readonly Settings[],
  learn: (settings: Settings) => Told,
  middle: readonly ServiceRow[],
): Chosen<Settings> => {
  const tried = grid.map((settings) => {
    const told = learn(settings);
    return { told, settings, error: meanOf(errorsOf(told, middle)) };
  });
  return tried.reduce((best, one) => (one.error < best.error ? one : best));
};

const settingText = (settings: object): string =>
  Object.entries(settings)
    .map(([key, value]) => `${key} ${String(value)}`)
    .join(', ');

const sightOnly =
  (forecast: LogForecast): Told =>
  ({ sight }) =>
    forecast(sight);

/** What was learned on the first part, with settings chosen on the middle one. */
const learnedOf = (
  first: readonly ServiceRow[],
  middle: readonly ServiceRow[],
  seed: number,
): readonly Learned[] => {
  const cellOf = (bend: number) =>
    chosen(
      cellGrid(bend),
      (settings) => sightOnly(atOnce(trainCandidate(first, { ...settings, seed }))),
      middle,
    );
  return [
    {
      method: 'linear regression',
      ...chosen(LINEAR, (settings) => sightOnly(trainLinear(first, settings)), middle),
    },
    { method: 'cell, squared error', ...cellOf(Infinity) },
    { method: 'cell, bent error', ...cellOf(BEND) },
  ];
};

/** One trace and seed: all methods on the last part. */
export const measure = (
  name: string,
  trace: readonly TraceRow[],
  load: number,
  seed: number,
): PredictorRow[] => {
  const { first, middle, later } = splitByTime(serviceRows(trace, load, seed), SHARES);
  const learned = learnedOf(first.slice(Math.floor(first.length * WARM_UP)), middle, seed);
  const incumbent = errorsOf(({ sight }) => sight.baseLog, later);
  return [...STANDING, ...learned].map(({ method, told, settings }) => {
    const errors = errorsOf(told, later);
    return {
      trace: name,
      seed,
      method,
      meanAbsoluteLogError: meanOf(errors),
      rootMeanSquareLogError: Math.sqrt(meanOf(errors.map((error) => error * error))),
      requests: later.length,
      choice: method === 'incumbent' ? null : chooseByLaterTime(incumbent, errors),
      settings: settings === null ? null : settingText(settings),
    };
  });
};
