/** Gates on a state, in place. Each pass touches every amplitude once; controls skip the others. */
import { assert } from '../errors.ts';
import { type Circuit, type Gate, GATE_SHAPES } from './circuit.ts';
import { IDENTITY, type Matrix2, matrixOf, multiplied } from './matrices.ts';
import { createState, type Precision, type State } from './state.ts';

/** `m` on one qubit of every basis state in which all bits of `controlMask` are 1. */
export const applyMatrix = (state: State, target: number, m: Matrix2, controlMask = 0): void => {
  const { re, im } = state;
  const [ar, ai, br, bi, cr, ci, dr, di] = m;
  const step = 1 << target;
  for (let block = 0; block < re.length; block += 2 * step) {
    for (let low = block; low < block + step; low += 1) {
      if ((low & controlMask) !== controlMask) continue;
      const high = low + step;
      const xr = re[low]!;
      const xi = im[low]!;
      const yr = re[high]!;
      const yi = im[high]!;
      re[low] = ar * xr - ai * xi + br * yr - bi * yi;
      im[low] = ar * xi + ai * xr + br * yi + bi * yr;
      re[high] = cr * xr - ci * xi + dr * yr - di * yi;
      im[high] = cr * xi + ci * xr + dr * yi + di * yr;
    }
  }
};

const applySwap = ({ re, im }: State, first: number, second: number): void => {
  const [a, b] = [1 << first, 1 << second];
  for (let at = 0; at < re.length; at += 1) {
    if ((at & a) === 0 || (at & b) !== 0) continue;
    const other = at ^ a ^ b;
    const x = re[at]!;
    const y = im[at]!;
    re[at] = re[other]!;
    im[at] = im[other]!;
    re[other] = x;
    im[other] = y;
  }
};

/** exp(−iθ/2) where the two bits agree, exp(iθ/2) where they differ. */
const applyRzz = ({ re, im }: State, first: number, second: number, angle: number): void => {
  const [c, s] = [Math.cos(angle / 2), Math.sin(angle / 2)];
  for (let at = 0; at < re.length; at += 1) {
    const agree = ((at >> first) & 1) === ((at >> second) & 1);
    const sine = agree ? -s : s;
    const x = re[at]!;
    const y = im[at]!;
    re[at] = c * x - sine * y;
    im[at] = c * y + sine * x;
  }
};

export const applyGate = (state: State, gate: Gate): void => {
  const [first = 0, second = 0] = gate.qubits;
  if (gate.name === 'swap') return applySwap(state, first, second);
  if (gate.name === 'rzz') return applyRzz(state, first, second, gate.angles[0] ?? 0);
  const matrix = matrixOf(gate);
  assert(matrix !== undefined, 'every other gate has a matrix');
  const { controls } = GATE_SHAPES[gate.name];
  const mask = gate.qubits.slice(0, controls).reduce((bits, qubit) => bits | (1 << qubit), 0);
  applyMatrix(state, gate.qubits[controls] ?? 0, matrix, mask);
};

/** Gates on one qubit with nothing of that qubit between them become one pass. */
const fused = function* ({ qubits, gates }: Circuit): Generator<Gate | { target: number; matrix: Matrix2 }> {
  const waiting: (Matrix2 | undefined)[] = Array.from({ length: qubits });
  const flush = function* (targets: Iterable<number>) {
    for (const target of targets) {
      const matrix = waiting[target];
      waiting[target] = undefined;
      if (matrix !== undefined) yield { target, matrix };
    }
  };
  for (const one of gates) {
    const matrix = one.qubits.length === 1 ? matrixOf(one) : undefined;
    const [target = 0] = one.qubits;
    if (matrix !== undefined) {
      waiting[target] = multiplied(matrix, waiting[target] ?? IDENTITY);
      continue;
    }
    yield* flush(one.qubits);
    yield one;
  }
  yield* flush(waiting.keys());
};

export interface RunOptions {
  readonly precision?: Precision;
  /** Memory the state may take half of. */
  readonly memoryBytes?: number;
}

/** The state after the circuit, from all qubits 0. @throws QflError `invalid_request` when it does not fit into memory. */
export const runCircuit = (
  circuit: Circuit,
  { precision = 'float64', memoryBytes = Infinity }: RunOptions = {},
): State => {
  const state = createState(circuit.qubits, precision, memoryBytes);
  for (const step of fused(circuit)) {
    if ('matrix' in step) applyMatrix(state, step.target, step.matrix);
    else applyGate(state, step);
  }
  return state;
};
