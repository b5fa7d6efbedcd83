/** The response cache against a reference that keeps everything and looks at all of it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createCache } from '../../../shared/cache/cache.ts';
import { HeldClock } from './fixture.ts';

const step = fc.oneof(
  fc.record({
    type: fc.constant('put' as const),
    key: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    size: fc.nat(30),
  }),
  fc.record({ type: fc.constant('get' as const), key: fc.constantFrom('a', 'b', 'c', 'd', 'e') }),
  fc.record({ type: fc.constant('wait' as const), ms: fc.nat(600) }),
);

describe('the response cache', () => {
  test('does what the reference does', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const clock = new HeldClock();
        const cache = createCache({ entriesMax: 3, bytesMax: 100, lifeMs: 1_000, clock });
        // Oldest use first.
        let model: { key: string; text: string; untilMs: number }[] = [];
        let [hits, lookups] = [0, 0];
        const bytes = () => model.reduce((sum, { key, text }) => sum + 2 * (key.length + text.length), 0);
        for (const one of steps) {
          if (one.type === 'wait') clock.timeMs += one.ms;
          else if (one.type === 'put') {
            const text = 'x'.repeat(one.size);
            cache.put(one.key, text);
            model = model.filter(({ key }) => key !== one.key);
            model.push({ key: one.key, text, untilMs: clock.timeMs + 1_000 });
            while (model.length > 3 || bytes() > 100) model.shift();
          } else {
            lookups += 1;
            const found = model.find(({ key }) => key === one.key);
            model = model.filter((entry) => entry !== found);
            const isFresh = found !== undefined && found.untilMs > clock.timeMs;
            if (isFresh) model.push(found);
            if (isFresh) hits += 1;
            expect(cache.get(one.key)).toBe(isFresh ? found.text : undefined);
          }
          expect([cache.entries, cache.bytes]).toEqual([model.length, bytes()]);
        }
        expect(cache.hitRatio()).toBe(lookups === 0 ? null : hits / lookups);
      }),
      { numRuns: 1_000 },
    );
  });

  test('holds what the defaults say: ten thousand entries for an hour', () => {
    const clock = new HeldClock();
    const cache = createCache({ entriesMax: 10_000, bytesMax: 1e9, lifeMs: 3_600_000, clock });
    for (let at = 0; at < 10_001; at += 1) cache.put(String(at), 'x');
    expect([cache.entries, cache.get('0'), cache.get('1')]).toEqual([10_000, undefined, 'x']);
    clock.timeMs += 3_600_000;
    expect(cache.get('1')).toBeUndefined();
  });
});
