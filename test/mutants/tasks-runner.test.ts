/** Faults put into the runner's parts from outside; each is caught by the check that holds without it. */
import { afterEach, describe, expect, test } from 'vitest';
import type { TaskExecutor } from '../../coordinator/tasks/executor.ts';
import { AGEING_MS } from '../../coordinator/tasks/order.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { fromUtf8 } from '../../shared/bytes.ts';
import {
  createHeldExecutor,
  openBench,
  operator,
  other,
  quantum,
  request,
  settled,
} from '../unit/tasks/fixture.ts';
import { passedBy } from '../unit/tasks/starvation.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** Starts a task that must not run twice, then comes up again on the same disk. @returns how often it ran */
const runsOverRestart = async (store: Store): Promise<number> => {
  const train = createHeldExecutor('ask');
  const first = await openBench({ store, executors: [train.executor] });
  closing.push(() => first.close());
  await first.tasks.create(request(other('ask')), operator);
  await settled();
  const second = await openBench({ store, executors: [train.executor] });
  closing.push(() => second.close());
  await settled();
  return train.runs.length;
};

/** A disk that says it wrote, and left out what `isLost` says. */
const losing = (isLost: (operation: StoreOperation) => boolean): Store => {
  const inner = createMemoryStore();
  return { ...inner, write: (ops) => inner.write(ops.filter((operation) => !isLost(operation))) };
};
const saysRunning = (operation: StoreOperation): boolean =>
  operation.type === 'put' &&
  operation.key.startsWith('task/t/') &&
  fromUtf8(operation.value).includes('"state":"running"');

describe('a task that must not run twice', () => {
  test('does not', async () => {
    expect(await runsOverRestart(createMemoryStore())).toBe(1);
  });
  test('caught: its start is not on the disk before it starts', async () => {
    expect(await runsOverRestart(losing(saysRunning))).toBe(2);
  });
});

/** Cancels a running task. @returns whether its worker heard */
const workerHears = async (wrap: (executor: TaskExecutor) => TaskExecutor): Promise<boolean> => {
  let isStopped = false;
  const executor: TaskExecutor = {
    kind: 'quantum',
    prepare: (spec) => spec,
    run: ({ signal }) =>
      new Promise((resolve) => {
        const end = (): void => resolve({ form: 'json', value: null, cached: false });
        signal.addEventListener('abort', () => {
          isStopped = true;
          end();
        });
        setTimeout(end, 500).unref();
      }),
  };
  const bench = await openBench({ executors: [wrap(executor)] });
  closing.push(() => bench.close());
  const { tasks } = await bench.tasks.create(request(quantum()), operator);
  await settled();
  await bench.tasks.cancel(tasks[0]!.id, operator);
  return isStopped;
};

describe('a cancelled task', () => {
  test('reaches its worker', async () => {
    expect(await workerHears((executor) => executor)).toBe(true);
  });
  test('caught: the signal is not passed on', async () => {
    const deaf = (executor: TaskExecutor): TaskExecutor => ({
      ...executor,
      run: (work) => executor.run({ ...work, signal: new AbortController().signal }),
    });
    expect(await workerHears(deaf)).toBe(false);
  });
});

/** One place and a stream of urgent tasks: is a task of the lowest priority ever served? */
const isServed = async (ageingMs: number): Promise<boolean> => {
  const held = createHeldExecutor('quantum');
  const bench = await openBench({ executors: [held.executor], parallelMax: 1, ageingMs });
  closing.push(() => bench.close());
  await bench.tasks.create(request(quantum({ priority: 9 })), operator);
  const { tasks } = await bench.tasks.create(request(quantum({ priority: 0 })), operator);
  const rounds = Math.ceil((9 * AGEING_MS) / 10_000) + 2;
  for (let round = 0; round < rounds; round += 1) {
    await bench.pass(10_000);
    await bench.tasks.create(request(quantum({ priority: 9 })), operator);
    held.runs.at(-1)!.end.resolve(held.done);
    await settled();
  }
  return bench.tasks.get(tasks[0]!.id, operator).state !== 'queued';
};

describe('a task of the lowest priority', () => {
  test('is served, whatever else comes', async () => {
    expect(await isServed(AGEING_MS)).toBe(true);
    expect(passedBy(0, 10_000, 10_000, AGEING_MS)).toBeLessThan(30);
  });
  test('caught: nothing ages', async () => {
    const never = 1e12;
    expect(await isServed(never)).toBe(false);
    expect(passedBy(0, 10_000, 10_000, never)).toBe(10_000);
  });
});

/** Fails a dependency, and comes up again from what the disk has. @returns the dependant's state */
const dependantAfter = async (store: Store): Promise<string> => {
  const held = createHeldExecutor('quantum');
  const first = await openBench({ store, executors: [held.executor] });
  closing.push(() => first.close());
  const { tasks } = await first.tasks.create(
    request(quantum({ ref: 'a' }), quantum({ dependsOn: ['a'] })),
    operator,
  );
  await settled();
  await first.tasks.cancel(tasks[0]!.id, operator);
  const keys: string[] = [];
  for await (const { key, value } of store.list({ prefix: `task/t/${tasks[1]!.id}` }))
    keys.push(`${key.slice(0, 7)}${/"state":"(\w+)"/.exec(fromUtf8(value))?.[1] ?? ''}`);
  return keys.join();
};

describe('what ends with its dependency', () => {
  test('is in the same write', async () => {
    expect(await dependantAfter(createMemoryStore())).toBe('task/t/failed');
  });
  test('caught: a write of which only the first part arrives', async () => {
    const inner = createMemoryStore();
    let writes = 0;
    // Not atomic from the second write on: the first record is there, the rest is not.
    const torn: Store = { ...inner, write: (ops) => inner.write((writes += 1) < 3 ? ops : ops.slice(0, 1)) };
    expect(await dependantAfter(torn)).toBe('task/t/waiting');
  });
});
