/**
 * `predictor [--seeds N] [--load L]`: does a liquid network tell service times better than the planner's own predictor? Public traces in order of
 * time: learned on the first half, settings chosen on the next fifth, compared on the rest, where the network's weights stand still and everybody goes on
 * seeing what ends. Mean absolute error of the natural logarithm of the time; mean and standard deviation over seeds, which draw sites, speeds and first weights.
 */
import { parseArgs } from 'node:util';
import { QflError } from '../../shared/errors.ts';
import { spreadOf } from '../../shared/learning/metrics.ts';
import { dataPath } from './learning-data.ts';
import { measure, type PredictorRow } from './predictor-methods.ts';
import { RATES, readTrace } from './replay-trace.ts';

export const usage = '[--seeds N] [--load L]';

const [SEEDS, LOAD] = [5, 0.8];
const TRACES = ['AzureLLMInferenceTrace_conv.first-half', 'AzureLLMInferenceTrace_code'] as const;

const plusMinus = (values: readonly number[]): string => {
  const { mean, sd } = spreadOf(values);
  return `${mean.toFixed(4)} ± ${sd.toFixed(4)}`;
};

/** Seeds on which the rule would take the method. */
const takenOf = (rows: readonly PredictorRow[]): number =>
  rows.filter(({ choice }) => choice?.used === 'candidate').length;

const settingsText = (rows: readonly PredictorRow[]): string =>
  [...new Set(rows.flatMap(({ settings }) => settings ?? []))].join('; ');

const groupsBy = (
  rows: readonly PredictorRow[],
  key: 'method' | 'trace',
): (readonly [string, readonly PredictorRow[]])[] =>
  [...new Set(rows.map((row) => row[key]))].map((name) => [name, rows.filter((row) => row[key] === name)]);

const printTrace = (name: string, rows: readonly PredictorRow[]): void => {
  const seeds = rows.filter(({ method }) => method === 'incumbent').length;
  console.log(
    `${name}: ${rows[0]?.requests} requests compared, ${seeds} seeds; mean absolute error of the logarithm (root mean square), then gain on the incumbent in the mean absolute error`,
  );
  for (const [method, own] of groupsBy(rows, 'method')) {
    const error = plusMinus(own.map(({ meanAbsoluteLogError }) => meanAbsoluteLogError));
    const root = spreadOf(own.map(({ rootMeanSquareLogError }) => rootMeanSquareLogError)).mean.toFixed(3);
    const gains = own.flatMap(({ choice }) => (choice === null ? [] : [choice]));
    const gain = plusMinus(gains.map((choice) => choice.gain));
    const standardError = spreadOf(gains.map(({ gainError }) => gainError)).mean.toFixed(4);
    const against =
      gains.length === 0
        ? ''
        : `  ${gain} (standard error on a seed ${standardError}); the rule takes it on ${takenOf(own)} of ${seeds}`;
    console.log(`  ${method.padEnd(19)} ${error} (${root})${against}`);
    if (own[0]?.settings !== null) console.log(`    settings chosen: ${settingsText(own)}`);
  }
};

/** What might take the incumbent's place: what the rule says has to hold on every comparison. */
const LEARNED = ['linear regression', 'cell, squared error', 'cell, bent error'] as const;

/** In words: who is nearest, and what the planner does. */
const verdictOf = (rows: readonly PredictorRow[]): string => {
  const sentences = groupsBy(rows, 'trace').map(([name, own]) => {
    const means = groupsBy(own, 'method').map(([method, some]) => ({
      method,
      error: spreadOf(some.map(({ meanAbsoluteLogError }) => meanAbsoluteLogError)).mean,
    }));
    const best = means.reduce((least, one) => (one.error < least.error ? one : least));
    return `${name}: nearest on the mean over seeds is: ${best.method}.`;
  });
  const decisions = LEARNED.map((method) => {
    const own = rows.filter((row) => row.method === method);
    const taken = takenOf(own);
    return `The rule takes ${method} on ${taken} of ${own.length} comparisons: ${taken === own.length ? 'it is used' : 'the incumbent stays'}.`;
  });
  return [...sentences, ...decisions].join('\n');
};

const assumptions = (load: number): string =>
  [
    `Sites, slots and speeds are drawn as in the replay bench, load ${load}; service at speed 1 before scaling: ${RATES.overheadMs} ms + prompt/${RATES.promptTokensPerSecond} s + output/${RATES.outputTokensPerSecond} s, lengths from the trace. Requests go to the least loaded site.`,
    'The incumbent is the median that the planner’s predictor tells of the site and size; the moving average is the exponentially weighted one it falls back on, over all sizes. Everybody sees site, size (a power of two), and what has ended. Linear regression and the cell correct the incumbent’s median from the same features; the cell also follows the newest sixteen ends.',
    '',
  ].join('\n');

const numberOf = (
  text: string | undefined,
  otherwise: number,
  isGood: (value: number) => boolean,
): number => {
  const value = Number(text ?? otherwise);
  if (!isGood(value))
    throw new QflError('invalid_request', {
      detail: 'seeds is a whole number from 2, load lies between 0 and 1',
    });
  return value;
};

export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<readonly PredictorRow[]> => {
  const { values } = parseArgs({
    args: [...args],
    options: { seeds: { type: 'string' }, load: { type: 'string' } },
  });
  const seeds = numberOf(values.seeds, SEEDS, (value) => Number.isInteger(value) && value >= 2);
  const load = numberOf(values.load, LOAD, (value) => value > 0 && value < 1);
  const rows: PredictorRow[] = [];
  if (!json) console.log(assumptions(load));
  for (const name of TRACES) {
    const trace = readTrace(dataPath(`llm-trace/${name}.csv.gz`));
    const own = Array.from({ length: seeds }, (_, at) => measure(name, trace, load, at + 1)).flat();
    if (json) for (const row of own) console.log(JSON.stringify(row));
    else printTrace(name, own);
    rows.push(...own);
  }
  if (!json) console.log(`\n${verdictOf(rows)}`);
  return rows;
};
