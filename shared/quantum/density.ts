/**
 * Density matrices of small systems, and noise on them. The matrix of n qubits is kept as the state of 2n: entry (row, column)
 * at row + column·2^n, so that a gate is U on the row's qubits and its conjugate on the column's.
 */
import { assert, QflError } from '../errors.ts';
import { applyGate, applyMatrix } from './apply.ts';
import { type Circuit, type Gate, GATE_SHAPES } from './circuit.ts';
import { type Matrix2, matrixOf } from './matrices.ts';
import { createState, type State } from './state.ts';

/** 4^12 entries: 268 MB. */
export const DENSITY_QUBITS_MAX = 12;

export interface Noise {
  /** After each gate, on each of its qubits: ρ → (1 − p)·ρ + p·I/2. */
  readonly depolarising?: number;
  /** After each gate, on each of its qubits: 1 decays to 0 with this probability. */
  readonly amplitudeDamping?: number;
}

const conjugateMatrix = (m: Matrix2): Matrix2 => [m[0], -m[1], m[2], -m[3], m[4], -m[5], m[6], -m[7]];

const applyConjugate = (state: State, gate: Gate, width: number): void => {
  const qubits = gate.qubits.map((qubit) => qubit + width);
  const matrix = matrixOf(gate);
  if (matrix === undefined)
    return applyGate(state, { ...gate, qubits, angles: gate.angles.map((angle) => -angle) });
  const { controls } = GATE_SHAPES[gate.name];
  const mask = qubits.slice(0, controls).reduce((bits, qubit) => bits | (1 << qubit), 0);
  return applyMatrix(state, qubits[controls] ?? 0, conjugateMatrix(matrix), mask);
};

/** The four entries of a qubit's block: ρ00 keeps `stay0`·ρ00 + `fall`·ρ11, ρ11 likewise, the off-diagonals shrink by `keep`. */
interface Channel {
  readonly zero: readonly [number, number];
  readonly one: readonly [number, number];
  readonly keep: number;
}

const depolarising = (p: number): Channel => ({
  zero: [1 - p / 2, p / 2],
  one: [p / 2, 1 - p / 2],
  keep: 1 - p,
});
const amplitudeDamping = (gamma: number): Channel => ({
  zero: [1, gamma],
  one: [0, 1 - gamma],
  keep: Math.sqrt(1 - gamma),
});

const applyChannel = (
  { re, im }: State,
  qubit: number,
  width: number,
  { zero, one, keep }: Channel,
): void => {
  const [row, column] = [1 << qubit, 2 ** (qubit + width)];
  for (let at = 0; at < re.length; at += 1) {
    if ((at & row) !== 0 || (at & column) !== 0) continue;
    for (const part of [re, im]) {
      const [r00, r11] = [part[at]!, part[at + row + column]!];
      part[at] = zero[0] * r00 + zero[1] * r11;
      part[at + row + column] = one[0] * r00 + one[1] * r11;
      part[at + row] = part[at + row]! * keep;
      part[at + column] = part[at + column]! * keep;
    }
  }
};

const channelsOf = ({ depolarising: p = 0, amplitudeDamping: gamma = 0 }: Noise): Channel[] => {
  const inRange = (odds: number): boolean => odds >= 0 && odds <= 1;
  if (!inRange(p) || !inRange(gamma))
    throw new QflError('invalid_request', { detail: 'a noise probability is between 0 and 1' });
  return [...(p > 0 ? [depolarising(p)] : []), ...(gamma > 0 ? [amplitudeDamping(gamma)] : [])];
};

/** A density matrix over `width` qubits. */
export interface Density {
  readonly width: number;
  readonly entries: State;
}

/** @throws QflError `invalid_request` for more than `DENSITY_QUBITS_MAX` qubits or odds outside [0, 1]. */
export const runNoisy = (circuit: Circuit, noise: Noise = {}): Density => {
  const width = circuit.qubits;
  if (width > DENSITY_QUBITS_MAX)
    throw new QflError('invalid_request', {
      detail: `a density matrix of ${width} qubits has 4^${width} entries; at most ${DENSITY_QUBITS_MAX} qubits`,
      next: 'Leave the noise out, or use fewer qubits.',
    });
  const channels = channelsOf(noise);
  const entries = createState(2 * width, 'float64');
  for (const gate of circuit.gates) {
    applyGate(entries, gate);
    applyConjugate(entries, gate, width);
    for (const qubit of gate.qubits)
      for (const channel of channels) applyChannel(entries, qubit, width, channel);
  }
  return { width, entries };
};

/** The diagonal: odds of reading each basis state. */
export const readOdds = ({ width, entries }: Density): Float64Array =>
  Float64Array.from({ length: 2 ** width }, (_, at) => Math.max(0, entries.re[at * (2 ** width + 1)]!));

export const traceOf = (density: Density): number => readOdds(density).reduce((sum, odds) => sum + odds, 0);

/** tr ρ²: 1 for a pure state, 2^−n for the fully mixed one. */
export const purityOf = ({ entries: { re, im } }: Density): number => {
  let sum = 0;
  for (let at = 0; at < re.length; at += 1) sum += re[at]! ** 2 + im[at]! ** 2;
  return sum;
};

/** The same circuit with every off-diagonal entry removed after each gate: what no interference leaves. */
export const runDephased = (circuit: Circuit): Density => {
  const width = circuit.qubits;
  assert(width <= DENSITY_QUBITS_MAX, 'a density matrix is small');
  const entries = createState(2 * width, 'float64');
  const side = 2 ** width;
  for (const gate of circuit.gates) {
    applyGate(entries, gate);
    applyConjugate(entries, gate, width);
    for (let at = 0; at < entries.re.length; at += 1)
      if (at % side !== Math.floor(at / side)) [entries.re[at], entries.im[at]] = [0, 0];
  }
  return { width, entries };
};
