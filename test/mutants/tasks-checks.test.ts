/** Faults in the checks of tasks: circles, changed states, answers of the cache, workers that never go. */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { creationOrder } from '../../coordinator/tasks/graph.ts';
import { mergeOne, openPage } from '../../coordinator/tasks/saved-state.ts';
import { nextSize, type SizingBounds, type SizingState } from '../../coordinator/workers/sizing.ts';
import { type HealthVerdict, nextVerdict } from '../../shared/health/score.ts';
import type { TaskStatePage } from '../../shared/wire/task.ts';
import { createHeldExecutor, openBench, operator, quantum, request } from '../unit/tasks/fixture.ts';
import { pagesOf, refusesTampering } from '../unit/tasks/tampering.ts';
import { taskOf } from '../unit/tasks/task-of.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** Is every order that `orderOf` gives one with dependencies first? */
const keepsOrder = (
  orderOf: (needs: readonly (readonly number[])[]) => readonly number[] | undefined,
): boolean => {
  const graph = fc
    .integer({ min: 1, max: 6 })
    .chain((count) =>
      fc.array(fc.uniqueArray(fc.nat(count - 1), { maxLength: 2 }), { minLength: count, maxLength: count }),
    );
  const { failed } = fc.check(
    fc.property(graph, (needs) => {
      const order = orderOf(needs);
      return (
        order === undefined ||
        needs.every((all, at) => all.every((one) => order.indexOf(one) < order.indexOf(at)))
      );
    }),
    { seed: 1, numRuns: 300 },
  );
  return !failed;
};

describe('dependencies', () => {
  test('never run in a circle', () => {
    const real = (needs: readonly (readonly number[])[]) => {
      try {
        return creationOrder(
          needs.map((all, at) => quantum({ ref: `t${at}`, dependsOn: all.map((one) => `t${one}`) })),
        ).order;
      } catch {
        return undefined;
      }
    };
    expect(keepsOrder(real)).toBe(true);
  });
  test('caught: circles are taken', () => {
    expect(keepsOrder((needs) => [...needs.keys()])).toBe(false);
  });
  test('caught: only a task that waits for itself is refused', () => {
    const shallow = (needs: readonly (readonly number[])[]) =>
      needs.some((all, at) => all.includes(at)) ? undefined : [...needs.keys()];
    expect(keepsOrder(shallow)).toBe(false);
  });
});

describe('a saved state', () => {
  const key = new Uint8Array(32).fill(7);
  const saved = async (): Promise<TaskStatePage> => {
    const bench = await openBench({
      executors: [createHeldExecutor('quantum', true).executor],
      parallelMax: 1,
      stateKey: key,
    });
    closing.push(() => bench.close());
    await bench.tasks.create(request(quantum(), quantum()), operator);
    return (await pagesOf(bench.tasks))[0]!;
  };
  test('is refused after any change', async () => {
    const read = async (page: TaskStatePage) => openPage(page, 'test', key);
    expect(await refusesTampering(await saved(), read)).toEqual([]);
  });
  test('caught: the tag is not looked at, or only over the tasks', async () => {
    const page = await saved();
    expect((await refusesTampering(page, async () => undefined)).length).toBe(11);
    const onlyTasks = async (given: TaskStatePage) => openPage({ ...page, tasks: given.tasks }, 'test', key);
    expect(await refusesTampering(page, onlyTasks)).toContain('whether it is the last');
  });

  const keepsNewer = (merge: typeof mergeOne): boolean =>
    merge(taskOf({ version: 5, state: 'done' }), taskOf({ version: 3 }), 0).what === 'kept';
  test('never replaces what is newer', () => {
    expect(keepsNewer(mergeOne)).toBe(true);
  });
  test('caught: what is given wins', () => {
    expect(keepsNewer((_here, task) => ({ what: 'add', task, isUnknown: false }))).toBe(false);
  });
});

/** Changes of size over a load that swings around both thresholds. */
const changesOf = (next: typeof nextSize): number => {
  const bounds: SizingBounds = { sizeMin: 2, sizeMax: 16, upAt: 0.8, downAt: 0.3, calmMs: 10_000 };
  let state: SizingState = { size: 10, calmSinceMs: null };
  let changes = 0;
  for (let at = 0; at < 100; at += 1) {
    const after = next(state, at % 2 === 0 ? 2 : 8, at * 2_000, bounds);
    if (after.size !== state.size) changes += 1;
    state = after;
  }
  return changes;
};

describe('the worker pool', () => {
  test('keeps its size under a load that swings', () => {
    expect(changesOf(nextSize)).toBe(0);
  });
  test('caught: without a calm time', () => {
    expect(
      changesOf((state, jobs, nowMs, bounds) => nextSize(state, jobs, nowMs, { ...bounds, calmMs: 0 })),
    ).toBeGreaterThan(10);
  });
});

/** Verdicts over a score that swings around a bound. */
const swingsOf = (next: (before: HealthVerdict, score: number) => HealthVerdict): number => {
  let [verdict, swings]: [HealthVerdict, number] = ['healthy', 0];
  for (let at = 0; at < 50; at += 1) {
    const after = next(verdict, at % 2 === 0 ? 0.68 : 0.72);
    if (after !== verdict) swings += 1;
    verdict = after;
  }
  return swings;
};

describe('the health verdict', () => {
  test('changes once', () => {
    expect(swingsOf((before, score) => nextVerdict(before, score))).toBe(1);
  });
  test('caught: without hysteresis', () => {
    const flat = { degradedBelow: 0.7, healthyAt: 0.7, unhealthyBelow: 0.4, recoveredAt: 0.4 };
    expect(swingsOf((before, score) => nextVerdict(before, score, flat))).toBe(50);
  });
});
