import { describe, expect, test } from 'vitest';
import { cfcCell } from '../../../shared/learning/liquid/cfc.ts';
import { ltcCell } from '../../../shared/learning/liquid/ltc.ts';
import { liquidRegression } from '../../../shared/learning/liquid/regression.ts';
import { trainLocal } from '../../../shared/learning/local.ts';
import { atOnce } from '../../../shared/rounds/slowly.ts';
import { seeded } from '../../../shared/seeded.ts';
import { expectSlopes, irregularSeries, randomExample, randomWeights } from './differences.ts';

const shape = { units: 5, sparsity: 0.4, wiringSeed: 1, qubits: 0 };
const cells = { cfc: cfcCell, ltc: ltcCell };

const regressionOf = (cell: keyof typeof cells, bend: number) =>
  liquidRegression({ features: 2, channels: 3 }, (width) => cells[cell]({ ...shape, width }), bend);

describe('a liquid network that tells a number', () => {
  test.each([
    ['cfc', Infinity],
    ['cfc', 0.3],
    ['ltc', Infinity],
    ['ltc', 2],
  ] as const)('%s, bend %d: gradients are those of finite differences', (cell, bend) => {
    const model = regressionOf(cell, bend);
    for (const seed of [1, 2, 3]) {
      const example = randomExample(2, irregularSeries(6, 3, 0.4, seeded(seed)), seed);
      const weights = randomWeights(model.size, 0.7, seed);
      const into = new Float64Array(model.size).fill(NaN);
      const target = 2 * seed - 3.3;
      const { told } = model.gradient(weights, example, target, into);
      expect(model.predict(weights, example)).toBeCloseTo(told, 14);
      const scratch = new Float64Array(model.size);
      expectSlopes(model.tensors, weights, into, (at) => model.gradient(at, example, target, scratch).loss);
    }
  });

  test('the loss is half the squared error; bent, it grows like the error', () => {
    const example = randomExample(2, irregularSeries(4, 3, 0.4, seeded(1)), 1);
    const lossOf = (bend: number, target: number): number => {
      const model = regressionOf('cfc', bend);
      return model.gradient(model.initial(1), example, target, new Float64Array(model.size)).loss;
    };
    expect(lossOf(Infinity, 4)).toBe(8);
    expect(lossOf(1e4, 4)).toBeCloseTo(8, 5);
    expect(lossOf(1, 1_001) - lossOf(1, 1_000)).toBeCloseTo(1, 5);
  });

  test('learns a number that lies in the course of time, which a constant cannot tell', () => {
    const model = regressionOf('cfc', Infinity);
    const random = seeded(5);
    const examples = Array.from({ length: 200 }, () => {
      const series = irregularSeries(4, 3, 0, random);
      return { inputs: new Float64Array(2), series, target: series.values[3]! };
    });
    const { losses } = atOnce(
      trainLocal(
        {
          size: model.size,
          tensors: model.tensors,
          examples: examples.length,
          gradient: (weights, at, into) => model.gradient(weights, examples[at]!, examples[at]!.target, into),
        },
        model.initial(2),
        { epochs: 40, batch: 16, rate: 0.02, seed: 3 },
      ),
    );
    expect(losses.at(-1)).toBeLessThan(0.25 * losses[0]!);
  });
});
