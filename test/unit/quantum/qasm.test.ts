import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { runCircuit } from '../../../shared/quantum/apply.ts';
import { createCircuit, gate } from '../../../shared/quantum/circuit.ts';
import { fromQasm, toQasm } from '../../../shared/quantum/qasm.ts';
import { anyCircuit } from './circuits.ts';

test('what is written reads back as the same circuit; rzz as its definition', () => {
  fc.assert(
    fc.property(anyCircuit(5), (circuit) => {
      const back = fromQasm(toQasm(circuit));
      if (circuit.gates.every(({ name }) => name !== 'rzz')) expect(back).toEqual(circuit);
      const [one, other] = [runCircuit(circuit), runCircuit(back)];
      one.re.forEach((value, at) => expect(other.re[at]).toBeCloseTo(value, 9));
      one.im.forEach((value, at) => expect(other.im[at]).toBeCloseTo(value, 9));
    }),
    { numRuns: 100 },
  );
});

test('minus zero is an angle too', () => {
  const circuit = { qubits: 1, gates: [gate('p', [0], -0)] };
  expect(fromQasm(toQasm(circuit))).toEqual(circuit);
});

test('a Bell pair, as people write it', () => {
  const source = `OPENQASM 3.0;
include "stdgates.inc"; // the gates
qubit[2] pair;
bit[2] c;
h pair[0];
/* entangle */ cx pair[0], pair[1];
rz(-pi/4 + 2*pi) pair[1];
U(pi/2, 0, -(pi)) pair[0];
barrier pair;
c = measure pair;
`;
  expect(fromQasm(source)).toEqual(
    createCircuit(2, [
      gate('h', [0]),
      gate('cx', [0, 1]),
      gate('rz', [1], -Math.PI / 4 + 2 * Math.PI),
      gate('u', [0], Math.PI / 2, 0, -Math.PI),
    ]),
  );
});

describe('what is refused, with its line', () => {
  test.each([
    ['no register', 'OPENQASM 3.0;\n', 1],
    ['two registers', 'qubit[1] a;\nqubit[1] b;', 2],
    ['an unknown gate', 'qubit[2] q;\n\nfoo q[0];', 3],
    ['a loop', 'qubit[2] q;\nfor int i in [0:1] { h q[i]; }', 2],
    ['a qubit outside', 'qubit[2] q;\nh q[2];', 2],
    ['another register', 'qubit[2] q;\nh r[0];', 2],
    ['an angle with a name', 'qubit[1] q;\nrx(theta) q[0];', 2],
    ['a missing angle', 'qubit[1] q;\nrx q[0];', 2],
    ['a gate after the end', 'qubit[1] q;\nbit[1] c;\nc = measure q;\nh q[0];', 4],
  ])('%s', (_name, source, line) => {
    expect(() => fromQasm(source)).toThrow(
      expect.objectContaining({ code: 'invalid_request', detail: expect.stringContaining(`line ${line}:`) }),
    );
  });
});
