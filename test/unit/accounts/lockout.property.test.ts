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
        const lockedMs: number[] = [];
        for (const gapMs of gaps) {
          clock.timeMs += gapMs;
          const isLocked = lockout.isAccountLocked('a');
          const locksNow = lockout.failed('a', `at ${clock.timeMs}`);
          if (isLocked) expect(locksNow).toBe(false);
          else accepted.push(clock.timeMs);
          if (locksNow) lockedMs.push(clock.timeMs);
          // What comes during a lock does not lengthen it.
          const sinceMs = lockedMs.at(-1);
          expect(lockout.isAccountLocked('a')).toBe(
            sinceMs !== undefined && clock.timeMs < sinceMs + RULES.lockedMs,
          );
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

  it('lets the owner in again after half an hour, however often somebody tries meanwhile', () => {
    const clock = new TestClock();
    const lockout = createLockout(clock, () => RULES);
    for (let at = 0; at < 5; at += 1) lockout.failed('a', `${at}`);
    for (let at = 0; at < 29; at += 1) {
      clock.timeMs += MINUTE_MS;
      expect(lockout.failed('a', `later ${at}`)).toBe(false);
      expect(lockout.isAccountLocked('a')).toBe(true);
    }
    clock.timeMs += MINUTE_MS;
    expect(lockout.isAccountLocked('a')).toBe(false);
  });

  it('counts an address until time forgets, whoever signs in from it', () => {
    const clock = new TestClock();
    const lockout = createLockout(clock, () => RULES);
    for (let at = 0; at < 10; at += 1) {
      lockout.failed(`n${at}`, 'x');
      lockout.succeeded('insider');
    }
    expect(lockout.addressWaitMs('x')).toBeGreaterThan(0);
    clock.timeMs += 31 * MINUTE_MS;
    lockout.failed('n', 'x');
    expect(lockout.addressWaitMs('x')).toBe(0);
  });

  it('forgets of an address no faster than its longest wait lets guesses through', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 90 * MINUTE_MS }), { maxLength: 200 }), (gaps) => {
        const clock = new TestClock();
        const lockout = createLockout(clock, () => RULES);
        const guesses: number[] = [];
        for (const [at, gapMs] of gaps.entries()) {
          clock.timeMs += Math.max(gapMs, lockout.addressWaitMs('x'));
          guesses.push(clock.timeMs);
          lockout.failed(`n${at}`, 'x');
        }
        for (const from of guesses) {
          const within = guesses.filter((time) => time >= from && time < from + 24 * 60 * MINUTE_MS);
          // The free ones, the short waits, and four an hour.
          expect(within.length).toBeLessThanOrEqual(10 + 11 + 24 * 4);
        }
      }),
    );
  });

  it('gives no free guesses anew to whoever makes a pause', () => {
    const clock = new TestClock();
    const lockout = createLockout(clock, () => RULES);
    let guesses = 0;
    while (clock.timeMs < new TestClock().timeMs + 24 * 60 * MINUTE_MS) {
      for (let at = 0; at < 10 && lockout.addressWaitMs('x') === 0; at += 1, guesses += 1)
        lockout.failed(`n${at}`, 'x');
      clock.timeMs += 61 * MINUTE_MS;
    }
    expect(guesses).toBeLessThanOrEqual(10 + 11 + 24 * 4);
  });

  it('does not add up what people mistype now and then behind one address', () => {
    const clock = new TestClock();
    const lockout = createLockout(clock, () => RULES);
    for (let at = 0; at < 100; at += 1) {
      clock.timeMs += 10 * MINUTE_MS;
      if (at % 2 === 0) lockout.failed(`n${at}`, 'x');
      expect(lockout.addressWaitMs('x')).toBe(0);
    }
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
