/** Dependencies inside one request. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { creationOrder } from '../../../coordinator/tasks/graph.ts';
import { quantum } from './fixture.ts';

const named = (needs: readonly (readonly number[])[]) =>
  needs.map((all, at) => quantum({ ref: `t${at}`, dependsOn: all.map((one) => `t${one}`) }));

/** Whether some path comes back to where it began: every start, every way. */
const hasCycle = (needs: readonly (readonly number[])[]): boolean => {
  const reaches = (from: number, goal: number, seen: Set<number>): boolean =>
    (needs[from] ?? []).some((one) => one === goal || (!seen.has(one) && reaches(one, goal, seen.add(one))));
  return needs.some((_, at) => reaches(at, at, new Set()));
};

describe('dependencies', () => {
  test('a cycle is refused by name', () => {
    expect(() => creationOrder(named([[1], [2], [0]]))).toThrowError(
      expect.objectContaining({
        code: 'invalid_request',
        detail: expect.stringContaining('t0 → t1 → t2 → t0'),
      }),
    );
  });

  test('a long cycle is named in short', () => {
    const needs = Array.from({ length: 500 }, (_, at) => [(at + 1) % 500]);
    expect(() => creationOrder(named(needs))).toThrowError(
      expect.objectContaining({ detail: expect.stringMatching(/→ … → t0$/) }),
    );
  });

  test('two tasks of one name are refused', () => {
    expect(() => creationOrder([quantum({ ref: 'a' }), quantum({ ref: 'a' })])).toThrowError(/called a/);
  });

  test('any graph: an order with dependencies first, or a cycle that is one', () => {
    const graph = fc
      .integer({ min: 1, max: 9 })
      .chain((count) =>
        fc.array(fc.uniqueArray(fc.nat(count - 1), { maxLength: 3 }), { minLength: count, maxLength: count }),
      );
    fc.assert(
      fc.property(graph, (needs) => {
        let order: readonly number[];
        try {
          ({ order } = creationOrder(named(needs)));
        } catch {
          expect(hasCycle(needs)).toBe(true);
          return;
        }
        expect(hasCycle(needs)).toBe(false);
        expect(order.toSorted((a, b) => a - b)).toEqual([...needs.keys()]);
        for (const [at, all] of needs.entries())
          for (const one of all) expect(order.indexOf(one)).toBeLessThan(order.indexOf(at));
      }),
      { numRuns: 500 },
    );
  });
});
