/** The number of workers: within its bounds, enough for the load, and steady between the thresholds. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nextSize, type SizingState } from '../../../coordinator/workers/sizing.ts';

const bounds = { sizeMin: 2, sizeMax: 16, upAt: 0.8, downAt: 0.3, calmMs: 10_000 };

describe('the size of the pool', () => {
  test('goes up at once to what the load needs, and stays there while the load is between the thresholds', () => {
    const up = nextSize({ size: 2, calmSinceMs: null }, 8, 0, bounds);
    expect(up.size).toBe(10);
    for (const jobs of [4, 5, 6, 7, 8]) expect(nextSize(up, jobs, 60_000, bounds).size).toBe(10);
    expect(nextSize(up, 100, 0, bounds).size).toBe(16);
  });

  test('goes down one by one, only after a calm time, and the calm begins anew when work comes', () => {
    let state: SizingState = { size: 4, calmSinceMs: null };
    state = nextSize(state, 1, 0, bounds);
    state = nextSize(state, 1, 9_999, bounds);
    expect(state.size).toBe(4);
    expect(nextSize(nextSize(state, 3, 9_999, bounds), 1, 10_000, bounds)).toEqual({
      size: 4,
      calmSinceMs: 10_000,
    });
    state = nextSize(state, 1, 10_000, bounds);
    expect(state.size).toBe(3);
    expect(nextSize(state, 0, 19_999, bounds).size).toBe(3);
    expect(nextSize(state, 0, 20_000, bounds).size).toBe(2);
  });

  test('any load over any time: within the bounds, never too few after a step, never fewer without calm', () => {
    const step = fc.tuple(fc.nat(40), fc.nat(15_000));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let state: SizingState = { size: bounds.sizeMin, calmSinceMs: null };
        let [nowMs, busyMs] = [0, 0];
        for (const [jobs, laterMs] of steps) {
          nowMs += laterMs;
          if (jobs > bounds.downAt * state.size) busyMs = nowMs;
          const next = nextSize(state, jobs, nowMs, bounds);
          expect(next.size).toBeGreaterThanOrEqual(Math.min(bounds.sizeMax, Math.max(2, Math.ceil(jobs))));
          expect(next.size).toBeLessThanOrEqual(bounds.sizeMax);
          if (next.size < state.size) {
            expect(next.size).toBe(state.size - 1);
            expect(nowMs - busyMs).toBeGreaterThanOrEqual(bounds.calmMs);
          }
          state = next;
        }
      }),
      { numRuns: 500 },
    );
  });

  test('a load that swings around one threshold does not move it', () => {
    let state: SizingState = { size: 10, calmSinceMs: null };
    for (let at = 0; at < 100; at += 1) {
      state = nextSize(state, at % 2 === 0 ? 2 : 4, at * 9_000, bounds);
      expect(state.size).toBe(10);
    }
  });
});
