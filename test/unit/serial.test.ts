/** Actions in turn: never two of one key at once, in the order they came, and a failed one stops nobody. */
import { describe, expect, test } from 'vitest';
import { createSerial, createSerialByKey, type Serial } from '../../shared/serial.ts';

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
