/**
 * Quantum circuits as data. Qubit 0 is the least significant bit of a basis state's number, in circuits, counts and every
 * adapter; angles are radians.
 */
import { QflError } from '../errors.ts';

/** What a gate takes: controls come first among its qubits. */
interface GateShape {
  readonly qubits: number;
  readonly controls: number;
  readonly angles: number;
}

const shape = (qubits: number, controls = 0, angles = 0): GateShape => ({ qubits, controls, angles });

/** The gates of OpenQASM 3's `stdgates.inc` that are used here, by its names, and `rzz` = exp(−iθ/2·Z⊗Z). */
export const GATE_SHAPES = {
  id: shape(1),
  x: shape(1),
  y: shape(1),
  z: shape(1),
  h: shape(1),
  s: shape(1),
  sdg: shape(1),
  t: shape(1),
  tdg: shape(1),
  sx: shape(1),
  rx: shape(1, 0, 1),
  ry: shape(1, 0, 1),
  rz: shape(1, 0, 1),
  p: shape(1, 0, 1),
  u: shape(1, 0, 3),
  cx: shape(2, 1),
  cz: shape(2, 1),
  cp: shape(2, 1, 1),
  swap: shape(2),
  rzz: shape(2, 0, 1),
  ccx: shape(3, 2),
} as const satisfies Record<string, GateShape>;

export type GateName = keyof typeof GATE_SHAPES;

export interface Gate {
  readonly name: GateName;
  readonly qubits: readonly number[];
  readonly angles: readonly number[];
}

export interface Circuit {
  readonly qubits: number;
  readonly gates: readonly Gate[];
}

/** Above this no basis state's number is an exact 32-bit index. */
export const QUBITS_MAX = 30;

const refuse = (detail: string): never => {
  throw new QflError('invalid_request', {
    detail: `the circuit is not valid: ${detail}`,
    next: 'Correct the circuit; qubits are numbered from 0, and a gate names each of its qubits once.',
  });
};

const checkGate = ({ name, qubits, angles }: Gate, width: number): void => {
  if (!Object.hasOwn(GATE_SHAPES, name)) refuse('it has an unknown gate');
  const expected = GATE_SHAPES[name];
  if (qubits.length !== expected.qubits) refuse(`${name} takes ${expected.qubits} qubits`);
  if (angles.length !== expected.angles) refuse(`${name} takes ${expected.angles} angles`);
  if (new Set(qubits).size !== qubits.length) refuse(`${name} names a qubit twice`);
  if (!qubits.every((qubit) => Number.isInteger(qubit) && qubit >= 0 && qubit < width))
    refuse(`${name} names a qubit outside 0 to ${width - 1}`);
  if (!angles.every(Number.isFinite)) refuse(`${name} has an angle that is not a finite number`);
};

/** @throws QflError `invalid_request` */
export const createCircuit = (qubits: number, gates: readonly Gate[]): Circuit => {
  if (!Number.isInteger(qubits) || qubits < 1 || qubits > QUBITS_MAX)
    refuse(`it needs 1 to ${QUBITS_MAX} qubits`);
  for (const gate of gates) checkGate(gate, qubits);
  return { qubits, gates };
};

/** `gate('cp', [0, 1], Math.PI / 2)`. */
export const gate = (name: GateName, qubits: readonly number[], ...angles: readonly number[]): Gate => ({
  name,
  qubits,
  angles,
});
