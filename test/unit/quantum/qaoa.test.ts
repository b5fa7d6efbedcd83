import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyGate } from '../../../shared/quantum/apply.ts';
import { gate } from '../../../shared/quantum/circuit.ts';
import { maxCutQubo, type Qubo, quboTable, quboValue } from '../../../shared/quantum/ising.ts';
import {
  applyCostPhase,
  applyRankedLayer,
  applyRankedPhase,
  applyXMixer,
  rankValues,
} from '../../../shared/quantum/layer.ts';
import { approximationRatio, proposals, runQaoa } from '../../../shared/quantum/qaoa.ts';
import { createState, normOf, type State } from '../../../shared/quantum/state.ts';
import { seeded } from '../../../shared/seeded.ts';

const ring = (nodes: number): Qubo =>
  maxCutQubo(
    nodes,
    Array.from({ length: nodes }, (_, at) => [at, (at + 1) % nodes, 1] as const),
  );

const anyQubo: fc.Arbitrary<Qubo> = fc.integer({ min: 1, max: 7 }).chain((bits) => {
  const weight = fc.integer({ min: -9, max: 9 });
  const bit = fc.integer({ min: 0, max: bits - 1 });
  return fc.record({
    bits: fc.constant(bits),
    linear: fc.array(weight, { minLength: bits, maxLength: bits }),
    quadratic: fc
      .array(fc.tuple(bit, bit, weight), { maxLength: 12 })
      .map((edges) => edges.filter(([a, b]) => a !== b)),
    offset: weight,
  });
});

test('the table of values is the function at every state', () => {
  fc.assert(
    fc.property(anyQubo, (qubo) => {
      quboTable(qubo).forEach((value, at) => {
        const bits = Array.from({ length: qubo.bits }, (_, bit) => (at >> bit) & 1);
        expect(value).toBe(quboValue(qubo, bits));
      });
    }),
  );
});

// Angles near a full flip take another way; 17 qubits are more than one block.
test.each(
  [1, 2, 3, 4, 5, 10, 13, 17].flatMap((qubits) =>
    [0.7, -0.4, 1.5, Math.PI / 2, 2.2, 5].map((beta) => [qubits, beta]),
  ),
)('the fused mixer on %i qubits at %f is RX on each', (qubits = 1, beta = 0) => {
  const random = seeded(qubits);
  const [fused, plain] = [createState(qubits, 'float64'), createState(qubits, 'float64')];
  for (let at = 0; at < fused.re.length; at += 1) {
    fused.re[at] = plain.re[at] = random.uniform() - 0.5;
    fused.im[at] = plain.im[at] = random.uniform() - 0.5;
  }
  applyXMixer(fused, beta);
  for (let qubit = 0; qubit < qubits; qubit += 1) applyGate(plain, gate('rx', [qubit], 2 * beta));
  let furthest = 0;
  for (let at = 0; at < fused.re.length; at += 1) {
    furthest = Math.max(
      furthest,
      Math.abs(fused.re[at]! - plain.re[at]!),
      Math.abs(fused.im[at]! - plain.im[at]!),
    );
  }
  expect(furthest).toBeLessThan(1e-12);
});

test.each([0.5, 1.5])('the layer in one is the phase, then the mixer, at %f', (beta) => {
  const qubits = 16;
  const ranked = rankValues(quboTable(ring(qubits)));
  if (ranked === undefined) throw new Error('a ring has few values');
  const [one, other, single] = [
    createState(qubits, 'float64'),
    createState(qubits, 'float64'),
    createState(qubits, 'float32'),
  ];
  for (const state of [one, other, single]) applyXMixer(state, 0.3);
  for (const state of [one, single]) applyRankedLayer(state, ranked, 0.37, beta);
  applyRankedPhase(other, ranked, 0.37);
  applyXMixer(other, beta);
  const furthest = (left: State, right: State): number => {
    let most = 0;
    for (let at = 0; at < left.re.length; at += 1)
      most = Math.max(most, Math.abs(left.re[at]! - right.re[at]!), Math.abs(left.im[at]! - right.im[at]!));
    return most;
  };
  expect(furthest(one, other)).toBeLessThan(1e-12);
  expect(furthest(single, other)).toBeLessThan(1e-6);
});

test('the phase by ranks is the phase by values', () => {
  const table = quboTable(ring(6));
  const ranked = rankValues(table);
  const [one, other] = [createState(6, 'float64'), createState(6, 'float64')];
  for (const state of [one, other]) applyXMixer(state, 0.5);
  applyCostPhase(one, table, 0.37);
  if (ranked === undefined) throw new Error('a ring has few values');
  applyRankedPhase(other, ranked, 0.37);
  expect(other.re).toEqual(one.re);
  expect(other.im).toEqual(one.im);
});

describe('MaxCut on a ring', () => {
  // Farhi, Goldstone, Gutmann 2014, §IV: (2p + 1)/(2p + 2) of the edges at p layers on a ring longer than 2p + 1.
  test.each([
    [8, 1, 3 / 4],
    [8, 2, 5 / 6],
    [10, 3, 7 / 8],
  ])('of %i nodes, %i layers: the published share of edges', (nodes, layers, share) => {
    const result = runQaoa(ring(nodes), { layers, evaluationsMax: 600 });
    expect(-result.expectation / nodes).toBeCloseTo(share, 3);
    expect(result.least).toBe(-nodes);
  });
});

describe('against brute force', () => {
  test.each([6, 10, 13])(
    'random weights on %i bits: the expectation improves with depth, proposals hold the optimum',
    (bits) => {
      const random = seeded(bits);
      const edges = Array.from({ length: bits * 2 }, () => {
        const first = random.below(bits);
        return [first, (first + 1 + random.below(bits - 1)) % bits, 1 + random.below(9)] as const;
      });
      const qubo = maxCutQubo(bits, edges);
      const [shallow, deep] = [1, 3].map((layers) => runQaoa(qubo, { layers, evaluationsMax: 150 }));
      if (shallow === undefined || deep === undefined) throw new Error('both were run');
      expect(approximationRatio(deep)).toBeGreaterThan(approximationRatio(shallow));
      expect(approximationRatio(shallow)).toBeGreaterThan(0.5);
      const best = proposals(deep, qubo, 4_000, random)[0];
      expect(best?.value).toBe(Math.min(...quboTable(qubo)));
      expect(quboValue(qubo, best?.bits ?? [])).toBe(best?.value);
    },
  );
});

test('the XY mixer never leaves the one-hot states', () => {
  // Two tasks, three sites each, costs at random, conflict when both take the same site.
  const groups = [
    [0, 1, 2],
    [3, 4, 5],
  ];
  const qubo: Qubo = {
    bits: 6,
    linear: [3, 1, 2, 2, 1, 3],
    quadratic: [0, 1, 2].map((site) => [site, site + 3, 4] as const),
    offset: 0,
  };
  const { probabilities, expectation } = runQaoa(qubo, { layers: 3, mixer: { kind: 'xy', groups } });
  const inside = probabilities.reduce((sum, odds, state) => {
    const oneHot = groups.every((group) => group.filter((bit) => ((state >> bit) & 1) === 1).length === 1);
    return sum + (oneHot ? odds : 0);
  }, 0);
  expect(inside).toBeCloseTo(1, 10);
  // The even mix costs 2 + 2 + 4/3.
  expect(expectation).toBeLessThan(4.2);
});

test('a state of random angles keeps its norm through layers', () => {
  const state = createState(9, 'float64');
  const table = quboTable(ring(9));
  for (let layer = 0; layer < 20; layer += 1) {
    applyXMixer(state, layer);
    applyCostPhase(state, table, layer / 3);
  }
  expect(Math.abs(normOf(state) - 1)).toBeLessThan(1e-12);
});
