/**
 * A small variational circuit as a layer: angles in, ⟨Z⟩ of each qubit out. Each qubit is turned by RY of its angle, a ring of CZ
 * binds neighbours, and RY and RZ of trained angles and RY again follow. Slopes by the adjoint method (Jones, Gacon 2020, "Efficient
 * calculation of gradients in classical simulations of variational quantum algorithms"): one way back, whatever the number of angles.
 * Simulated exactly: no shots, no noise of a device.
 */
import { applyMatrix } from '../../quantum/apply.ts';
import { matrixOf, type Matrix2 } from '../../quantum/matrices.ts';
import { createState, type State } from '../../quantum/state.ts';

/** Trained angles of each qubit: RY, RZ, RY. */
const TRAINED = ['ry', 'rz', 'ry'] as const;
export const ANGLES_PER_QUBIT = TRAINED.length;

export interface VariationalCircuit {
  readonly qubits: number;
  /** Writes ⟨Z⟩ of each qubit. `trained`: ANGLES_PER_QUBIT numbers for each layer's qubit, qubit by qubit within a layer. */
  forward(angles: Float64Array, trained: Float64Array, into: Float64Array): void;
  /** After `forward`: from slopes by each ⟨Z⟩ to slopes by the angles (written) and by the trained ones (added). */
  backward(
    angles: Float64Array,
    trained: Float64Array,
    slopes: Float64Array,
    angleSlopes: Float64Array,
    trainedSlopes: Float64Array,
  ): void;
}

type Turn = 'ry' | 'rz';

const turn = (state: State, name: Turn, qubit: number, angle: number): void => {
  const matrix: Matrix2 | undefined = matrixOf({ name, qubits: [qubit], angles: [angle] });
  if (matrix !== undefined) applyMatrix(state, qubit, matrix);
};

/** CZ between neighbours, the last and the first included where that is another pair. It undoes itself. */
const signsOf = (qubits: number): Float64Array => {
  const pairs = Array.from({ length: qubits > 2 ? qubits : qubits - 1 }, (_, at) => [at, (at + 1) % qubits]);
  return Float64Array.from({ length: 2 ** qubits }, (_, basis) =>
    pairs.reduce(
      (sign, [first = 0, second = 0]) => (((basis >> first) & (basis >> second) & 1) === 1 ? -sign : sign),
      1,
    ),
  );
};

const flip = ({ re, im }: State, signs: Float64Array): void => {
  for (let at = 0; at < re.length; at += 1) {
    re[at]! *= signs[at]!;
    im[at]! *= signs[at]!;
  }
};

/** Im ⟨λ|P|ψ⟩ with P = Y or Z on one qubit: the slope by the angle of exp(−iθP/2) when λ = O ψ comes from an observable O. */
const slopeOf = (name: Turn, qubit: number, bra: State, ket: State): number => {
  const bit = 1 << qubit;
  let slope = 0;
  for (let at = 0; at < ket.re.length; at += 1) {
    const up = (at & bit) === 0;
    const from = name === 'rz' ? at : at ^ bit;
    // Z: ±ψ. Y: row 0 is −i ψ₁, row 1 is i ψ₀.
    let re = up ? ket.re[from]! : -ket.re[from]!;
    let im = up ? ket.im[from]! : -ket.im[from]!;
    if (name === 'ry') [re, im] = [im, -re];
    slope += bra.re[at]! * im - bra.im[at]! * re;
  }
  return slope;
};

/** Written to `bra`: (Σ slopes·Z) ψ. */
const observe = (ket: State, slopes: Float64Array, bra: State): void => {
  for (let at = 0; at < ket.re.length; at += 1) {
    let sum = 0;
    for (let qubit = 0; qubit < slopes.length; qubit += 1)
      sum += ((at >> qubit) & 1) === 0 ? slopes[qubit]! : -slopes[qubit]!;
    bra.re[at] = sum * ket.re[at]!;
    bra.im[at] = sum * ket.im[at]!;
  }
};

const expectations = ({ re, im }: State, into: Float64Array): void => {
  into.fill(0);
  for (let at = 0; at < re.length; at += 1) {
    const odds = re[at]! * re[at]! + im[at]! * im[at]!;
    for (let qubit = 0; qubit < into.length; qubit += 1)
      into[qubit]! += ((at >> qubit) & 1) === 0 ? odds : -odds;
  }
};

/** One call at a time: it keeps its state vectors. */
export const variationalCircuit = (qubits: number): VariationalCircuit => {
  const ket = createState(qubits, 'float64');
  const bra = createState(qubits, 'float64');
  const signs = signsOf(qubits);

  const run = (angles: Float64Array, trained: Float64Array): void => {
    ket.re.fill(0);
    ket.im.fill(0);
    ket.re[0] = 1;
    for (let qubit = 0; qubit < qubits; qubit += 1) turn(ket, 'ry', qubit, angles[qubit]!);
    flip(ket, signs);
    for (let at = 0; at < qubits * ANGLES_PER_QUBIT; at += 1)
      turn(ket, TRAINED[at % ANGLES_PER_QUBIT]!, Math.floor(at / ANGLES_PER_QUBIT), trained[at]!);
  };
  /** The slope by one angle, and both states back to before its gate. */
  const unturn = (name: Turn, qubit: number, angle: number): number => {
    const slope = slopeOf(name, qubit, bra, ket);
    turn(ket, name, qubit, -angle);
    turn(bra, name, qubit, -angle);
    return slope;
  };
  return {
    qubits,
    forward(angles, trained, into) {
      run(angles, trained);
      expectations(ket, into);
    },
    backward(angles, trained, slopes, angleSlopes, trainedSlopes) {
      run(angles, trained);
      observe(ket, slopes, bra);
      for (let at = qubits * ANGLES_PER_QUBIT - 1; at >= 0; at -= 1) {
        const qubit = Math.floor(at / ANGLES_PER_QUBIT);
        trainedSlopes[at]! += unturn(TRAINED[at % ANGLES_PER_QUBIT]!, qubit, trained[at]!);
      }
      flip(ket, signs);
      flip(bra, signs);
      for (let qubit = qubits - 1; qubit >= 0; qubit -= 1)
        angleSlopes[qubit] = unturn('ry', qubit, angles[qubit]!);
    },
  };
};
