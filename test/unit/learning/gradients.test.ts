import { describe, expect, test } from 'vitest';
import { QflError } from '../../../shared/errors.ts';
import type { Example, Model } from '../../../shared/learning/model.ts';
import { type LiquidSpec, liquidOf, modelOf } from '../../../shared/learning/models.ts';
import { seeded } from '../../../shared/seeded.ts';
import { ModelSpec } from '../../../shared/wire/learning.ts';
import { expectSlopes, irregularSeries, randomExample, randomWeights } from './differences.ts';

const spec = (from: unknown): ModelSpec => ModelSpec.parse(from);
const liquid = (from: object): LiquidSpec => {
  const parsed = spec({ kind: 'liquid', ...from });
  if (parsed.kind !== 'liquid') throw new Error('not a liquid model');
  return parsed;
};

const expectGradient = (model: Model, example: Example): void => {
  const weights = randomWeights(model.size, 0.7, 5);
  const into = new Float64Array(model.size).fill(NaN);
  const { loss, probability } = model.gradient(weights, example, into);
  expect(model.predict(weights, example)).toBeCloseTo(probability, 14);
  expect(loss).toBeCloseTo(-Math.log(example.target === 1 ? probability : 1 - probability), 12);
  const scratch = new Float64Array(model.size);
  expectSlopes(model.tensors, weights, into, (at) => model.gradient(at, example, scratch).loss);
};

describe('gradients are those of finite differences, for every tensor', () => {
  test.each([
    ['logistic', { kind: 'logistic' }],
    ['a perceptron of one layer', { kind: 'perceptron', hidden: [5] }],
    ['a perceptron of three layers', { kind: 'perceptron', hidden: [4, 3, 2] }],
  ])('%s', (_, from) => {
    for (const seed of [1, 2])
      expectGradient(modelOf(spec(from), { features: 6, channels: 0 }), randomExample(6, undefined, seed));
  });

  const cells = [
    { cell: 'cfc' },
    { cell: 'ltc' },
    { cell: 'cfc', qubits: 3 },
    { cell: 'ltc', qubits: 2 },
    { cell: 'cfc', qubits: 1 },
  ] as const;
  test.each(cells)('%o, with irregular steps and values that were not measured', (cell) => {
    for (const seed of [1, 2, 3]) {
      const series = irregularSeries(7, 3, 0.5, seeded(seed));
      const model = modelOf(liquid({ ...cell, units: 6 }), { features: 2, channels: 3 });
      expectGradient(model, randomExample(2, series, seed));
    }
  });

  test.each(cells)('%o, without features and dense', (cell) => {
    const series = irregularSeries(4, 2, 0.3, seeded(9));
    const model = modelOf(liquid({ ...cell, units: 3, sparsity: 0 }), { features: 0, channels: 2 });
    expectGradient(model, randomExample(0, series, 9));
  });

  test.each(cells)('%o, where each step has its own target', (cell) => {
    const series = irregularSeries(6, 3, 0.5, seeded(4));
    const example = randomExample(2, series, 4);
    const targets = Uint8Array.from([0, 1, 1, 0, 1, 0]);
    const model = liquidOf(liquid({ ...cell, units: 5 }), { features: 2, channels: 3 });
    const weights = randomWeights(model.size, 0.7, 6);
    const into = new Float64Array(model.size).fill(NaN);
    const { loss } = model.gradientOfSteps(weights, example, targets, into);
    const odds = new Float64Array(6);
    model.predictSteps(weights, example, odds);
    const losses = Array.from(odds, (odd, step) => -Math.log(targets[step] === 1 ? odd : 1 - odd));
    expect(loss).toBeCloseTo(losses.reduce((sum, one) => sum + one, 0) / 6, 12);
    expect(odds[5]).toBeCloseTo(model.predict(weights, example), 14);
    const scratch = new Float64Array(model.size);
    expectSlopes(
      model.tensors,
      weights,
      into,
      (at) => model.gradientOfSteps(at, example, targets, scratch).loss,
    );
  });
});

describe('a model', () => {
  test('begins the same for the same seed, and not for another', () => {
    for (const from of [{ kind: 'perceptron' }, { kind: 'liquid' }]) {
      const model = modelOf(spec(from), { features: 3, channels: 2 });
      expect(model.initial(1)).toEqual(model.initial(1));
      expect(model.initial(1)).not.toEqual(model.initial(2));
      expect(model.initial(1)).toHaveLength(model.size);
    }
    expect(modelOf({ kind: 'logistic' }, { features: 3, channels: 0 }).initial(7)).toEqual(
      new Float64Array(4),
    );
  });

  test('names its tensors, one behind the other and without a gap', () => {
    const model = modelOf(spec({ kind: 'liquid', units: 4 }), { features: 3, channels: 2 });
    let offset = 0;
    for (const tensor of model.tensors) {
      expect(tensor.offset).toBe(offset);
      offset += tensor.shape.reduce((product, one) => product * one, 1);
    }
    expect(offset).toBe(model.size);
    expect(new Set(model.tensors.map(({ name }) => name)).size).toBe(model.tensors.length);
  });

  test('does not look at what comes later: a step is told from what was measured until then', () => {
    const model = liquidOf(liquid({ units: 4 }), { features: 0, channels: 2 });
    const weights = randomWeights(model.size, 0.7, 3);
    const series = irregularSeries(5, 2, 0.3, seeded(3));
    const other = { ...series, values: series.values.with(8, 9) };
    const odds = [series, other].map((one) => {
      const into = new Float64Array(5);
      model.predictSteps(weights, randomExample(0, one, 3), into);
      return into;
    });
    expect(odds[0]!.subarray(0, 4)).toEqual(odds[1]!.subarray(0, 4));
    expect(odds[0]![4]).not.toBe(odds[1]![4]);
  });

  test('a patient without any measurement is told from the features', () => {
    const model = modelOf(liquid({ units: 4 }), { features: 1, channels: 2 });
    const weights = randomWeights(model.size, 0.7, 3);
    const none = irregularSeries(0, 2, 0, seeded(1));
    const at = model.tensors.find(({ name }) => name === 'readout.features')?.offset ?? NaN;
    const logit = weights[at]! * 0.5 + weights[model.size - 1]!;
    const example: Example = { inputs: Float64Array.of(0.5), series: none, target: 1 };
    expect(model.predict(weights, example)).toBeCloseTo(1 / (1 + Math.exp(-logit)), 14);
    expect(model.gradient(weights, example, new Float64Array(model.size)).loss).toBeGreaterThan(0);
  });

  test.each([
    [{ kind: 'liquid' }, { features: 3, channels: 0 }],
    [{ kind: 'logistic' }, { features: 0, channels: 3 }],
    [{ kind: 'perceptron' }, { features: 0, channels: 3 }],
  ])('%o is refused where the data has not what it looks at', (from, shape) => {
    expect(() => modelOf(spec(from), shape)).toThrow(QflError);
  });
});
