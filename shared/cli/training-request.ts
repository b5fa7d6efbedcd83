/** What `qfl round start` is told, as a training; and what comes of one, in words. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { QflError } from '../errors.ts';
import { TrainingRequest, type TrainingResult } from '../wire/training.ts';
import type { TargetOptions } from './connect.ts';
import { table } from './output.ts';

export interface StartOptions extends TargetOptions {
  readonly target?: string;
  readonly feature?: string[];
  readonly model?: string;
  readonly strategy?: string;
  readonly energy?: string;
  readonly name?: string;
  readonly rounds?: string;
  readonly epsilon?: string;
  readonly delta?: string;
  readonly learningRate?: string;
  readonly momentum?: string;
  readonly clip?: string;
  readonly site?: string[];
  readonly minCohort?: string;
  readonly department?: string;
  readonly unmasked?: boolean;
  readonly rule?: string;
  readonly patience?: string;
  readonly file?: string;
  readonly watch?: boolean;
  /** False with `--no-…`. */
  readonly standardise?: boolean;
  readonly evaluate?: boolean;
}

const FEATURES = 'age, sex=female, condition=CODE, is=CODE:VALUE, observation=CODE:LOW..HIGH[:TAKE][:UNIT]';
const EXAMPLE =
  'Such as: qfl round start --target 44054006 --feature age condition=38341003 --epsilon 1 --rounds 5 --watch';

const wrong = (detail: string, next: string): QflError => new QflError('invalid_request', { detail, next });

/** `CODE:LOW..HIGH`, then how it is taken and its unit where they are given. */
const observationOf = (value: string): unknown => {
  const [code, range = '', take, ...unit] = value.split(':');
  const [low, high] = range.split('..').map(Number);
  return {
    kind: 'observation',
    code,
    low,
    high,
    ...(take === undefined || take === '' ? {} : { take }),
    ...(unit.length === 0 ? {} : { unit: unit.join(':') }),
  };
};

/** @throws QflError `invalid_request` */
export const featureOf = (text: string): unknown => {
  const at = text.indexOf('=');
  const [kind, value] = at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
  if (kind === 'age' && value === undefined) return { kind };
  if (value !== undefined)
    switch (kind) {
      case 'sex':
        return { kind, is: value };
      case 'condition':
        return { kind, code: value };
      case 'observation':
        return observationOf(value);
      case 'is': {
        const [code, number] = value.split(':');
        return { kind, code, value: Number(number) };
      }
      default:
        break;
    }
  throw wrong(`"${text}" is no feature`, `Write each as one of: ${FEATURES}.`);
};

/** `CODE`, a condition; or `CODE>NUMBER`, the last measured value above it. */
const targetOf = (text: string): unknown => {
  const [code, above] = text.split('>');
  return above === undefined ? code : { code, above: Number(above) };
};

const MODELS: Readonly<Record<string, object>> = {
  logistic: { kind: 'logistic' },
  perceptron: { kind: 'perceptron' },
  cfc: { kind: 'liquid', cell: 'cfc' },
  ltc: { kind: 'liquid', cell: 'ltc' },
};

const modelOf = (name: string): object => {
  const model = MODELS[name];
  if (model !== undefined) return model;
  throw wrong(
    `there is no model ${name}`,
    `It is one of ${Object.keys(MODELS).join(', ')}; what they can be told goes into --file.`,
  );
};

const numbers = (given: Readonly<Record<string, string | undefined>>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(given).flatMap(([name, text]) => (text === undefined ? [] : [[name, Number(text)]])),
  );

const given = (values: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));

const readRequest = async (file: string): Promise<Record<string, unknown>> => {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new QflError('invalid_request', { detail: `${file} cannot be read`, cause });
  });
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  } catch (cause) {
    throw new QflError('invalid_request', {
      detail: `${file} holds no JSON object`,
      next: 'See "POST /v1/rounds" in the API description for what it may hold.',
      cause,
    });
  }
};

const optionsOf = (options: Omit<StartOptions, keyof TargetOptions>): Record<string, unknown> => {
  const { rounds, epsilon, delta, learningRate, momentum, clip, minCohort, patience } = options;
  return given({
    data:
      options.target === undefined
        ? undefined
        : { target: targetOf(options.target), features: (options.feature ?? []).map(featureOf) },
    model: options.model === undefined ? undefined : modelOf(options.model),
    ...numbers({ rounds, epsilon, delta, learningRate, momentum, clip, minCohort }),
    energy: options.energy === undefined ? undefined : { microjoulesPerPrediction: Number(options.energy) },
    strategy: options.strategy,
    name: options.name,
    silenceMs: patience === undefined ? undefined : Number(patience) * 1_000,
    sites: options.site,
    department: options.department,
    masked: options.unmasked === true ? false : undefined,
    rule: options.rule,
    standardise: options.standardise === false ? null : undefined,
    evaluate: options.evaluate === false ? null : undefined,
  });
};

/** @throws QflError `invalid_request` */
export const requestOf = async (
  options: Omit<StartOptions, keyof TargetOptions>,
): Promise<TrainingRequest> => {
  if (options.file === undefined && (options.target === undefined || options.epsilon === undefined))
    throw wrong('a training needs a target, features and an epsilon', EXAMPLE);
  const base = options.file === undefined ? {} : await readRequest(options.file);
  const parsed = TrainingRequest.safeParse({ ...base, ...optionsOf(options) });
  if (parsed.success) return parsed.data;
  throw wrong(z.prettifyError(parsed.error), EXAMPLE);
};

const short = (value: number): string => Number(value.toPrecision(4)).toString();
const percent = (share: number | null): string => (share === null ? '–' : `${(share * 100).toFixed(1)} %`);
const WEIGHTS_PRINTED_MAX = 32;
const within = (value: number | null, noise: number | null, digits: number): string =>
  value === null ? '–' : `${value.toFixed(digits)} ± ${noise === null ? '–' : noise.toFixed(digits)}`;

const evaluationText = ({ evaluation }: TrainingResult): string[] =>
  evaluation === null
    ? []
    : [
        `held out  about ${within(evaluation.patients, evaluation.noise.patients, 0)} patients, ${within(evaluation.positives, evaluation.noise.positives, 0)} with the outcome`,
        `          AUC ${within(evaluation.auc, evaluation.noise.auc, 3)}, accuracy ${within(evaluation.accuracy, evaluation.noise.accuracy, 3)} (± is one standard deviation of the noise)`,
      ];

/** A training's figures; each is a noisy sum over all patients of the sites that stayed. */
export const trainingText = (result: TrainingResult): string => {
  const { steps, weights, epsilon, delta, unit, failedRounds, without } = result;
  return [
    table(
      ['step', unit === 'patient' ? 'patients' : 'weight', 'loss', 'accuracy', 'sites', 'round'],
      steps.map(({ patients, loss, accuracy, survivors, round }, at) => [
        String(at + 1),
        unit === 'patient' ? patients.toFixed(0) : short(patients),
        loss === null ? '–' : short(loss),
        percent(accuracy),
        String(survivors),
        round,
      ]),
    ),
    '',
    ...evaluationText(result),
    weights === null || weights.length > WEIGHTS_PRINTED_MAX
      ? 'weights  in the model registry (qfl model list)'
      : `weights  ${weights.map(short).join('  ')}`,
    `privacy  epsilon ${epsilon}, delta ${delta} for each ${unit}, of the whole training`,
    ...(failedRounds === 0
      ? []
      : [`${failedRounds} steps are missing: what they would have cost was charged by rounds without a sum`]),
    ...(without.length === 0
      ? []
      : [`without ${without.join(', ')}: the others refused what it made for them`]),
  ].join('\n');
};
