/** The state of n qubits: 2^n complex amplitudes in two typed arrays. */
import { QflError } from '../errors.ts';

export type Precision = 'float64' | 'float32';
type Reals = Float64Array | Float32Array;

export interface State {
  readonly qubits: number;
  readonly precision: Precision;
  /** Real and imaginary parts; index = the basis state's number. */
  readonly re: Reals;
  readonly im: Reals;
}

const BYTES = { float64: 16, float32: 8 } as const;

export const stateBytes = (qubits: number, precision: Precision): number => 2 ** qubits * BYTES[precision];

/** Qubits whose state takes at most half of the memory given: the rest of the program lives there too. */
export const qubitsFitting = (memoryBytes: number, precision: Precision): number =>
  Math.floor(Math.log2(memoryBytes / 2 / BYTES[precision]));

/**
 * All qubits 0.
 * @throws QflError `invalid_request` with the figure when the state takes more than half of `memoryBytes`.
 */
export const createState = (qubits: number, precision: Precision, memoryBytes = Infinity): State => {
  const bytes = stateBytes(qubits, precision);
  if (bytes > memoryBytes / 2) {
    const most = qubitsFitting(memoryBytes, precision);
    throw new QflError('invalid_request', {
      detail: `${qubits} qubits in ${precision} take ${bytes} bytes; ${most} qubits fit into the memory there is`,
      next: `Use at most ${most} qubits${precision === 'float64' ? ', or float32 for one more' : ''}.`,
      facts: { qubits, precision, bytes, memoryBytes, qubitsMax: most },
    });
  }
  const reals = (): Reals =>
    precision === 'float64' ? new Float64Array(2 ** qubits) : new Float32Array(2 ** qubits);
  const state = { qubits, precision, re: reals(), im: reals() };
  state.re[0] = 1;
  return state;
};

/** Sum of squared amplitudes: 1 but for rounding. */
export const normOf = ({ re, im }: State): number => {
  let sum = 0;
  for (let at = 0; at < re.length; at += 1) sum += re[at]! * re[at]! + im[at]! * im[at]!;
  return sum;
};

export const probabilitiesOf = ({ re, im }: State): Float64Array => {
  const odds = new Float64Array(re.length);
  for (let at = 0; at < re.length; at += 1) odds[at] = re[at]! * re[at]! + im[at]! * im[at]!;
  return odds;
};
