/** Minutes of an office and whether somebody was there, cut into windows by the rules of the LTC paper (README of the data). */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { assert } from '../../shared/errors.ts';
import type { ExampleSeries } from '../../shared/learning/model.ts';
import { spreadOf } from '../../shared/learning/metrics.ts';
import { dataPath } from './learning-data.ts';

export const WINDOW_STEPS = 16;
const TEST_STRIDE = 8;

const COLUMNS = ['Temperature', 'Humidity', 'Light', 'CO2', 'HumidityRatio'] as const;
/** How far back a change looks; the last: to the window's beginning, which is never further. */
const LAGS = [4, WINDOW_STEPS] as const;

/** The steps of a window, each with its own target. */
export interface Window {
  readonly series: ExampleSeries;
  readonly targets: Uint8Array;
  /** Calendar day of its first step. */
  readonly day: string;
}

export interface Occupancy {
  readonly channels: number;
  readonly training: readonly Window[];
  readonly test: readonly Window[];
  /** For each channel: how far its level differs from day to day in the training file; 0 for channels that are changes. */
  readonly daySpread: readonly number[];
}

/** One file, minute by minute. */
interface Minutes {
  /** In the order of the columns looked at. */
  readonly rows: readonly (readonly number[])[];
  readonly occupied: readonly (0 | 1)[];
  readonly days: readonly string[];
}

const unquoted = (field: string): string => field.replaceAll('"', '');

const readMinutes = (file: string, columns: readonly string[]): Minutes => {
  const text = gunzipSync(readFileSync(dataPath(`occupancy/${file}`))).toString('utf8');
  const [header = '', ...lines] = text.trim().split('\n');
  const names = header.trim().split(',').map(unquoted);
  const placeOf = (name: string): number => {
    const place = names.indexOf(name);
    assert(place >= 0, `${file} has a column ${name}`);
    return place;
  };
  const places = columns.map(placeOf);
  const [occupiedAt, dateAt] = [placeOf('Occupancy'), placeOf('date')];
  const fields = lines.map((line) => line.trim().split(',').map(unquoted));
  return {
    rows: fields.map((row) => places.map((place) => Number(row[place]))),
    occupied: fields.map((row) => (row[occupiedAt] === '1' ? 1 : 0)),
    days: fields.map((row) => (row[dateAt] ?? '').slice(0, 10)),
  };
};

/** Mean and spread of each column, as the paper standardises. */
const standardised = (minutes: Minutes, training: Minutes): Minutes => {
  const scales = (training.rows[0] ?? []).map((_, at) => spreadOf(training.rows.map((row) => row[at]!)));
  return {
    ...minutes,
    rows: minutes.rows.map((row) => row.map((value, at) => (value - scales[at]!.mean) / scales[at]!.sd)),
  };
};

/** A step counts as one unit of time, as in the paper. */
const hours = Float64Array.from({ length: WINDOW_STEPS }, (_, step) => step);

/** At each step the levels, then the changes since earlier steps of the same window: nothing outside a window is looked at. */
const windowAt = ({ rows, occupied, days }: Minutes, from: number, lags: readonly number[]): Window => {
  const steps = rows.slice(from, from + WINDOW_STEPS);
  const changes = (step: number, lag: number): number[] =>
    steps[step]!.map((value, at) => value - steps[Math.max(0, step - lag)]![at]!);
  const values = steps.flatMap((row, step) => [...row, ...lags.flatMap((lag) => changes(step, lag))]);
  const channels = values.length / WINDOW_STEPS;
  return {
    series: { steps: WINDOW_STEPS, channels, hours, values: Float64Array.from(values) },
    targets: Uint8Array.from(occupied.slice(from, from + WINDOW_STEPS)),
    day: days[from] ?? '',
  };
};

const windowsOf = (minutes: Minutes, stride: number, lags: readonly number[]): Window[] =>
  Array.from({ length: Math.floor((minutes.rows.length - WINDOW_STEPS) / stride) + 1 }, (_, at) =>
    windowAt(minutes, at * stride, lags),
  );

/** Changes are small beside levels: all channels get the same size, by the root mean square that they have in the training windows. */
const channelSizes = (windows: readonly Window[], channels: number, levels: number): Float64Array => {
  const squares = new Float64Array(channels);
  for (const { series } of windows)
    for (let at = 0; at < series.values.length; at += 1) squares[at % channels]! += series.values[at]! ** 2;
  return squares.map((sum, at) => (at < levels ? 1 : Math.sqrt(sum / (windows.length * WINDOW_STEPS))));
};

const resized = (windows: readonly Window[], sizes: Float64Array): Window[] =>
  windows.map(({ series, ...rest }) => ({
    ...rest,
    series: { ...series, values: series.values.map((value, at) => value / sizes[at % sizes.length]!) },
  }));

const daySpreadOf = ({ rows, days }: Minutes): number[] => {
  const byDay = new Map<string, (readonly number[])[]>();
  for (const [at, row] of rows.entries()) byDay.set(days[at]!, [...(byDay.get(days[at]!) ?? []), row]);
  return (rows[0] ?? []).map((_, at) => {
    const means = [...byDay.values()].map((of) => spreadOf(of.map((row) => row[at]!)).mean);
    return spreadOf(means).sd;
  });
};

export interface OccupancyOptions {
  /** With the Light column, which nearly gives the answer away? */
  readonly light: boolean;
  /** Also show how each column changed within the window? */
  readonly changes: boolean;
}

/** Standardised by the training file. Training windows begin at every minute, test windows at every eighth, of both test files. */
export const loadOccupancy = ({ light, changes }: OccupancyOptions): Occupancy => {
  const columns = COLUMNS.filter((name) => light || name !== 'Light');
  const lags = changes ? LAGS : [];
  const raw = readMinutes('datatraining.txt.gz', columns);
  const minutes = standardised(raw, raw);
  const training = windowsOf(minutes, 1, lags);
  const channels = columns.length * (1 + lags.length);
  const sizes = channelSizes(training, channels, columns.length);
  const test = ['datatest.txt.gz', 'datatest2.txt.gz'].flatMap((file) =>
    windowsOf(standardised(readMinutes(file, columns), raw), TEST_STRIDE, lags),
  );
  const daySpread = daySpreadOf(minutes);
  return {
    channels,
    training: resized(training, sizes),
    test: resized(test, sizes),
    daySpread: Array.from({ length: channels }, (_, at) => daySpread[at] ?? 0),
  };
};
