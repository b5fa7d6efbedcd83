import fc from 'fast-check';
import QuantumCircuit from 'quantum-circuit';
import { describe, expect, test } from 'vitest';
import { runCircuit } from '../../../shared/quantum/apply.ts';
import { type Circuit, createCircuit, gate } from '../../../shared/quantum/circuit.ts';
import { normOf, probabilitiesOf, type State } from '../../../shared/quantum/state.ts';
import { anyCircuit, fourier, ghz } from './circuits.ts';

/** |⟨a|b⟩|²: 1 when two states differ by a global phase only. */
const fidelity = (
  one: State,
  other: { readonly re: ArrayLike<number>; readonly im: ArrayLike<number> },
): number => {
  let [re, im] = [0, 0];
  for (let at = 0; at < one.re.length; at += 1) {
    re += one.re[at]! * other.re[at]! + one.im[at]! * other.im[at]!;
    im += one.re[at]! * other.im[at]! - one.im[at]! * other.re[at]!;
  }
  return re * re + im * im;
};

describe('closed forms', () => {
  test.each([1, 2, 3, 8, 12])('a GHZ state of %i qubits: all 0 or all 1, half each', (qubits) => {
    const odds = probabilitiesOf(runCircuit(ghz(qubits)));
    expect(odds[0]).toBeCloseTo(0.5, 12);
    expect(odds.at(-1)).toBeCloseTo(0.5, 12);
  });

  test.each([
    [3, 5],
    [5, 0],
    [6, 37],
  ])('the Fourier transform of %i qubits on |%i⟩', (qubits, input) => {
    const { re, im } = runCircuit(fourier(qubits, input));
    const size = 2 ** qubits;
    for (let at = 0; at < size; at += 1) {
      const angle = (2 * Math.PI * at * input) / size;
      expect(re[at]).toBeCloseTo(Math.cos(angle) / Math.sqrt(size), 12);
      expect(im[at]).toBeCloseTo(Math.sin(angle) / Math.sqrt(size), 12);
    }
  });

  test('phase estimation of 3/8 reads 3', () => {
    // Three counting qubits, one in the eigenstate |1⟩ of p(2π·3/8); the inverse transform turns phases into a number.
    const counting = [0, 1, 2];
    const controlled = counting.map((bit) => gate('cp', [bit, 3], 2 * Math.PI * (3 / 8) * 2 ** bit));
    const inverse = fourier(3, 0)
      .gates.toReversed()
      .map((one) => ({ ...one, angles: one.angles.map((angle) => -angle) }));
    const circuit = createCircuit(4, [
      gate('x', [3]),
      ...counting.map((bit) => gate('h', [bit])),
      ...controlled,
      ...inverse,
    ]);
    expect(probabilitiesOf(runCircuit(circuit))[0b1011]).toBeCloseTo(1, 12);
  });

  test('X on qubit 0 of 3 is basis state 1', () => {
    expect(probabilitiesOf(runCircuit(createCircuit(3, [gate('x', [0])])))[1]).toBe(1);
  });
});

test('every circuit keeps the norm, to 1e-12', () => {
  fc.assert(
    fc.property(anyCircuit(6), (circuit) => {
      expect(Math.abs(normOf(runCircuit(circuit)) - 1)).toBeLessThan(1e-12);
    }),
    { numRuns: 200 },
  );
});

test('float32 follows float64', () => {
  fc.assert(
    fc.property(anyCircuit(5), (circuit) => {
      expect(fidelity(runCircuit(circuit), runCircuit(circuit, { precision: 'float32' }))).toBeGreaterThan(
        1 - 1e-5,
      );
    }),
    { numRuns: 50 },
  );
});

const PEER_PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  rx: ['theta'],
  ry: ['theta'],
  rz: ['phi'],
  p: ['lambda'],
  cp: ['lambda'],
  u: ['theta', 'phi', 'lambda'],
  rzz: ['theta'],
};
const PEER_NAMES: Readonly<Record<string, string>> = { sx: 'srn', p: 'u1', u: 'u3', cp: 'cu1' };

/** The same circuit in the npm package `quantum-circuit`, whose state is spelled with wire 0 as the lowest bit. */
const peerState = ({ qubits, gates }: Circuit): { re: Float64Array; im: Float64Array } => {
  const peer = new QuantumCircuit(qubits);
  gates.forEach(({ name, qubits: on, angles }, column) => {
    const params = Object.fromEntries((PEER_PARAMETERS[name] ?? []).map((key, at) => [key, angles[at] ?? 0]));
    peer.addGate(PEER_NAMES[name] ?? name, column, on.length === 1 ? (on[0] ?? 0) : on, { params });
  });
  peer.run();
  const state = { re: new Float64Array(2 ** qubits), im: new Float64Array(2 ** qubits) };
  for (const { index, amplitude } of peer.stateAsArray()) {
    state.re[index] = amplitude.re;
    state.im[index] = amplitude.im;
  }
  return state;
};

test('agrees with quantum-circuit on every gate', () => {
  fc.assert(
    fc.property(anyCircuit(4, 25), (circuit) => {
      // rzz is not in the peer: its definition goes there.
      const gates = circuit.gates.flatMap((one) => {
        const [a = 0, b = 0] = one.qubits;
        return one.name === 'rzz'
          ? [gate('cx', [a, b]), gate('rz', [b], ...one.angles), gate('cx', [a, b])]
          : [one];
      });
      expect(fidelity(runCircuit(circuit), peerState({ qubits: circuit.qubits, gates }))).toBeGreaterThan(
        1 - 1e-9,
      );
    }),
    { numRuns: 150 },
  );
});

describe('what is refused', () => {
  test.each([
    ['no qubits', () => createCircuit(0, [])],
    ['too many qubits', () => createCircuit(31, [])],
    ['a qubit that is not there', () => createCircuit(2, [gate('h', [2])])],
    ['a qubit named twice', () => createCircuit(2, [gate('cx', [1, 1])])],
    ['a missing angle', () => createCircuit(1, [gate('rx', [0])])],
    ['an angle that is not a number', () => createCircuit(1, [gate('rx', [0], Number.NaN)])],
  ])('%s', (_name, make) => {
    expect(make).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });

  test('a state that does not fit, with the figure that does', () => {
    const memoryBytes = 1024 * 1024;
    expect(() => runCircuit(ghz(20), { memoryBytes })).toThrow(
      expect.objectContaining({ code: 'invalid_request', facts: expect.objectContaining({ qubitsMax: 15 }) }),
    );
    expect(normOf(runCircuit(ghz(15), { memoryBytes }))).toBeCloseTo(1, 12);
    expect(normOf(runCircuit(ghz(16), { memoryBytes, precision: 'float32' }))).toBeCloseTo(1, 5);
  });
});
