import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { microEpsilon } from '../../../shared/privacy/epsilon.ts';
import { createFilter } from '../../../shared/privacy/filter.ts';
import { boundOverDays } from '../../../shared/privacy/horizon.ts';

const budget = (epsilon: number) => ({ epsilon: microEpsilon(Math.round(epsilon * 1_000_000)), delta: 1e-5 });

describe('a daily budget of 10 (delta 1e-5) after many days', () => {
  const filter = createFilter('rdp_fixed_order', budget(10));

  // privacy.md §3: 30 days 101, a year 821; 3,650 by addition.
  test.each([
    [30, 101],
    [365, 821],
  ])('%i days of Gaussian charges come to %i', (days, expected) => {
    expect(Math.round(boundOverDays(filter, days, 1e-5).epsilonGaussian ?? 0)).toBe(expected);
  });

  test('one day of it is the budget itself', () => {
    const { epsilonAnyMechanism, epsilonGaussian } = boundOverDays(filter, 1, 1e-5);
    expect(epsilonAnyMechanism).toBeGreaterThan(9.99);
    expect(epsilonAnyMechanism).toBeLessThanOrEqual(10 + 1e-9);
    expect(epsilonGaussian).toBeLessThanOrEqual(10 + 1e-9);
  });

  test('under basic composition days add up', () => {
    const basic = createFilter('basic', budget(10));
    expect(boundOverDays(basic, 365, 1e-5)).toEqual({
      days: 365,
      epsilonAnyMechanism: 3_650,
      epsilonGaussian: null,
    });
  });
});

test('more days never come to less, and no bound is below the Gaussian one', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('rdp_fixed_order', 'zcdp', 'basic'),
      fc.integer({ min: 1, max: 400 }),
      fc.integer({ min: 1, max: 3_000 }),
      (rule, epsilonTenths, days) => {
        const filter = createFilter(rule, budget(epsilonTenths / 10));
        const one = boundOverDays(filter, days, 1e-5);
        const more = boundOverDays(filter, days + 1, 1e-5);
        expect(more.epsilonAnyMechanism).toBeGreaterThan(one.epsilonAnyMechanism);
        expect(one.epsilonAnyMechanism).toBeGreaterThanOrEqual((one.epsilonGaussian ?? 0) - 1e-9);
      },
    ),
    { numRuns: 100 },
  );
});
