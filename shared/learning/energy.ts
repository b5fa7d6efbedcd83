/**
 * What a prediction costs in energy: operations counted from the model's structure, times joules for each. An estimate, and labelled as
 * one: nothing here reads a power meter. The joules come from processor time of known kernels times a declared power.
 */
import { QflError } from '../errors.ts';
import type { ModelSpec } from '../wire/learning.ts';
import type { InputShape } from './model.ts';
import { type Operations, operationsOf } from './operations.ts';

export interface Calibration {
  readonly joulesPerMultiplyAdd: number;
  readonly joulesPerFunction: number;
  /** Where the figures come from, for whoever reads an estimate. */
  readonly source: string;
}

/** What calibration measures with; time as a parameter. */
export interface CalibrationOptions {
  /** Declared power of one busy core, from its data sheet or a meter. */
  readonly watts: number;
  /** Processor time that this program has used so far. */
  readonly processorSeconds: () => number;
  /** Processor time to spend on each kernel. */
  readonly secondsPerKernel?: number;
}

const KERNEL = 64;
const ROUNDS = 200;

/** Runs of `kernel`, `perRun` operations each, until the time is used: seconds for one operation. */
const secondsPerOperation = (
  kernel: () => void,
  perRun: number,
  { processorSeconds, secondsPerKernel = 0.2 }: CalibrationOptions,
): number => {
  // Warm: the first runs are not yet compiled.
  for (let run = 0; run < ROUNDS; run += 1) kernel();
  const begun = processorSeconds();
  let runs = 0;
  let used = 0;
  while (used < secondsPerKernel) {
    for (let run = 0; run < ROUNDS; run += 1) kernel();
    runs += ROUNDS;
    used = processorSeconds() - begun;
  }
  return used / (runs * perRun);
};

/** A product with a matrix in compressed rows, as the models' own. */
const productKernel = (): (() => void) => {
  const column = Int32Array.from({ length: KERNEL * KERNEL }, (_, at) => (7 * at) % KERNEL);
  const weights = new Float64Array(KERNEL * KERNEL).fill(0.01);
  const x = new Float64Array(KERNEL).fill(0.5);
  return () => {
    for (let row = 0; row < KERNEL; row += 1) {
      let sum = 0;
      for (let at = row * KERNEL; at < (row + 1) * KERNEL; at += 1) sum += weights[at]! * x[column[at]!]!;
      x[row] = 0.5 + sum * 1e-9;
    }
  };
};

const functionKernel = (): (() => void) => {
  const x = Float64Array.from({ length: KERNEL }, (_, at) => (at - KERNEL / 2) / 10);
  return () => {
    for (let at = 0; at < KERNEL; at += 1) x[at] = x[at]! + 1e-9 * Math.tanh(x[at]!);
  };
};

/** Measures this machine. Takes twice `secondsPerKernel` of processor time. */
export const calibrate = (options: CalibrationOptions): Calibration => ({
  joulesPerMultiplyAdd: options.watts * secondsPerOperation(productKernel(), KERNEL * KERNEL, options),
  joulesPerFunction: options.watts * secondsPerOperation(functionKernel(), KERNEL, options),
  source: `estimate: processor time of known kernels on this machine times a declared ${options.watts} W`,
});

export interface EnergyEstimate {
  readonly operations: Operations;
  readonly joules: number;
  readonly source: string;
}

/** Of one prediction. */
export const energyOf = (
  spec: ModelSpec,
  shape: InputShape,
  steps: number,
  { joulesPerMultiplyAdd, joulesPerFunction, source }: Calibration,
): EnergyEstimate => {
  const operations = operationsOf(spec, shape, steps);
  const joules = operations.multiplyAdds * joulesPerMultiplyAdd + operations.functions * joulesPerFunction;
  return { operations, joules, source };
};

/** A budget of power at a rate of predictions, as energy for each. */
export const joulesAtRate = (watts: number, predictionsPerSecond: number): number =>
  watts / predictionsPerSecond;

export interface BudgetQuestion {
  /** The model of so many units. */
  readonly specOf: (units: number) => ModelSpec;
  readonly unitsMax: number;
  readonly shape: InputShape;
  readonly steps: number;
  readonly calibration: Calibration;
  readonly budgetJoules: number;
}

export interface WithinBudget extends EnergyEstimate {
  readonly units: number;
  readonly spec: ModelSpec;
}

/**
 * The model of most units of which a prediction is estimated to stay within the budget.
 * @throws QflError `invalid_request` when one unit is too many already.
 */
export const largestWithin = ({
  specOf,
  unitsMax,
  shape,
  steps,
  calibration,
  budgetJoules,
}: BudgetQuestion): WithinBudget => {
  for (let units = unitsMax; units >= 1; units -= 1) {
    const spec = specOf(units);
    const estimate = energyOf(spec, shape, steps, calibration);
    if (estimate.joules <= budgetJoules) return { ...estimate, units, spec };
  }
  const least = energyOf(specOf(1), shape, steps, calibration).joules;
  throw new QflError('invalid_request', {
    detail: `one unit is estimated at ${least.toExponential(2)} J a prediction, above the budget of ${budgetJoules.toExponential(2)} J`,
    next: 'Raise the budget, look at fewer steps or channels, or choose a smaller kind of model.',
    facts: { joulesLeast: least, budgetJoules },
  });
};
