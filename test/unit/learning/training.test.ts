import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { adamStart, adamStep } from '../../../shared/learning/adam.ts';
import { type LocalSettings, objectiveOf, shuffle, trainLocal } from '../../../shared/learning/local.ts';
import { logisticModel } from '../../../shared/learning/logistic.ts';
import { aucOf } from '../../../shared/learning/metrics.ts';
import type { Example } from '../../../shared/learning/model.ts';
import { liquidOf, modelOf } from '../../../shared/learning/models.ts';
import { atOnce, slowly } from '../../../shared/rounds/slowly.ts';
import { seeded } from '../../../shared/seeded.ts';
import { irregularSeries, randomExample } from './differences.ts';

describe('Adam', () => {
  test('the first step has the length of the rate, whatever the slope', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-3, max: 1e6, noNaN: true }), fc.boolean(), (size, up) => {
        const slope = up ? size : -size;
        const { weights } = adamStep(Float64Array.of(0), Float64Array.of(slope), adamStart(1), { rate: 0.1 });
        expect(weights[0]).toBeCloseTo(-0.1 * Math.sign(slope), 5);
      }),
    );
  });

  test('two steps by hand', () => {
    const settings = { rate: 0.5, meanDecay: 0.5, squareDecay: 0.75, floor: 0 };
    const start = { weights: Float64Array.of(1), state: adamStart(1) };
    const one = adamStep(start.weights, Float64Array.of(2), start.state, settings);
    expect(one.weights[0]).toBeCloseTo(0.5, 14);
    const two = adamStep(one.weights, Float64Array.of(-1), one.state, settings);
    // m = 0.5·1 − 0.5·1 = 0: the mean of both slopes, each weighed, is nothing.
    expect(two.weights[0]).toBeCloseTo(0.5, 14);
    const three = adamStep(two.weights, Float64Array.of(4), two.state, settings);
    // m = 2 over 1 − 1/8; v = 0.75·(0.75·1 + 0.25) + 0.25·16 = 4.75 over 1 − 27/64.
    expect(three.weights[0]).toBeCloseTo(0.5 - (0.5 * (2 / (7 / 8))) / Math.sqrt(4.75 / (37 / 64)), 14);
    expect(start.weights[0]).toBe(1);
    expect(start.state.mean[0]).toBe(0);
  });

  test('finds the bottom of a narrow valley', () => {
    let weights = Float64Array.of(5, -3);
    let state = adamStart(2);
    for (let step = 0; step < 4_000; step += 1) {
      const gradient = Float64Array.of(2 * (weights[0]! - 1), 200 * (weights[1]! - 2));
      ({ weights, state } = adamStep(weights, gradient, state, { rate: 0.02 }));
    }
    expect(weights[0]).toBeCloseTo(1, 3);
    expect(weights[1]).toBeCloseTo(2, 3);
  });
});

/** The target is likelier the larger the first input; the second says nothing. */
const examples: Example[] = Array.from({ length: 200 }, (_, at) => {
  const random = seeded(at + 1);
  const inputs = Float64Array.of(4 * random.uniform() - 2, 4 * random.uniform() - 2);
  return {
    inputs,
    series: undefined,
    target: random.uniform() < 1 / (1 + Math.exp(1 - 2 * inputs[0]!)) ? 1 : 0,
  };
});
const model = logisticModel({ features: 2, channels: 0 });
const train = (settings: Partial<LocalSettings>, positiveWeight = 1) =>
  atOnce(
    trainLocal(objectiveOf(model, examples, positiveWeight), model.initial(0), {
      epochs: 200,
      batch: 200,
      rate: 0.05,
      seed: 1,
      ...settings,
    }),
  );
/** Mean over the examples, each weighed. */
const meanGradient = (weights: Float64Array, positiveWeight = 1): number[] => {
  const sum = [0, 0, 0];
  let total = 0;
  const into = new Float64Array(3);
  for (const example of examples) {
    model.gradient(weights, example, into);
    const weight = example.target === 1 ? positiveWeight : 1;
    total += weight;
    for (const at of sum.keys()) sum[at]! += weight * into[at]!;
  }
  return sum.map((slope) => slope / total);
};
const distance = (left: ArrayLike<number>, right: ArrayLike<number>): number =>
  Math.hypot(...Array.from(left, (value, at) => value - right[at]!));

describe('local training', () => {
  test.each(['adam', 'descent'] as const)('by %s ends where the gradient is 0', (optimiser) => {
    const rate = optimiser === 'adam' ? 0.05 : 1;
    const { weights, losses } = train({ optimiser, rate, epochs: 1_000 });
    for (const slope of meanGradient(weights)) expect(slope).toBeCloseTo(0, 5);
    expect(losses).toHaveLength(1_000);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
    expect(losses[0]).toBeCloseTo(Math.LN2, 10);
  });

  test('a penalty on the size: at the end it balances the gradient, but for the bias', () => {
    const { weights } = train({ l2: 0.1, epochs: 1_000 });
    const slopes = meanGradient(weights);
    expect(slopes[0]).toBeCloseTo(-0.1 * weights[0]!, 5);
    expect(slopes[1]).toBeCloseTo(-0.1 * weights[1]!, 5);
    expect(slopes[2]).toBeCloseTo(0, 5);
  });

  test('FedProx: the proximal term balances the gradient, and holds the weights near where they began', () => {
    const start = Float64Array.of(1, 1, 1);
    const near = atOnce(
      trainLocal(objectiveOf(model, examples), start, {
        epochs: 1_000,
        batch: 200,
        rate: 0.05,
        proximal: 0.5,
        seed: 1,
      }),
    ).weights;
    for (const [at, slope] of meanGradient(near).entries())
      expect(slope).toBeCloseTo(-0.5 * (near[at]! - start[at]!), 5);
    expect(distance(near, start)).toBeLessThan(distance(train({ epochs: 1_000 }).weights, start));
    expect(start).toEqual(Float64Array.of(1, 1, 1));
  });

  test('weighted classes: the minimum is that of the weighted mean', () => {
    const { weights } = train({ epochs: 1_000 }, 5);
    for (const slope of meanGradient(weights, 5)) expect(slope).toBeCloseTo(0, 5);
    expect(weights[2]).toBeGreaterThan(train({ epochs: 1_000 }).weights[2]!);
  });

  test('the same seed gives the same weights, another seed others; slowly is as good as at once', async () => {
    const settings = { epochs: 3, batch: 16, rate: 0.05, seed: 4 };
    const run = () => trainLocal(objectiveOf(model, examples), model.initial(0), settings);
    expect(await slowly(run())).toEqual(atOnce(run()));
    expect(train({ ...settings, seed: 5 })).not.toEqual(train(settings));
  });

  test('no gradient is longer than it may be', () => {
    const { weights } = train({ optimiser: 'descent', epochs: 1, rate: 1, lengthMax: 0.01 });
    expect(distance(weights, [0, 0, 0])).toBeCloseTo(0.01, 12);
  });

  test('ends when whoever watches says so', () => {
    const seen: number[] = [];
    const { losses } = train({
      afterEpoch: (epoch, _, loss) => {
        seen.push(loss);
        return epoch === 4;
      },
    });
    expect(losses).toHaveLength(5);
    expect(seen).toEqual(losses);
  });

  test('a shuffle keeps every number, and is the same for the same seed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 200 }), fc.nat(), (length, seed) => {
        const order = Int32Array.from({ length }, (_, at) => at);
        const again = order.slice();
        shuffle(order, seeded(seed));
        shuffle(again, seeded(seed));
        expect(order).toEqual(again);
        expect(order.toSorted()).toEqual(Int32Array.from({ length }, (_, at) => at));
      }),
    );
  });
});

describe('what only the course of time tells', () => {
  /** Whether the first channel's first measured value was positive: at the last step it is long past. */
  const past = (count: number, seed: number): Example[] =>
    Array.from({ length: count }, (_, at) => {
      const series = irregularSeries(6, 2, 0.4, seeded(seed + at));
      series.values[0] = at % 2 === 0 ? 1 : -1;
      return { ...randomExample(0, series, at), target: at % 2 === 0 ? 1 : 0 };
    });

  test.each(['cfc', 'ltc'] as const)('%s learns what was measured first', (cell) => {
    const liquid = liquidOf(
      { kind: 'liquid', cell, units: 8, sparsity: 0.4, qubits: 0, wiringSeed: 1 },
      { features: 0, channels: 2 },
    );
    const { weights } = atOnce(
      trainLocal(objectiveOf(liquid, past(200, 1)), liquid.initial(1), {
        epochs: 15,
        batch: 10,
        rate: 0.02,
        lengthMax: 1,
        seed: 1,
      }),
    );
    const fresh = past(200, 10_000);
    const area = aucOf(
      fresh.map((example) => liquid.predict(weights, example)),
      fresh.map(({ target }) => target),
    );
    expect(area).toBeGreaterThan(0.95);
  });

  test('a perceptron learns what no line tells apart', () => {
    const perceptron = modelOf({ kind: 'perceptron', hidden: [8] }, { features: 2, channels: 0 });
    const crossed = examples.map((example): Example => ({
      ...example,
      target: example.inputs[0]! * example.inputs[1]! > 0 ? 1 : 0,
    }));
    const { weights } = atOnce(
      trainLocal(objectiveOf(perceptron, crossed), perceptron.initial(1), {
        epochs: 100,
        batch: 10,
        rate: 0.02,
        seed: 1,
      }),
    );
    const odds = crossed.map((example) => perceptron.predict(weights, example));
    expect(
      aucOf(
        odds,
        crossed.map(({ target }) => target),
      ),
    ).toBeGreaterThan(0.98);
  });
});
