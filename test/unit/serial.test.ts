/** Actions in turn: never two of one key at once, in the order they came, and a failed one stops nobody. */
import { describe, expect, test } from 'vitest';
import { createLane, createSerial, createSerialByKey, eachOf, type Serial } from '../../shared/serial.ts';

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** @returns what happened, as `begin`/`end` of each action */
const traceOf = async (run: Serial): Promise<readonly string[]> => {
  const trace: string[] = [];
  const action = (name: string, ticks: number) => async (): Promise<string> => {
    trace.push(`begin ${name}`);
    for (let at = 0; at < ticks; at += 1) await tick();
    trace.push(`end ${name}`);
    if (name === 'b') throw new Error('b failed');
    return name;
  };
  const results = await Promise.allSettled([run(action('a', 3)), run(action('b', 1)), run(action('c', 0))]);
  expect(results).toMatchObject([
    { status: 'fulfilled', value: 'a' },
    { status: 'rejected', reason: { message: 'b failed' } },
    { status: 'fulfilled', value: 'c' },
  ]);
  return trace;
};
const IN_TURN = ['begin a', 'end a', 'begin b', 'end b', 'begin c', 'end c'];

describe('in turn', () => {
  test('one after another', async () => {
    expect(await traceOf(createSerial())).toEqual(IN_TURN);
  });

  test('of one key one after another, of two keys beside each other', async () => {
    const run = createSerialByKey<string>();
    expect(await traceOf((action) => run('one', action))).toEqual(IN_TURN);
    let release = (): void => undefined;
    const held = run('one', () => new Promise<void>((resolve) => (release = resolve)));
    expect(await run('two', () => Promise.resolve('free'))).toBe('free');
    release();
    await held;
  });

  test('the trace of what does not wait is another', async () => {
    expect(await traceOf((action) => action())).not.toEqual(IN_TURN);
  });
});

describe('a lane', () => {
  test('runs once for all who ask before it begins, and again for who asks while it runs', async () => {
    let [begun, ended] = [0, 0];
    const run = createLane(async () => {
      begun += 1;
      await tick();
      ended += 1;
      if (ended === 1) throw new Error('the first fails');
    });
    const first = run();
    expect(run()).toBe(first);
    await Promise.resolve();
    const second = run();
    expect([begun, run() === second]).toEqual([1, true]);
    await expect(first).rejects.toThrow('the first fails');
    await second;
    expect([begun, ended]).toEqual([2, 2]);
  });
});

describe('each of many', () => {
  test('in their order, no more at once than allowed, also after one failed', async () => {
    const [begun, running]: [number[], Set<number>] = [[], new Set()];
    let most = 0;
    const all = eachOf([0, 1, 2, 3, 4, 5], 2, async (item) => {
      begun.push(item);
      running.add(item);
      most = Math.max(most, running.size);
      for (let at = 0; at < 3 - (item % 3); at += 1) await tick();
      running.delete(item);
      if (item === 5) throw new Error('the last fails');
    });
    await expect(all).rejects.toThrow('the last fails');
    expect([begun, most, running.size]).toEqual([[0, 1, 2, 3, 4, 5], 2, 0]);
  });
});
