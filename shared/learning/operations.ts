/** What one prediction of a model costs, counted from its structure. */
import { QflError } from '../errors.ts';
import type { ModelSpec } from '../wire/learning.ts';
import { ANGLES_PER_QUBIT } from './liquid/circuit.ts';
import { inputWidth } from './liquid/inputs.ts';
import { SOLVER_STEPS } from './liquid/ltc.ts';
import { keptPerRow } from './liquid/wiring.ts';
import type { InputShape } from './model.ts';

export interface Operations {
  /** Products that are added to a sum; other single sums, products and quotients count as one each. */
  readonly multiplyAdds: number;
  /** Exponentials, hyperbolic tangents, sines: each costs many multiply-adds. */
  readonly functions: number;
}

type LiquidSpec = Extract<ModelSpec, { kind: 'liquid' }>;

const total = (parts: readonly Operations[]): Operations => ({
  multiplyAdds: parts.reduce((sum, part) => sum + part.multiplyAdds, 0),
  functions: parts.reduce((sum, part) => sum + part.functions, 0),
});

const times = (count: number, { multiplyAdds, functions }: Operations): Operations => ({
  multiplyAdds: count * multiplyAdds,
  functions: count * functions,
});

const dense = (inputs: number, outputs: number): Operations => ({
  multiplyAdds: inputs * outputs,
  functions: 0,
});

const each = (count: number, multiplyAdds: number, functions: number): Operations =>
  times(count, { multiplyAdds, functions });

const NOTHING: Operations = { multiplyAdds: 0, functions: 0 };

/** A 2×2 complex matrix is 8 multiply-adds for each amplitude; its sine and cosine are two functions. */
const circuitOf = (qubits: number, units: number): Operations => {
  if (qubits === 0) return NOTHING;
  const amplitudes = 2 ** qubits;
  const turns = qubits * (1 + ANGLES_PER_QUBIT);
  return total([
    dense(units, qubits),
    dense(qubits, units),
    times(turns, { multiplyAdds: 8 * amplitudes, functions: 2 }),
    each(amplitudes, 2 + 2 + qubits, 0),
  ]);
};

/** σ, two tanh and the blend of each unit; a tanh of each backbone unit. */
const cfcStep = ({ units, sparsity }: LiquidSpec, width: number): Operations =>
  total([dense(width, units), dense(keptPerRow(units, sparsity), 4 * units), each(units, 5, 4)]);

const ltcStep = ({ units, sparsity }: LiquidSpec, width: number): Operations =>
  total([
    dense(width, units),
    times(SOLVER_STEPS, total([dense(keptPerRow(units, sparsity), units), each(units, 6, 1)])),
  ]);

const liquidOperations = (
  spec: LiquidSpec,
  { features, channels }: InputShape,
  steps: number,
): Operations => {
  const step = spec.cell === 'cfc' ? cfcStep : ltcStep;
  // A value that was not measured decays: a product and an exponential.
  const inputs = each(channels, 2, 1);
  const readout = total([dense(spec.units + features, 1), each(1, 1, 1)]);
  const perStep = total([inputs, step(spec, inputWidth(channels)), circuitOf(spec.qubits, spec.units)]);
  return total([times(steps, perStep), readout]);
};

/**
 * Of one prediction, at most: inputs that are 0 cost less. `steps`: of the series; 0 for models that look at none. Weights are taken as
 * ready: what is done once for many predictions does not count.
 * @throws QflError `invalid_request` for a model of another program
 */
export const operationsOf = (spec: ModelSpec, shape: InputShape, steps: number): Operations => {
  if (spec.kind === 'liquid') return liquidOperations(spec, shape, steps);
  if (spec.kind === 'external')
    throw new QflError('invalid_request', {
      detail: `only the command of the trainer ${spec.trainer} knows what this model costs`,
    });
  const widths = [shape.features, ...(spec.kind === 'perceptron' ? spec.hidden : [])];
  const layers = widths.slice(1).map((units, at) => total([dense(widths[at]!, units), each(units, 1, 1)]));
  return total([...layers, dense(widths.at(-1) ?? 0, 1), each(1, 1, 1)]);
};
