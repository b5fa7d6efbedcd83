/**
 * `liquid [--examples N]`: how fast liquid networks learn and tell, in one thread, on stays like those of the intensive care set (48 steps, 36 channels, four
 * values in five not measured), and whether the kernels that know the wiring are faster than dense ones. All times are processor time.
 */
import { parseArgs } from 'node:util';
import { QflError } from '../../shared/errors.ts';
import { addSparse } from '../../shared/learning/liquid/sparse.ts';
import { wiringOf } from '../../shared/learning/liquid/wiring.ts';
import type { Example } from '../../shared/learning/model.ts';
import { liquidOf } from '../../shared/learning/models.ts';
import { seeded } from '../../shared/seeded.ts';
import { ModelSpec } from '../../shared/wire/learning.ts';

export const usage = '[--examples N]';

const EXAMPLES = 3_200;
const [STEPS, CHANNELS, FEATURES] = [48, 36, 8];
const MISSING = 0.8;
const SPARSITY = 0.4;
const MODELS = [
  { cell: 'cfc', units: 32, qubits: 0 },
  { cell: 'cfc', units: 64, qubits: 0 },
  { cell: 'ltc', units: 32, qubits: 0 },
  { cell: 'cfc', units: 32, qubits: 4 },
] as const;

export interface SpeedRow {
  readonly kind: 'speed';
  readonly cell: 'cfc' | 'ltc';
  readonly units: number;
  readonly qubits: number;
  readonly parameters: number;
  readonly examples: number;
  /** Processor seconds for the gradients of all examples, and for telling them. */
  readonly gradientSeconds: number;
  readonly predictSeconds: number;
}

export interface KernelRow {
  readonly kind: 'kernel';
  readonly units: number;
  /** Counted, not asked for. */
  readonly density: number;
  /** Processor nanoseconds of one product with a vector; the median of several runs. */
  readonly sparseNs: number;
  readonly denseNs: number;
}

const processorSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

const timed = (work: () => void): number => {
  const begun = processorSeconds();
  work();
  return processorSeconds() - begun;
};

const stays = (count: number): Example[] => {
  const random = seeded(1);
  const uniform = (): number => 2 * random.uniform() - 1;
  return Array.from({ length: count }, () => ({
    inputs: Float64Array.from({ length: FEATURES }, uniform),
    target: random.uniform() < 0.14 ? 1 : 0,
    series: {
      steps: STEPS,
      channels: CHANNELS,
      hours: Float64Array.from({ length: STEPS }, (_, step) => step + 0.5 * random.uniform()),
      values: Float64Array.from({ length: STEPS * CHANNELS }, () =>
        random.uniform() < MISSING ? NaN : uniform(),
      ),
    },
  }));
};

const measureSpeed = (from: (typeof MODELS)[number], examples: readonly Example[]): SpeedRow => {
  const spec = ModelSpec.parse({ kind: 'liquid', sparsity: SPARSITY, ...from });
  if (spec.kind !== 'liquid') throw new Error('a liquid model was asked for');
  const model = liquidOf(spec, { features: FEATURES, channels: CHANNELS });
  const weights = model.initial(1);
  const into = new Float64Array(model.size);
  const gradients = (count: number): void => {
    for (const example of examples.slice(0, count)) model.gradient(weights, example, into);
  };
  // Warm: the first examples are not yet compiled.
  gradients(100);
  const gradientSeconds = timed(() => gradients(examples.length));
  const predictSeconds = timed(() => {
    for (const example of examples) model.predict(weights, example);
  });
  return {
    kind: 'speed',
    ...from,
    parameters: model.size,
    examples: examples.length,
    gradientSeconds,
    predictSeconds,
  };
};

const addDense = (weights: Float64Array, x: Float64Array, y: Float64Array): void => {
  for (let row = 0; row < y.length; row += 1) {
    let sum = 0;
    const from = row * x.length;
    for (let column = 0; column < x.length; column += 1) sum += weights[from + column]! * x[column]!;
    y[row]! += sum;
  }
};

const median = (values: readonly number[]): number =>
  values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? NaN;

const nsOf = (product: () => void, units: number): number => {
  const runs = Math.ceil(4e7 / units ** 2);
  for (let run = 0; run < runs / 4; run += 1) product();
  const once = (): number =>
    timed(() => {
      for (let run = 0; run < runs; run += 1) product();
    });
  return (median(Array.from({ length: 5 }, once)) / runs) * 1e9;
};

const measureKernel = (units: number, sparsity: number): KernelRow => {
  const wiring = wiringOf(units, units, sparsity, 1);
  const [x, y] = [new Float64Array(units).fill(0.5), new Float64Array(units)];
  const wired = new Float64Array(wiring.column.length).fill(0.01);
  const all = new Float64Array(units * units).fill(0.01);
  return {
    kind: 'kernel',
    units,
    density: wiring.density,
    sparseNs: nsOf(() => addSparse(wiring, wired, x, 0, y, 0), units),
    denseNs: nsOf(() => addDense(all, x, y), units),
  };
};

const printSpeed = (row: SpeedRow): void => {
  const name = `${row.cell}, ${row.units} units, ${row.qubits} qubits (${row.parameters} numbers)`;
  const each = (row.gradientSeconds / row.examples) * 1e6;
  console.log(
    `${name}: gradients of ${row.examples} examples ${row.gradientSeconds.toFixed(2)} s (${each.toFixed(0)} µs each), telling them ${row.predictSeconds.toFixed(2)} s`,
  );
};

const printKernel = ({ units, density, sparseNs, denseNs }: KernelRow): void =>
  console.log(
    `${units} units, density ${density.toFixed(3)}: sparse ${sparseNs.toFixed(0)} ns, dense ${denseNs.toFixed(0)} ns: sparse takes ${(sparseNs / denseNs).toFixed(2)} times as long`,
  );

export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<readonly (SpeedRow | KernelRow)[]> => {
  const { values } = parseArgs({ args: [...args], options: { examples: { type: 'string' } } });
  const count = Number(values.examples ?? EXAMPLES);
  if (!Number.isInteger(count) || count < 1)
    throw new QflError('invalid_request', { detail: 'examples is a whole number from 1' });
  const examples = stays(count);
  const speeds = MODELS.map((from) => measureSpeed(from, examples));
  const kernels = [32, 64, 128, 256].flatMap((units) =>
    [SPARSITY, 0.8].map((sparsity) => measureKernel(units, sparsity)),
  );
  const rows = [...speeds, ...kernels];
  if (json) for (const row of rows) console.log(JSON.stringify(row));
  else {
    for (const row of speeds) printSpeed(row);
    for (const row of kernels) printKernel(row);
  }
  return rows;
};
