/**
 * The variational circuit inside a cell's gate: angles are a linear map of some signal of the cell (its backbone, or what it hears),
 * and ⟨Z⟩ of the qubits is added, through another linear map, to f of each unit. Whether that helps is for an ablation to show: with 0
 * qubits nothing of it is there.
 */
import type { Seeded } from '../../seeded.ts';
import { fillGlorot } from '../glorot.ts';
import { layoutOf, viewOf } from '../layout.ts';
import type { TensorPart } from '../model.ts';
import { ANGLES_PER_QUBIT, variationalCircuit } from './circuit.ts';

export interface GateCircuit {
  readonly size: number;
  readonly tensors: readonly TensorPart[];
  begin(weights: Float64Array, random: Seeded): void;
  /** f += what the qubits say of `signal[signalAt …]`. */
  forward(weights: Float64Array, signal: Float64Array, signalAt: number, f: Float64Array): void;
  /** From slopes by f to slopes by the weights and by the signal: both are added to. */
  backward(
    weights: Float64Array,
    signal: Float64Array,
    signalAt: number,
    fSlopes: Float64Array,
    into: Float64Array,
    signalSlopes: Float64Array,
  ): void;
}

/** One call at a time: it keeps its scratch space. */
export const gateCircuit = (qubits: number, units: number): GateCircuit => {
  const layout = layoutOf([
    ['angle.weight', [qubits, units]],
    ['angle.bias', [qubits]],
    ['circuit.angle', [qubits, ANGLES_PER_QUBIT]],
    ['qubit.weight', [qubits, units]],
  ]);
  const circuit = variationalCircuit(qubits);
  const angles = new Float64Array(qubits);
  const angleSlopes = new Float64Array(qubits);
  const said = new Float64Array(qubits);
  const saidSlopes = new Float64Array(qubits);

  const listen = (weights: Float64Array, signal: Float64Array, signalAt: number): void => {
    const weight = viewOf(layout, 'angle.weight', weights);
    const bias = viewOf(layout, 'angle.bias', weights);
    for (let qubit = 0; qubit < qubits; qubit += 1) {
      let angle = bias[qubit]!;
      for (let unit = 0; unit < units; unit += 1)
        angle += weight[qubit * units + unit]! * signal[signalAt + unit]!;
      angles[qubit] = angle;
    }
    circuit.forward(angles, viewOf(layout, 'circuit.angle', weights), said);
  };
  const listenSlopes = (
    weights: Float64Array,
    signal: Float64Array,
    signalAt: number,
    into: Float64Array,
    signalSlopes: Float64Array,
  ): void => {
    const weight = viewOf(layout, 'angle.weight', weights);
    const weightInto = viewOf(layout, 'angle.weight', into);
    const biasInto = viewOf(layout, 'angle.bias', into);
    for (let qubit = 0; qubit < qubits; qubit += 1) {
      const slope = angleSlopes[qubit]!;
      biasInto[qubit]! += slope;
      for (let unit = 0; unit < units; unit += 1) {
        weightInto[qubit * units + unit]! += slope * signal[signalAt + unit]!;
        signalSlopes[unit]! += slope * weight[qubit * units + unit]!;
      }
    }
  };
  return {
    size: layout.size,
    tensors: layout.tensors,
    begin(weights, random) {
      fillGlorot(viewOf(layout, 'angle.weight', weights), units, qubits, random);
      fillGlorot(viewOf(layout, 'circuit.angle', weights), 1, 1, random);
      fillGlorot(viewOf(layout, 'qubit.weight', weights), qubits, units, random);
    },
    forward(weights, signal, signalAt, f) {
      listen(weights, signal, signalAt);
      const weight = viewOf(layout, 'qubit.weight', weights);
      for (let qubit = 0; qubit < qubits; qubit += 1)
        for (let unit = 0; unit < units; unit += 1) f[unit]! += said[qubit]! * weight[qubit * units + unit]!;
    },
    backward(weights, signal, signalAt, fSlopes, into, signalSlopes) {
      listen(weights, signal, signalAt);
      const weight = viewOf(layout, 'qubit.weight', weights);
      const weightInto = viewOf(layout, 'qubit.weight', into);
      for (let qubit = 0; qubit < qubits; qubit += 1) {
        let slope = 0;
        for (let unit = 0; unit < units; unit += 1) {
          slope += fSlopes[unit]! * weight[qubit * units + unit]!;
          weightInto[qubit * units + unit]! += fSlopes[unit]! * said[qubit]!;
        }
        saidSlopes[qubit] = slope;
      }
      const trained = viewOf(layout, 'circuit.angle', weights);
      circuit.backward(angles, trained, saidSlopes, angleSlopes, viewOf(layout, 'circuit.angle', into));
      listenSlopes(weights, signal, signalAt, into, signalSlopes);
    },
  };
};
