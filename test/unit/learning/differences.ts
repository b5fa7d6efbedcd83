/** Gradients held against central finite differences. */
import { expect } from 'vitest';
import type { Example, ExampleSeries, TensorPart } from '../../../shared/learning/model.ts';
import { type Seeded, seeded } from '../../../shared/seeded.ts';

/** Steps of irregular length, values of which about `missing` were not measured. */
export const irregularSeries = (
  steps: number,
  channels: number,
  missing: number,
  random: Seeded,
): ExampleSeries => {
  let now = 0;
  const hours = Float64Array.from({ length: steps }, (_, step) => {
    if (step > 0) now += 0.1 + 3 * random.uniform();
    return now;
  });
  const values = Float64Array.from({ length: steps * channels }, () =>
    random.uniform() < missing ? NaN : 3 * random.uniform() - 1.5,
  );
  return { steps, channels, hours, values };
};

export const randomExample = (features: number, series: ExampleSeries | undefined, seed: number): Example => {
  const random = seeded(seed);
  return {
    inputs: Float64Array.from({ length: features }, () => 3 * random.uniform() - 1.5),
    series,
    target: random.uniform() < 0.5 ? 0 : 1,
  };
};

/** Weights that no symmetry makes easy: all of them random. */
export const randomWeights = (size: number, scale: number, seed: number): Float64Array => {
  const random = seeded(seed);
  return Float64Array.from({ length: size }, () => scale * (2 * random.uniform() - 1));
};

/** Fourth-order central difference: its own error is far below the 1e-6 that is asked for. */
const difference = (loss: (weights: Float64Array) => number, weights: Float64Array, at: number): number => {
  const h = 1e-3;
  const lossAt = (by: number): number => loss(weights.with(at, weights[at]! + by));
  return (8 * (lossAt(h) - lossAt(-h)) - (lossAt(2 * h) - lossAt(-2 * h))) / (12 * h);
};

/** Every number of every tensor, to 1e-6 of the tensor's largest slope; a tensor whose slopes are all 0 would prove nothing. */
export const expectSlopes = (
  tensors: readonly TensorPart[],
  weights: Float64Array,
  gradient: Float64Array,
  loss: (weights: Float64Array) => number,
): void => {
  for (const { name, shape, offset } of tensors) {
    const length = shape.reduce((product, one) => product * one, 1);
    const expected = Array.from({ length }, (_, at) => difference(loss, weights, offset + at));
    const largest = Math.max(...expected.map(Math.abs));
    expect(largest, `${name} matters`).toBeGreaterThan(1e-9);
    for (let at = 0; at < length; at += 1)
      expect(
        Math.abs(gradient[offset + at]! - expected[at]!) / largest,
        `${name}[${at}]: ${gradient[offset + at]} against ${expected[at]}`,
      ).toBeLessThan(1e-6);
  }
};
