import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fillInputs } from '../../../shared/learning/liquid/inputs.ts';
import { addSparse } from '../../../shared/learning/liquid/sparse.ts';
import { wiringOf } from '../../../shared/learning/liquid/wiring.ts';
import { modelOf } from '../../../shared/learning/models.ts';
import { seeded } from '../../../shared/seeded.ts';

const size = fc.integer({ min: 1, max: 40 });

describe('wiring', () => {
  test('each row hears the same number of columns, each once and in order; the density is what is counted', () => {
    fc.assert(
      fc.property(
        size,
        size,
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        fc.nat(),
        (rows, columns, sparsity, seed) => {
          const { start, column, density } = wiringOf(rows, columns, sparsity, seed);
          const kept = Math.max(1, Math.round((1 - sparsity) * columns));
          for (let row = 0; row < rows; row += 1) {
            const heard = [...column.subarray(start[row], start[row + 1])];
            expect(heard).toHaveLength(kept);
            expect(heard).toEqual([...new Set(heard)].toSorted((left, right) => left - right));
            expect(heard[0]).toBeGreaterThanOrEqual(0);
            expect(heard.at(-1)).toBeLessThan(columns);
          }
          expect(density).toBeCloseTo(kept / columns, 14);
        },
      ),
    );
  });

  test('is the same for the same seed, and not for another', () => {
    expect(wiringOf(32, 32, 0.4, 1)).toEqual(wiringOf(32, 32, 0.4, 1));
    expect(wiringOf(32, 32, 0.4, 1)).not.toEqual(wiringOf(32, 32, 0.4, 2));
  });

  test('what the wiring leaves out is not in the flat vector', () => {
    const spec = { kind: 'liquid', cell: 'cfc', units: 32, qubits: 0, wiringSeed: 1 } as const;
    const shape = { features: 0, channels: 2 };
    const dense = modelOf({ ...spec, sparsity: 0 }, shape).size;
    // The connections from the state and those of three heads: 13 of 32 in each row are gone.
    expect(dense - modelOf({ ...spec, sparsity: 0.4 }, shape).size).toBe(4 * 32 * 13);
  });

  test('a sparse product is the dense one with zeros', () => {
    fc.assert(
      fc.property(size, size, fc.nat(), (rows, columns, seed) => {
        const random = seeded(seed);
        const wiring = wiringOf(rows, columns, 0.4, seed);
        const weights = Float64Array.from(wiring.column, () => random.uniform() - 0.5);
        const x = Float64Array.from({ length: columns }, () => random.uniform() - 0.5);
        const dense = new Float64Array(rows * columns);
        for (let row = 0; row < rows; row += 1)
          for (let k = wiring.start[row]!; k < wiring.start[row + 1]!; k += 1)
            dense[row * columns + wiring.column[k]!] = weights[k]!;
        const y = new Float64Array(rows).fill(1);
        addSparse(wiring, weights, x, 0, y, 0);
        for (let row = 0; row < rows; row += 1) {
          let sum = 1;
          for (let at = 0; at < columns; at += 1) sum += dense[row * columns + at]! * x[at]!;
          expect(y[row]).toBeCloseTo(sum, 12);
        }
      }),
    );
  });
});

test('what was not measured decays from the last value towards the mean, and says so', () => {
  const values = new Float64Array(4 * 2);
  const decaySlopes = new Float64Array(4);
  const series = {
    steps: 4,
    channels: 1,
    hours: Float64Array.of(0, 1, 3, 4),
    values: Float64Array.of(NaN, 2, NaN, -1),
  };
  // softplus(ρ) = ln 2: halved each hour.
  fillInputs(series, Float64Array.of(0), { values, decaySlopes });
  for (const [step, value] of [0, 2, 0.5, -1].entries()) expect(values[2 * step]).toBeCloseTo(value, 14);
  expect(values.filter((_, at) => at % 2 === 1)).toEqual(Float64Array.of(0, 1, 0, 1));
  expect(decaySlopes[2]).toBeCloseTo(-0.5 * 2 * 0.5, 14);
});
