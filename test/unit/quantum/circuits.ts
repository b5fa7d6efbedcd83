/** Circuits for tests. */
import fc from 'fast-check';
import {
  type Circuit,
  createCircuit,
  gate,
  GATE_SHAPES,
  type Gate,
  type GateName,
} from '../../../shared/quantum/circuit.ts';

const NAMES = Object.keys(GATE_SHAPES).filter((name): name is GateName => Object.hasOwn(GATE_SHAPES, name));

const gateOn = (qubits: number): fc.Arbitrary<Gate> =>
  fc.constantFrom(...NAMES.filter((name) => GATE_SHAPES[name].qubits <= qubits)).chain((name) =>
    fc
      .tuple(
        fc.uniqueArray(fc.integer({ min: 0, max: qubits - 1 }), {
          minLength: GATE_SHAPES[name].qubits,
          maxLength: GATE_SHAPES[name].qubits,
        }),
        fc.array(fc.double({ min: -7, max: 7, noNaN: true }), {
          minLength: GATE_SHAPES[name].angles,
          maxLength: GATE_SHAPES[name].angles,
        }),
      )
      .map(([on, angles]) => gate(name, on, ...angles)),
  );

export const anyCircuit = (qubitsMax: number, gatesMax = 40): fc.Arbitrary<Circuit> =>
  fc
    .integer({ min: 1, max: qubitsMax })
    .chain((qubits) =>
      fc.array(gateOn(qubits), { maxLength: gatesMax }).map((gates) => createCircuit(qubits, gates)),
    );

export const ghz = (qubits: number): Circuit =>
  createCircuit(qubits, [
    gate('h', [0]),
    ...Array.from({ length: qubits - 1 }, (_, at) => gate('cx', [at, at + 1])),
  ]);

/** Nielsen, Chuang, Figure 5.1, with the swaps: |k⟩ becomes Σ e^(2πi·jk/2^n)|j⟩/√2^n. */
export const fourier = (qubits: number, input: number): Circuit => {
  const gates: Gate[] = [];
  for (let bit = 0; bit < qubits; bit += 1) if (((input >> bit) & 1) === 1) gates.push(gate('x', [bit]));
  for (let target = qubits - 1; target >= 0; target -= 1) {
    gates.push(gate('h', [target]));
    for (let control = target - 1; control >= 0; control -= 1)
      gates.push(gate('cp', [control, target], Math.PI / 2 ** (target - control)));
  }
  for (let bit = 0; bit < qubits >> 1; bit += 1) gates.push(gate('swap', [bit, qubits - 1 - bit]));
  return createCircuit(qubits, gates);
};
