/**
 * `energy [--watts W] [--rate N]`: what a prediction is estimated to cost on this machine, beside what its processor time says, and the largest models that
 * meet a budget of 50 microjoule a prediction and of 50 microwatt at N predictions a second. All figures in joules are estimates: processor time times a
 * declared power; no meter is read.
 */
import { parseArgs } from 'node:util';
import { QflError } from '../../shared/errors.ts';
import {
  calibrate,
  type Calibration,
  energyOf,
  joulesAtRate,
  largestWithin,
} from '../../shared/learning/energy.ts';
import type { Example, InputShape } from '../../shared/learning/model.ts';
import { modelOf } from '../../shared/learning/models.ts';
import { seeded } from '../../shared/seeded.ts';
import { ModelSpec } from '../../shared/wire/learning.ts';

export const usage = '[--watts W] [--rate N]';

/** Of one busy core, where no meter says better: a server processor's declared power over its cores, in round figures. */
const WATTS = 8;
const BUDGET_JOULES = 50e-6;
const BUDGET_WATTS = 50e-6;
const SHAPE: InputShape = { features: 16, channels: 8 };
const STEPS = 24;

const SPECS = [
  { kind: 'logistic' },
  { kind: 'perceptron', hidden: [16] },
  { kind: 'liquid', units: 8 },
  { kind: 'liquid', units: 32 },
  { kind: 'liquid', cell: 'ltc', units: 32 },
  { kind: 'liquid', units: 32, qubits: 3 },
].map((from) => ModelSpec.parse(from));

export interface EnergyRow {
  readonly model: string;
  readonly multiplyAdds: number;
  readonly functions: number;
  readonly estimateMicrojoules: number;
  /** Processor time of the prediction itself times the same power. */
  readonly measuredMicrojoules: number;
  readonly source: string;
}

const nameOf = (spec: ModelSpec): string => {
  if (spec.kind === 'logistic') return 'logistic';
  if (spec.kind === 'external') return spec.trainer;
  if (spec.kind === 'perceptron') return `perceptron ${spec.hidden.join('-')}`;
  return `${spec.cell} ${spec.units}${spec.qubits > 0 ? `, ${spec.qubits} qubits` : ''}`;
};

const processorSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

const example = (): Example => {
  const random = seeded(1);
  const numbers = (length: number): Float64Array =>
    Float64Array.from({ length }, () => 2 * random.uniform() - 1);
  return {
    inputs: numbers(SHAPE.features),
    target: 1,
    series: {
      steps: STEPS,
      channels: SHAPE.channels,
      hours: Float64Array.from({ length: STEPS }, (_, step) => step),
      values: numbers(STEPS * SHAPE.channels),
    },
  };
};

const secondsOf = (spec: ModelSpec): number => {
  const model = modelOf(spec, SHAPE);
  const [weights, one] = [model.initial(1), example()];
  const predict = (count: number): void => {
    for (let at = 0; at < count; at += 1) model.predict(weights, one);
  };
  predict(1_000);
  const begun = processorSeconds();
  let count = 0;
  while (processorSeconds() - begun < 0.3) {
    predict(200);
    count += 200;
  }
  return (processorSeconds() - begun) / count;
};

const measure = (spec: ModelSpec, calibration: Calibration, watts: number): EnergyRow => {
  const { operations, joules, source } = energyOf(spec, SHAPE, STEPS, calibration);
  return {
    model: nameOf(spec),
    ...operations,
    estimateMicrojoules: joules * 1e6,
    measuredMicrojoules: secondsOf(spec) * watts * 1e6,
    source,
  };
};

const CHOICES: readonly { readonly name: string; readonly specOf: (units: number) => ModelSpec }[] = [
  { name: 'perceptron', specOf: (units) => ModelSpec.parse({ kind: 'perceptron', hidden: [units] }) },
  { name: 'cfc', specOf: (units) => ModelSpec.parse({ kind: 'liquid', units }) },
  { name: 'ltc', specOf: (units) => ModelSpec.parse({ kind: 'liquid', cell: 'ltc', units }) },
];

/** In words: the largest model of each kind, or why there is none. */
const choiceOf = (calibration: Calibration, budgetJoules: number): string[] =>
  CHOICES.map(({ name, specOf }) => {
    try {
      const question = { specOf, unitsMax: 256, shape: SHAPE, steps: STEPS, calibration, budgetJoules };
      const { units, joules } = largestWithin(question);
      return `  ${name}: ${units} units, estimated ${(joules * 1e6).toFixed(2)} µJ`;
    } catch (error) {
      if (!(error instanceof QflError)) throw error;
      return `  ${name}: none; ${error.detail ?? error.title}`;
    }
  });

const print = (rows: readonly EnergyRow[], calibration: Calibration, rate: number): void => {
  const { joulesPerMultiplyAdd, joulesPerFunction, source } = calibration;
  console.log(
    `${source}: ${(joulesPerMultiplyAdd * 1e9).toFixed(2)} nJ a multiply-add, ${(joulesPerFunction * 1e9).toFixed(2)} nJ a function`,
  );
  console.log(`${SHAPE.features} features, ${SHAPE.channels} channels, ${STEPS} steps`);
  for (const row of rows)
    console.log(
      `  ${row.model.padEnd(18)} ${row.multiplyAdds} multiply-adds, ${row.functions} functions: estimated ${row.estimateMicrojoules.toFixed(2)} µJ, by its own processor time ${row.measuredMicrojoules.toFixed(2)} µJ`,
    );
  console.log(`largest within 50 µJ a prediction`);
  for (const line of choiceOf(calibration, BUDGET_JOULES)) console.log(line);
  console.log(`largest within 50 µW at ${rate} predictions a second`);
  for (const line of choiceOf(calibration, joulesAtRate(BUDGET_WATTS, rate))) console.log(line);
};

export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<readonly EnergyRow[]> => {
  const { values } = parseArgs({
    args: [...args],
    options: { watts: { type: 'string' }, rate: { type: 'string' } },
  });
  const watts = Number(values.watts ?? WATTS);
  const rate = Number(values.rate ?? 1);
  if (!(watts > 0) || !(rate > 0))
    throw new QflError('invalid_request', { detail: 'watts and rate are numbers above 0' });
  const calibration = calibrate({ watts, processorSeconds });
  const rows = SPECS.map((spec) => measure(spec, calibration, watts));
  if (json) for (const row of rows) console.log(JSON.stringify(row));
  else print(rows, calibration, rate);
  return rows;
};
