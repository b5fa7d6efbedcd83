import { describe, expect, test } from 'vitest';
import { microEpsilon, parseEpsilon } from '../../../shared/privacy/epsilon.ts';
import { admits, costUnits, createFilter, type Filter } from '../../../shared/privacy/filter.ts';
import {
  discreteGaussian,
  discreteLaplace,
  laplaceForEpsilon,
  type Mechanism,
  mechanismOfText,
  mechanismToText,
} from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';

const POLICY = { microEpsilonPerQueryMax: microEpsilon(1_000_000) };
const count = laplaceForEpsilon({ epsilon: parseEpsilon('0.1'), sensitivity: 1n }, POLICY);

const accepted = (filter: Filter, mechanism: Mechanism): number => {
  const cost = costUnits(mechanism, filter);
  let spent = 0n;
  let times = 0;
  while (admits(filter, spent, cost)) {
    spent += cost;
    times += 1;
  }
  return times;
};

describe('how many counts of epsilon 0.1 a budget admits at delta 1e-5 (privacy.md §3)', () => {
  test.each([
    ['research', '3', 30, 44, 48],
    ['general', '8', 80, 245, 250],
    ['user', '10', 100, 356, 361],
    ['surgery', '12', 120, 480, 485],
    ['icu', '15', 150, 687, 692],
    ['emergency', '20', 200, 1078, 1085],
  ])('%s: epsilon %s', (_name, epsilon, basic, zcdp, fixedOrder) => {
    const budget = { epsilon: parseEpsilon(epsilon), delta: 1e-5 };
    expect(accepted(createFilter('basic', budget), count)).toBe(basic);
    expect(accepted(createFilter('zcdp', budget), count)).toBe(zcdp);
    expect(accepted(createFilter('rdp_fixed_order', budget), count)).toBe(fixedOrder);
  });
});

describe('filters', () => {
  const budget = { epsilon: parseEpsilon('10'), delta: 1e-5 };
  const filter = createFilter('rdp_fixed_order', budget);

  test('a given order is kept, and a larger budget at it is larger', () => {
    const larger = createFilter(
      'rdp_fixed_order',
      { ...budget, epsilon: parseEpsilon('20') },
      filter.orderTenths,
    );
    expect(filter.orderTenths).toBe(34);
    expect(larger.orderTenths).toBe(34);
    expect(larger.budgetUnits).toBeGreaterThan(filter.budgetUnits);
  });

  test('a Gaussian count costs order × D²/(2σ²), rounded up and never down', () => {
    const noise = discreteGaussian(rational(1n), rational(400n));
    // 3.4/800 · 2^40 = 4672923999.2…
    expect(costUnits(noise, filter)).toBe((34n * 2n ** 40n + 7999n) / 8000n);
  });

  test('basic composition refuses Gaussian noise, which has no pure epsilon', () => {
    const noise = discreteGaussian(rational(1n), rational(400n));
    expect(() => costUnits(noise, createFilter('basic', budget))).toThrow(
      expect.objectContaining({ code: 'invalid_request' }),
    );
  });

  test.each([0, 1, Number.NaN, -1, Infinity])('delta %s is refused', (delta) => {
    expect(() => createFilter('rdp_fixed_order', { ...budget, delta })).toThrow(
      expect.objectContaining({ code: 'config_invalid' }),
    );
  });

  test('a budget no order can serve admits nothing', () => {
    const tiny = createFilter('rdp_fixed_order', { epsilon: microEpsilon(1), delta: 1e-9 });
    expect(accepted(tiny, count)).toBe(0);
  });
});

describe('epsilon and mechanisms', () => {
  test('epsilon 0.1 at sensitivity 1 is scale 10, exactly', () => {
    expect(count.scale).toEqual(rational(10n));
    expect(laplaceForEpsilon({ epsilon: parseEpsilon('0.3'), sensitivity: 2n }, POLICY).scale).toEqual(
      rational(20n, 3n),
    );
  });

  test.each(['', '-1', '1e-1', '0.0000001', '0', '.5', '0.1 ', 'NaN', 'Infinity', '0x1', '1_0'])(
    'epsilon %j is refused',
    (text) => {
      expect(() => parseEpsilon(text)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
    },
  );

  test('more than the policy allows is refused with both figures', () => {
    const ask = { epsilon: parseEpsilon('1.000001'), sensitivity: 1n };
    expect(() => laplaceForEpsilon(ask, POLICY)).toThrow(
      expect.objectContaining({
        code: 'invalid_request',
        facts: { microEpsilon: 1_000_001, microEpsilonPerQueryMax: 1_000_000 },
      }),
    );
  });

  test.each([
    () => discreteLaplace(0n, rational(1n)),
    () => discreteLaplace(1n, rational(0n)),
    () => discreteGaussian(rational(1n), rational(-1n)),
    () => discreteGaussian(rational(0n), rational(1n)),
  ])('sensitivity and noise must be above 0 (%#)', (make) => {
    expect(make).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });

  test('text and back', () => {
    for (const mechanism of [count, discreteGaussian(rational(3n), rational(50n, 7n))]) {
      expect(mechanismOfText(mechanismToText(mechanism))).toEqual(mechanism);
    }
  });
});
