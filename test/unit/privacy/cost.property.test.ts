import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseEpsilon } from '../../../shared/privacy/epsilon.ts';
import { costUnits, createFilter, type FilterRule } from '../../../shared/privacy/filter.ts';
import { laplaceRdp } from '../../../shared/privacy/laplace.ts';
import { discreteGaussian, discreteLaplace } from '../../../shared/privacy/mechanism.ts';
import { ORDERS_TENTHS } from '../../../shared/privacy/orders.ts';
import {
  ceil,
  floor,
  integerSquareRoot,
  rational,
  rationalOfDecimal,
  toNumber,
} from '../../../shared/privacy/rational.ts';
import { unitsDown, unitsUp } from '../../../shared/privacy/units.ts';

const rule = fc.constantFrom<FilterRule>('rdp_fixed_order', 'zcdp', 'basic');
const scale = fc
  .tuple(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 100 }))
  .map(([numerator, denominator]) => rational(BigInt(numerator), BigInt(denominator)));
const order = fc.constantFrom(...ORDERS_TENTHS).map((tenths) => tenths / 10);
const budget = { epsilon: parseEpsilon('10'), delta: 1e-5 };

/** The definition, term by term. */
const summedRdp = (b: number, shift: number, a: number): number => {
  const mass = (x: number): number => Math.tanh(1 / (2 * b)) * Math.exp(-Math.abs(x) / b);
  let sum = 0;
  for (let x = -Math.ceil(60 * b); x <= shift + Math.ceil(60 * b); x += 1) {
    sum += mass(x) * Math.exp((a - 1) * ((Math.abs(x - shift) - Math.abs(x)) / b));
  }
  return Math.log(sum) / (a - 1);
};

describe('costs', () => {
  test('the closed form of the discrete Laplace divergence equals the sum it stands for', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.3, max: 40, noNaN: true }),
        fc.integer({ min: 1, max: 12 }),
        fc.double({ min: 1.1, max: 8, noNaN: true }),
        (b, shift, a) => {
          const exact = summedRdp(b, shift, a);
          expect(Math.abs(laplaceRdp(b, shift, a) - exact)).toBeLessThan(1e-12 + 1e-9 * exact);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a divergence lies between 0 and epsilon, grows with shift and order, and never overflows', () => {
    fc.assert(
      fc.property(scale, fc.integer({ min: 1, max: 1000 }), order, (exact, shift, a) => {
        const b = toNumber(exact);
        const value = laplaceRdp(b, shift, a);
        expect(value).toBeGreaterThan(0);
        expect(value).toBeLessThanOrEqual((shift / b) * (1 + 1e-12));
        expect(laplaceRdp(b, shift + 1, a)).toBeGreaterThan(value);
        expect(laplaceRdp(b, shift, a + 1)).toBeGreaterThanOrEqual(value * (1 - 1e-12));
      }),
    );
  });

  test('less noise and more sensitivity never cost less', () => {
    fc.assert(
      fc.property(rule, scale, fc.bigInt({ min: 1n, max: 50n }), (name, b, sensitivity) => {
        const filter = createFilter(name, budget);
        const smaller = rational(b.numerator, b.denominator * 2n);
        const cost = costUnits(discreteLaplace(sensitivity, b), filter);
        expect(costUnits(discreteLaplace(sensitivity, smaller), filter)).toBeGreaterThan(cost);
        expect(costUnits(discreteLaplace(sensitivity + 1n, b), filter)).toBeGreaterThan(cost);
      }),
    );
  });

  test('Gaussian costs are the exact fraction rounded up', () => {
    const filter = createFilter('rdp_fixed_order', budget);
    fc.assert(
      fc.property(scale, scale, (squared, variance) => {
        const cost = costUnits(discreteGaussian(squared, variance), filter);
        const exact = rational(
          34n * squared.numerator * variance.denominator * 2n ** 40n,
          20n * squared.denominator * variance.numerator,
        );
        expect(cost).toBe(ceil(exact));
      }),
    );
  });

  test('costs round up and budgets down, past the error of doubles', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1000, noNaN: true }), (nats) => {
        const up = Number(unitsUp(nats)) / 2 ** 40;
        const down = Number(unitsDown(nats)) / 2 ** 40;
        expect(up).toBeGreaterThan(nats);
        expect(down).toBeLessThanOrEqual(nats);
        expect(up - down).toBeLessThan(1e-11 + nats * 2e-13);
      }),
    );
  });
});

describe('fractions', () => {
  const bigint = fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n });
  const positive = fc.bigInt({ min: 1n, max: 10n ** 30n });

  test('floor and ceil', () => {
    fc.assert(
      fc.property(bigint, positive, (numerator, denominator) => {
        const value = rational(numerator, denominator);
        const low = floor(value);
        expect(low * denominator <= numerator && numerator < (low + 1n) * denominator).toBe(true);
        expect(ceil(value) - low).toBe(numerator % denominator === 0n ? 0n : 1n);
      }),
    );
  });

  test('doubles are within 2^-52', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1 }), fc.integer({ min: 1 }), (numerator, denominator) => {
        const got = toNumber(rational(BigInt(numerator), BigInt(denominator)));
        expect(Math.abs(got / (numerator / denominator) - 1)).toBeLessThan(2 ** -51);
      }),
    );
    expect(toNumber(rational(1n, 10n ** 38n))).toBeCloseTo(1e-38, 50);
    expect(toNumber(rational(10n ** 38n))).toBe(1e38);
  });

  test('square roots', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 40n }), (value) => {
        const root = integerSquareRoot(value);
        expect(root * root <= value && value < (root + 1n) * (root + 1n)).toBe(true);
      }),
    );
  });

  test('decimals are exact', () => {
    expect(rationalOfDecimal('0.1')).toEqual(rational(1n, 10n));
    expect(rationalOfDecimal('12.50')).toEqual(rational(25n, 2n));
  });
});
