/** Ageing: the order that never changes while tasks wait, and nobody starves. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createHeap, createSweptHeap } from '../../../coordinator/tasks/heap.ts';
import { AGEING_MS, compareTurns } from '../../../coordinator/tasks/order.ts';
import { idAt, passedBy } from './starvation.ts';
import { taskOf } from './task-of.ts';

const priority = fc.integer({ min: 0, max: 9 });

describe('the order of the queue', () => {
  test('is that of priority plus waiting time, at any moment', () => {
    fc.assert(
      fc.property(
        priority,
        priority,
        fc.nat(600_000),
        fc.nat(600_000),
        fc.nat(10_000_000),
        (p, q, a, b, later) => {
          const [left, right] = [
            taskOf({ priority: p, queuedMs: a, id: idAt(1) }),
            taskOf({ priority: q, queuedMs: b, id: idAt(2) }),
          ];
          const now = Math.max(a, b) + later;
          const rank = (own: number, queuedMs: number) => own * AGEING_MS + (now - queuedMs);
          const difference = rank(p, a) - rank(q, b);
          fc.pre(difference !== 0);
          expect(Math.sign(compareTurns()(left, right))).toBe(-Math.sign(difference));
        },
      ),
    );
  });

  test('no task is passed by more than what comes within its ageing, however urgent that is', () => {
    fc.assert(
      fc.property(priority, fc.integer({ min: 1, max: 50 }), (own, everySeconds) => {
        const everyMs = everySeconds * 1_000;
        // One urgent task comes for every one that is served: without ageing it would wait for ever.
        expect(passedBy(own, everyMs, 5_000, AGEING_MS)).toBeLessThanOrEqual(
          ((9 - own) * AGEING_MS) / everyMs + 1,
        );
      }),
      { numRuns: 60 },
    );
  });

  test('a heap that drops what is stale gives the rest in order, and its size follows what is alive', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 50, maxLength: 200 }), (values) => {
        const heap = createSweptHeap<number>(
          (left, right) => left - right,
          (value) => value % 3 !== 0,
          10,
        );
        for (const value of values) heap.push(value);
        const alive = values.filter((value) => value % 3 === 0);
        expect(heap.size).toBeLessThanOrEqual(Math.max(10, 2 * alive.length) + 1);
        const popped: number[] = [];
        for (let value = heap.pop(); value !== undefined; value = heap.pop())
          if (value % 3 === 0) popped.push(value);
        expect(popped).toEqual(alive.toSorted((left, right) => left - right));
      }),
    );
  });

  test('a heap gives its values in order', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), (values) => {
        const heap = createHeap<number>((left, right) => left - right);
        for (const value of values) heap.push(value);
        expect(values.map(() => heap.pop())).toEqual(values.toSorted((left, right) => left - right));
        expect(heap.pop()).toBeUndefined();
      }),
    );
  });
});
