import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressDelayMs, createLockout, ENTRIES_MAX } from '../../../coordinator/access/lockout.ts';
import { MINUTE_MS } from '../../../shared/clock.ts';
import { TestClock } from '../http/fixture.ts';

const RULES = { failuresMax: 5, lockedMs: 30 * MINUTE_MS };

describe('the lockout', () => {
  it('never lets more than the allowed failures of one account through in any half hour', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20 * MINUTE_MS }), { maxLength: 60 }), (gaps) => {
        const clock = new TestClock();
        const lockout = createLockout(clock, () => RULES);
        const accepted: number[] = [];
        for (const gapMs of gaps) {
          clock.timeMs += gapMs;
          if (lockout.isAccountLocked('a')) continue;
          accepted.push(clock.timeMs);
          lockout.failed('a', `at ${clock.timeMs}`);
        }
        for (const from of accepted) {
          const within = accepted.filter((time) => time >= from && time < from + RULES.lockedMs);
          expect(within.length).toBeLessThan(2 * RULES.failuresMax);
        }
        // A run of failures without a pause of its own locks at the fifth.
        const quick = createLockout(clock, () => RULES);
        const locks = Array.from({ length: 5 }, () => quick.failed('b', 'x'));
        expect(locks).toEqual([false, false, false, false, true]);
      }),
      { numRuns: 200 },
    );
  });

  it('waits at an address grow and have a bound', () => {
    const delays = Array.from({ length: 60 }, (_, at) => addressDelayMs(at));
    expect(delays).toEqual(delays.toSorted((a, b) => a - b));
    expect(delays.at(-1)).toBe(15 * MINUTE_MS);
  });

  it('forgets the oldest names beyond its bound, and what it forgets is told', () => {
    const kept = new Map<string, unknown>();
    const clock = new TestClock();
    const lockout = createLockout(
      clock,
      () => RULES,
      (name, entry) => (entry === undefined ? kept.delete(name) : kept.set(name, entry)),
    );
    for (let at = 0; at < ENTRIES_MAX + 50; at += 1) lockout.failed(`n${at}`, 'x');
    expect(kept.size).toBe(ENTRIES_MAX);
    expect(kept.has('n0')).toBe(false);
  });
});
