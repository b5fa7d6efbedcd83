/** The fit is where the gradient of the penalised loss vanishes; the penalty decides whom it follows. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  chanceOf,
  fitRidge,
  type Penalty,
  scoreOf,
  solvePositive,
  type Table,
  tableOf,
} from '../../../shared/learning/ridge.ts';
import { seeded } from '../../../shared/seeded.ts';

const COLUMNS = 4;
const random = seeded(3);
const patient = (target?: 0 | 1) => {
  const inputs = Float64Array.from({ length: COLUMNS - 1 }, () => 4 * random.uniform() - 2);
  const isIll = random.uniform() < chanceOf(2 * inputs[0]! - inputs[1]! + 0.5);
  return { inputs, target: target ?? (isIll ? (1 as const) : (0 as const)) };
};
const table = tableOf(Array.from({ length: 300 }, () => patient()));

/** Derivatives of the penalised loss, written down once more. */
const slopes = (of: Table, weights: Float64Array, { around, ridge, interceptRidge }: Penalty): number[] =>
  Array.from(weights, (weight, at) => {
    let slope = (at === of.columns - 1 ? interceptRidge : ridge) * (weight - around[at]!);
    for (let row = 0; row < of.rows; row += 1)
      slope += (chanceOf(scoreOf(of, row, weights)) - of.targets[row]!) * of.inputs[row * of.columns + at]!;
    return slope;
  });

describe('a ridge fit', () => {
  it.each([0.01, 1, 100])('has no slope left, at a ridge of %d', (ridge) => {
    const penalty = { around: [1, -1, 0, 2], ridge, interceptRidge: ridge / 10 };
    for (const slope of slopes(table, fitRidge(table, penalty), penalty)) expect(slope).toBeCloseTo(0, 6);
  });

  it('finds what the outcomes were drawn from', () => {
    const weights = fitRidge(table, { around: [0, 0, 0, 0], ridge: 0.01, interceptRidge: 0.01 });
    expect(weights[0]!).toBeGreaterThan(1.3);
    expect(weights[1]!).toBeLessThan(-0.5);
    expect(Math.abs(weights[2]!)).toBeLessThan(0.5);
  });

  it('stays where it was told to with a large penalty, and moves with a small one', () => {
    const around = [5, 5, 5, 5];
    const held = fitRidge(table, { around, ridge: 1e9, interceptRidge: 1e9 });
    for (const weight of held) expect(weight).toBeCloseTo(5, 4);
    expect(fitRidge(table, { around, ridge: 0.1, interceptRidge: 0.1 })[1]!).toBeLessThan(0);
  });

  it('exists where all have one outcome, and from far away', () => {
    const ill = tableOf(Array.from({ length: 20 }, () => patient(1)));
    const penalty = { around: [-40, 40, 40, -40], ridge: 0.1, interceptRidge: 0.1 };
    for (const slope of slopes(ill, fitRidge(ill, penalty), penalty)) expect(slope).toBeCloseTo(0, 6);
  });
});

it('solves for a positive definite matrix', () => {
  const number = fc.double({ min: -5, max: 5, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(number, { minLength: 9, maxLength: 9 }),
      fc.array(number, { minLength: 3, maxLength: 3 }),
      (factor, right) => {
        // F·Fᵀ + 1 is positive definite.
        const entry = (row: number, column: number): number =>
          [0, 1, 2].reduce(
            (sum, at) => sum + factor[row * 3 + at]! * factor[column * 3 + at]!,
            row === column ? 1 : 0,
          );
        const matrix = Float64Array.from({ length: 9 }, (_, at) => entry(Math.floor(at / 3), at % 3));
        const solution = Float64Array.from(right);
        solvePositive(matrix.slice(), solution);
        for (const row of [0, 1, 2])
          expect([0, 1, 2].reduce((sum, at) => sum + matrix[row * 3 + at]! * solution[at]!, 0)).toBeCloseTo(
            right[row]!,
            6,
          );
      },
    ),
  );
});
