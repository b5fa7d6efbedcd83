/**
 * `occupancy [--seeds N] [--method NAME] [--choose]`: is an office occupied, minute by minute, by the rules of the LTC paper (Hasani et al. 2021, table of
 * the room occupancy task), with and without the Light column. `--choose` prints how the settings were chosen: on days of the training file that were held
 * out, each from models trained on few other days. The test files take no part in that.
 */
import { parseArgs } from 'node:util';
import { QflError } from '../../shared/errors.ts';
import { spreadOf } from '../../shared/learning/metrics.ts';
import { loadOccupancy, type Occupancy } from './occupancy-data.ts';
import { ABLATION, type Method, METHODS, type Score, scoreOf } from './occupancy-methods.ts';

export const usage = '[--seeds N] [--method NAME] [--choose]';

const SEEDS = 5;

/** Accuracy in per cent as published (LTC paper, mean of five runs), with the Light column. */
const PUBLISHED =
  'published with light: LTC 94.63 ± 0.17 %, LSTM 93.18 %; without light nothing is published';

export interface OccupancyRow extends Score {
  readonly task: string;
  readonly method: string;
  readonly epsilon: null;
  readonly seed: number;
}

const taskOf = (light: boolean): string => (light ? 'occupancy-with-light' : 'occupancy-without-light');

const percent = (values: readonly number[]): string => {
  const { mean, sd } = spreadOf(values);
  return `${(100 * mean).toFixed(2)} ± ${(100 * sd).toFixed(2)} %`;
};

const shareOccupied = (windows: Occupancy['test']): number =>
  spreadOf(windows.flatMap(({ targets }) => [...targets])).mean;

/** Days to train on; the others of the training file are told. Few, so that what is told is as strange as the test files may be. */
const CHOICES = [['05'], ['06'], ['09'], ['04', '05'], ['06', '07'], ['08', '09'], ['09', '10']];
const SHIFTS = [0, 0.5, 1, 1.5];

const choose = (method: Method, data: Occupancy): void => {
  for (const shift of SHIFTS) {
    const scores = CHOICES.map((days) => {
      const inside = (day: string): boolean => days.includes(day.slice(-2));
      const training = data.training.filter(({ day }) => inside(day));
      const told = data.training.filter(({ day }, at) => !inside(day) && at % 8 === 0);
      return scoreOf({ ...method, shift }, data, training, told, 1).accuracy;
    });
    const [mean, worst] = [spreadOf(scores).mean, Math.min(...scores)];
    console.log(`  shift ${shift}: mean ${mean.toFixed(3)}, worst ${worst.toFixed(3)}`);
  }
};

const measure = (method: Method, light: boolean, seeds: number): OccupancyRow[] => {
  const data = loadOccupancy({ light, changes: method.changes });
  return Array.from({ length: seeds }, (_, at) => {
    const seed = at + 1;
    const score = scoreOf(method, data, data.training, data.test, seed);
    return { task: taskOf(light), method: method.name, epsilon: null, seed, ...score };
  });
};

const print = (rows: readonly OccupancyRow[], seconds: number): void => {
  const accuracy = percent(rows.map((row) => row.accuracy));
  const { mean, sd } = spreadOf(rows.map((row) => row.auc));
  const name = (rows[0]?.method ?? '').padEnd(16);
  console.log(
    `  ${name} ${accuracy}, AUC ${mean.toFixed(3)} ± ${sd.toFixed(3)} (${seconds.toFixed(1)} s a seed)`,
  );
};

/** The circuit's part, seed by seed: a difference within twice its standard error is none. */
const printAblation = (rows: readonly OccupancyRow[]): void => {
  const of = (name: string): number[] =>
    rows.filter(({ method }) => method === name).map((row) => row.accuracy);
  const without = of(ABLATION.without);
  const gains = of(ABLATION.with).map((accuracy, at) => accuracy - without[at]!);
  if (gains.length < 2 || gains.some(Number.isNaN)) return;
  const { mean, sd } = spreadOf(gains);
  const error = sd / Math.sqrt(gains.length);
  const verdict = mean > 2 * error ? 'it helps' : mean < -2 * error ? 'it harms' : 'it does not help';
  console.log(
    `  ablation: 3 qubits in the gate change accuracy by ${(100 * mean).toFixed(2)} ± ${(100 * error).toFixed(2)} points (standard error, ${gains.length} seeds): ${verdict}`,
  );
};

const printHead = (light: boolean): void => {
  const { test } = loadOccupancy({ light, changes: false });
  const most = Math.max(shareOccupied(test), 1 - shareOccupied(test));
  console.log(
    `${taskOf(light)}: accuracy per step of ${test.length} test windows; always the commoner: ${(100 * most).toFixed(2)} %`,
  );
};

const chosenMethods = (name: string | undefined): readonly Method[] => {
  const methods = METHODS.filter((method) => name === undefined || method.name === name);
  if (methods.length > 0) return methods;
  throw new QflError('invalid_request', {
    detail: `the methods are ${METHODS.map((method) => method.name).join(', ')}`,
  });
};

const measureAll = (
  methods: readonly Method[],
  light: boolean,
  seeds: number,
  json: boolean,
): OccupancyRow[] =>
  methods.flatMap((method) => {
    const begunMs = performance.now();
    const rows = measure(method, light, seeds);
    if (json) for (const row of rows) console.log(JSON.stringify(row));
    else print(rows, (performance.now() - begunMs) / 1_000 / seeds);
    return rows;
  });

export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<readonly OccupancyRow[]> => {
  const { values } = parseArgs({
    args: [...args],
    options: { seeds: { type: 'string' }, method: { type: 'string' }, choose: { type: 'boolean' } },
  });
  const seeds = Number(values.seeds ?? SEEDS);
  if (!Number.isInteger(seeds) || seeds < 1)
    throw new QflError('invalid_request', { detail: 'seeds is a whole number from 1' });
  const methods = chosenMethods(values.method);
  const rows: OccupancyRow[] = [];
  for (const light of [true, false]) {
    if (values.choose === true) {
      for (const method of methods.filter(({ changes }) => changes)) {
        console.log(`${taskOf(light)}, ${method.name}, days of the training file held out`);
        choose(method, loadOccupancy({ light, changes: true }));
      }
      continue;
    }
    if (!json) printHead(light);
    const measured = measureAll(methods, light, seeds, json);
    if (!json) printAblation(measured);
    rows.push(...measured);
  }
  if (!json) console.log(PUBLISHED);
  return rows;
};
