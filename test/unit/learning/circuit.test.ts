import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ANGLES_PER_QUBIT, variationalCircuit } from '../../../shared/learning/liquid/circuit.ts';
import { runCircuit } from '../../../shared/quantum/apply.ts';
import { createCircuit, gate } from '../../../shared/quantum/circuit.ts';
import { probabilitiesOf } from '../../../shared/quantum/state.ts';
import { randomWeights } from './differences.ts';

/** The same circuit as data, run by the simulator. */
const bySimulator = (angles: Float64Array, trained: Float64Array): number[] => {
  const qubits = angles.length;
  const pairs = Array.from({ length: qubits > 2 ? qubits : qubits - 1 }, (_, at) => [at, (at + 1) % qubits]);
  const odds = probabilitiesOf(
    runCircuit(
      createCircuit(qubits, [
        ...Array.from(angles, (angle, qubit) => gate('ry', [qubit], angle)),
        ...pairs.map((pair) => gate('cz', pair)),
        ...Array.from(trained, (angle, at) =>
          gate(at % 3 === 1 ? 'rz' : 'ry', [Math.floor(at / ANGLES_PER_QUBIT)], angle),
        ),
      ]),
    ),
  );
  return Array.from(angles, (_, qubit) =>
    odds.reduce((sum, one, basis) => sum + (((basis >> qubit) & 1) === 0 ? one : -one), 0),
  );
};

const size = fc.integer({ min: 1, max: 6 });

describe('the variational circuit', () => {
  test('of one qubit, untrained, says the cosine of its angle', () => {
    const into = new Float64Array(1);
    variationalCircuit(1).forward(Float64Array.of(0.7), new Float64Array(3), into);
    expect(into[0]).toBeCloseTo(Math.cos(0.7), 14);
  });

  test('says what the simulator says of the same gates', () => {
    fc.assert(
      fc.property(size, fc.nat(), (qubits, seed) => {
        const angles = randomWeights(qubits, 3, seed);
        const trained = randomWeights(qubits * ANGLES_PER_QUBIT, 3, seed + 1);
        const into = new Float64Array(qubits);
        variationalCircuit(qubits).forward(angles, trained, into);
        for (const [qubit, value] of bySimulator(angles, trained).entries())
          expect(into[qubit]).toBeCloseTo(value, 12);
      }),
    );
  });

  test('slopes are those of the parameter-shift rule, which is exact', () => {
    fc.assert(
      fc.property(size, fc.nat(), (qubits, seed) => {
        const circuit = variationalCircuit(qubits);
        const angles = randomWeights(qubits, 3, seed);
        const trained = randomWeights(qubits * ANGLES_PER_QUBIT, 3, seed + 1);
        const slopes = randomWeights(qubits, 1, seed + 2);
        const value = (some: Float64Array, others: Float64Array): number => {
          const into = new Float64Array(qubits);
          circuit.forward(some, others, into);
          return into.reduce((sum, one, qubit) => sum + one * slopes[qubit]!, 0);
        };
        const shift = (vector: Float64Array, at: number, by: number): Float64Array =>
          vector.with(at, vector[at]! + by);
        const quarter = Math.PI / 2;
        const angleSlopes = new Float64Array(qubits);
        const trainedSlopes = new Float64Array(trained.length);
        circuit.backward(angles, trained, slopes, angleSlopes, trainedSlopes);
        for (const [at, slope] of angleSlopes.entries())
          expect(slope).toBeCloseTo(
            (value(shift(angles, at, quarter), trained) - value(shift(angles, at, -quarter), trained)) / 2,
            12,
          );
        for (const [at, slope] of trainedSlopes.entries())
          expect(slope).toBeCloseTo(
            (value(angles, shift(trained, at, quarter)) - value(angles, shift(trained, at, -quarter))) / 2,
            12,
          );
      }),
      { numRuns: 30 },
    );
  });
});
