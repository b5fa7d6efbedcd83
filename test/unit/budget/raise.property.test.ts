import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS, LedgerLimits } from '../../../agent/budget/limits.ts';
import { raisesOf, withoutRaises } from '../../../agent/budget/raise.ts';

const limit = fc.record({
  microEpsilon: fc.integer({ min: 1, max: 30 }).map((value) => value * 1_000_000),
  delta: fc.constantFrom('1e-5', '1e-6', '2e-5'),
});
const limits = fc
  .record({
    microEpsilonPerQueryMax: fc.integer({ min: 1, max: 10 }).map((value) => value * 100_000),
    userDay: limit,
    askingSiteDay: limit,
    siteLifetime: limit,
    departmentDay: fc.dictionary(fc.constantFrom('icu', 'general', 'research'), limit, { minKeys: 1 }),
    askingSites: fc.dictionary(fc.constantFrom('north', 'south'), limit),
    dataBlock: fc.option(limit, { nil: undefined }),
  })
  .map(({ dataBlock, ...rest }) =>
    LedgerLimits.parse({
      rule: 'rdp_fixed_order',
      ...rest,
      ...(dataBlock === undefined ? {} : { dataBlock }),
    }),
  );

describe('a raise of the budgets', () => {
  it('is seen wherever it is, and what is left without it raises nothing', () => {
    fc.assert(
      fc.property(limits, limits, (before, after) => {
        const kept = withoutRaises(before, after);
        expect(raisesOf(before, kept)).toEqual([]);
        if (raisesOf(before, after).length === 0) expect(kept).toEqual(after);
      }),
      { numRuns: 2_000 },
    );
  });

  it('lets through what is lowered, in the same change', () => {
    const after = LedgerLimits.parse({
      ...DEFAULT_LIMITS,
      userDay: { ...DEFAULT_LIMITS.userDay, microEpsilon: 5_000_000 },
      siteLifetime: { ...DEFAULT_LIMITS.siteLifetime, microEpsilon: 40_000_000 },
    });
    expect(raisesOf(DEFAULT_LIMITS, after).map(({ limit: name }) => name)).toEqual(['siteLifetime']);
    const kept = withoutRaises(DEFAULT_LIMITS, after);
    expect([kept.userDay.microEpsilon, kept.siteLifetime.microEpsilon]).toEqual([5_000_000, 20_000_000]);
  });

  it.each([
    [
      'a new department',
      { departmentDay: { ...DEFAULT_LIMITS.departmentDay, labor: DEFAULT_LIMITS.userDay } },
    ],
    ['a larger delta', { userDay: { ...DEFAULT_LIMITS.userDay, delta: '1e-4' } }],
    ['a higher cap for one site', { askingSites: { north: { microEpsilon: 21_000_000, delta: '1e-5' } } }],
    ['a higher epsilon of one query', { microEpsilonPerQueryMax: 1_000_001 }],
  ])('is %s', (_what, change) => {
    expect(raisesOf(DEFAULT_LIMITS, LedgerLimits.parse({ ...DEFAULT_LIMITS, ...change }))).toHaveLength(1);
  });
});
