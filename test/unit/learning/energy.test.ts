import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { QflError } from '../../../shared/errors.ts';
import {
  calibrate,
  type Calibration,
  energyOf,
  joulesAtRate,
  largestWithin,
} from '../../../shared/learning/energy.ts';
import { modelOf } from '../../../shared/learning/models.ts';
import { operationsOf } from '../../../shared/learning/operations.ts';
import { ModelSpec } from '../../../shared/wire/learning.ts';

const spec = (from: object): ModelSpec => ModelSpec.parse(from);
const shape = { features: 5, channels: 3 };
/** A nanojoule for each multiply-add, ten for a function. */
const calibration: Calibration = { joulesPerMultiplyAdd: 1e-9, joulesPerFunction: 1e-8, source: 'a test' };

describe('operations', () => {
  test('of a logistic regression: one for each weight', () => {
    expect(operationsOf(spec({ kind: 'logistic' }), shape, 0)).toEqual({ multiplyAdds: 6, functions: 1 });
  });

  test('of a perceptron: one for each weight', () => {
    const from = spec({ kind: 'perceptron', hidden: [4, 3] });
    expect(operationsOf(from, shape, 0).multiplyAdds).toBe(modelOf(from, shape).size);
    expect(operationsOf(from, shape, 0).functions).toBe(8);
  });

  test('of a closed-form cell, by hand: 4 units that each hear 2, 6 inputs, 10 steps', () => {
    const from = spec({ kind: 'liquid', units: 4, sparsity: 0.4 });
    // Inputs 3·2, listening 6·4, wired 4·(4·2), blend 4·5; then the readout of 4 states and 5 features, and its sigmoid.
    expect(operationsOf(from, shape, 10)).toEqual({
      multiplyAdds: 10 * (6 + 24 + 32 + 20) + 9 + 1,
      functions: 10 * (3 + 16) + 1,
    });
  });

  test('of a time-constant cell, by hand', () => {
    const from = spec({ kind: 'liquid', cell: 'ltc', units: 4, sparsity: 0.4 });
    expect(operationsOf(from, shape, 10)).toEqual({
      multiplyAdds: 10 * (6 + 24 + 6 * (8 + 24)) + 9 + 1,
      functions: 10 * (3 + 6 * 4) + 1,
    });
  });

  test('of a model of another program: not known here', () => {
    const from = spec({ kind: 'external', trainer: 'theirs', tensors: [{ name: 'w', shape: [2] }] });
    expect(() => operationsOf(from, shape, 0)).toThrow(QflError);
  });

  test('more of anything never costs less', () => {
    const units = fc.integer({ min: 1, max: 60 });
    const sparsity = fc.double({ min: 0, max: 0.9, noNaN: true });
    fc.assert(
      fc.property(
        units,
        sparsity,
        fc.nat({ max: 4 }),
        fc.constantFrom('cfc', 'ltc'),
        (count, share, qubits, cell) => {
          const cost = (from: object, steps: number): number =>
            operationsOf(spec({ kind: 'liquid', cell, sparsity: share, ...from }), shape, steps).multiplyAdds;
          const base = cost({ units: count, qubits }, 5);
          expect(cost({ units: count + 1, qubits }, 5)).toBeGreaterThan(base);
          expect(cost({ units: count, qubits: qubits + 1 }, 5)).toBeGreaterThan(base);
          expect(cost({ units: count, qubits }, 6)).toBeGreaterThan(base);
          expect(cost({ units: count, qubits, sparsity: 0 }, 5)).toBeGreaterThanOrEqual(base);
        },
      ),
    );
  });
});

describe('energy', () => {
  test('is operations times what each is said to cost', () => {
    const { joules, source } = energyOf(spec({ kind: 'logistic' }), shape, 0, calibration);
    expect(joules).toBeCloseTo(6e-9 + 1e-8, 18);
    expect(source).toBe('a test');
  });

  test('calibration is processor time times power, and says so', () => {
    // A processor on which every look at the clock finds a millisecond gone: what it does in between is known.
    let seconds = 0;
    const made = calibrate({
      watts: 7,
      processorSeconds: () => {
        seconds += 1e-3;
        return seconds;
      },
      secondsPerKernel: 0.01,
    });
    expect(made.joulesPerMultiplyAdd).toBeCloseTo((7 * 1e-3) / (200 * 64 * 64), 15);
    expect(made.joulesPerFunction).toBeCloseTo((7 * 1e-3) / (200 * 64), 12);
    expect(made.source).toMatch(/estimate.*declared 7 W/);
  });

  test('50 microwatt at two predictions a second are 25 microjoule each', () => {
    expect(joulesAtRate(50e-6, 2)).toBeCloseTo(25e-6, 18);
  });

  test('the largest model within a budget is within it, and one more unit is not', () => {
    fc.assert(
      fc.property(fc.double({ min: 2e-6, max: 1e-3, noNaN: true }), (budgetJoules) => {
        const specOf = (units: number): ModelSpec => spec({ kind: 'liquid', units });
        const within = largestWithin({ specOf, unitsMax: 64, shape, steps: 4, calibration, budgetJoules });
        expect(within.joules).toBeLessThanOrEqual(budgetJoules);
        if (within.units < 64)
          expect(energyOf(specOf(within.units + 1), shape, 4, calibration).joules).toBeGreaterThan(
            budgetJoules,
          );
      }),
    );
  });

  test('a budget below one unit is refused, with the figure', () => {
    const specOf = (units: number): ModelSpec => spec({ kind: 'perceptron', hidden: [units] });
    expect(() =>
      largestWithin({ specOf, unitsMax: 9, shape, steps: 0, calibration, budgetJoules: 1e-9 }),
    ).toThrow(QflError);
  });
});
