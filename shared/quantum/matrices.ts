/** The 2×2 matrices of the gates: for a controlled gate, what happens to its last qubit when the controls are 1. */
import type { Gate, GateName } from './circuit.ts';

/** Rows first, real and imaginary parts in turn: [Re m00, Im m00, Re m01, Im m01, Re m10, Im m10, Re m11, Im m11]. */
export type Matrix2 = readonly [number, number, number, number, number, number, number, number];

const R = Math.SQRT1_2;
export const IDENTITY: Matrix2 = [1, 0, 0, 0, 0, 0, 1, 0];
const X: Matrix2 = [0, 0, 1, 0, 1, 0, 0, 0];
const Z: Matrix2 = [1, 0, 0, 0, 0, 0, -1, 0];
const phase = (angle: number): Matrix2 => [1, 0, 0, 0, 0, 0, Math.cos(angle), Math.sin(angle)];

/** U(θ, φ, λ) of OpenQASM 3, up to the global phase. */
const general = (theta: number, phi: number, lambda: number): Matrix2 => {
  const [c, s] = [Math.cos(theta / 2), Math.sin(theta / 2)];
  return [
    c,
    0,
    -Math.cos(lambda) * s,
    -Math.sin(lambda) * s,
    Math.cos(phi) * s,
    Math.sin(phi) * s,
    Math.cos(phi + lambda) * c,
    Math.sin(phi + lambda) * c,
  ];
};

/** cos and sin of half the angle: what the rotations are made of. */
const half = (angle: number): readonly [cos: number, sin: number] => [
  Math.cos(angle / 2),
  Math.sin(angle / 2),
];

const rotationX = (angle: number): Matrix2 => {
  const [c, s] = half(angle);
  return [c, 0, 0, -s, 0, -s, c, 0];
};
const rotationY = (angle: number): Matrix2 => {
  const [c, s] = half(angle);
  return [c, 0, -s, 0, s, 0, c, 0];
};
const rotationZ = (angle: number): Matrix2 => {
  const [c, s] = half(angle);
  return [c, -s, 0, 0, 0, 0, c, s];
};

type Made = (first: number, second: number, third: number) => Matrix2 | undefined;
const fixed =
  (matrix: Matrix2 | undefined): Made =>
  () =>
    matrix;

const MATRICES: Readonly<Record<GateName, Made>> = {
  id: fixed(IDENTITY),
  x: fixed(X),
  cx: fixed(X),
  ccx: fixed(X),
  y: fixed([0, 0, 0, -1, 0, 1, 0, 0]),
  z: fixed(Z),
  cz: fixed(Z),
  h: fixed([R, 0, R, 0, R, 0, -R, 0]),
  s: fixed(phase(Math.PI / 2)),
  sdg: fixed(phase(-Math.PI / 2)),
  t: fixed(phase(Math.PI / 4)),
  tdg: fixed(phase(-Math.PI / 4)),
  sx: fixed([0.5, 0.5, 0.5, -0.5, 0.5, -0.5, 0.5, 0.5]),
  rx: rotationX,
  ry: rotationY,
  rz: rotationZ,
  p: phase,
  cp: phase,
  u: general,
  swap: fixed(undefined),
  rzz: fixed(undefined),
};

/** Undefined for `swap` and `rzz`, which are no controlled single-qubit gates. */
export const matrixOf = ({ name, angles }: Gate): Matrix2 | undefined => {
  const [first = 0, second = 0, third = 0] = angles;
  return MATRICES[name](first, second, third);
};

/** `left · right`: right happens first. */
export const multiplied = (left: Matrix2, right: Matrix2): Matrix2 => {
  const cell = (row: number, column: number): [number, number] => {
    let [re, im] = [0, 0];
    for (let k = 0; k < 2; k += 1) {
      const [a, b] = [left[4 * row + 2 * k]!, left[4 * row + 2 * k + 1]!];
      const [c, d] = [right[4 * k + 2 * column]!, right[4 * k + 2 * column + 1]!];
      re += a * c - b * d;
      im += a * d + b * c;
    }
    return [re, im];
  };
  return [...cell(0, 0), ...cell(0, 1), ...cell(1, 0), ...cell(1, 1)];
};
