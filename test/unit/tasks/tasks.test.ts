/** The runner on a store in memory: what starts when, what ends how, and what is on the disk. */
import { afterEach, describe, expect, test } from 'vitest';
import { QflError } from '../../../shared/errors.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import type { TaskShown } from '../../../shared/wire/task.ts';
import {
  type Bench,
  type BenchOptions,
  createHeldExecutor,
  HeldClock,
  openBench,
  operator,
  other,
  quantum,
  request,
  settled,
} from './fixture.ts';

const benches: Bench[] = [];
afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.close();
});

const open = async (options: Partial<BenchOptions> = {}) => {
  const held = createHeldExecutor('quantum');
  const bench = await openBench({ executors: [held.executor], ...options });
  benches.push(bench);
  const make = async (...tasks: Parameters<typeof request>): Promise<readonly TaskShown[]> =>
    (await bench.tasks.create(request(...tasks), operator)).tasks;
  const state = ({ id }: TaskShown): string => bench.tasks.get(id, operator).state;
  return { ...bench, held, make, state };
};

describe('tasks', () => {
  test('run, give a result, and say so', async () => {
    const { tasks, held, make, entries, metrics } = await open();
    const [task] = await make(quantum());
    expect(task).toMatchObject({ state: 'running', attempts: 1 });
    await settled();
    held.of(task!.id).end.resolve(held.done);
    await settled();
    expect(tasks.get(task!.id, operator)).toMatchObject({
      state: 'done',
      result: { form: 'json', cached: false },
    });
    expect(await tasks.result(task!.id, operator)).toEqual({ form: 'json', text: '{"answer":42}' });
    expect(entries.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
      'task.created ok',
      'task.started begun',
      'task.ended ok',
    ]);
    expect(await metrics.metrics()).toContain('quantum_tasks_total{kind="quantum",outcome="done"} 1');
  });

  test('figures that nobody measured yet are absent', async () => {
    const { metrics } = await open();
    const text = await metrics.metrics();
    for (const name of ['throughput_tasks_per_second', 'quantum_cache_hit_ratio', 'memory_utilization'])
      expect(text).toContain(`${name} Nan`);
  });

  test('no more at once than there are slots, the next in turn first, none passed by a smaller one', async () => {
    const { make, held, state } = await open({ parallelMax: 3 });
    const [first] = await make(quantum({ resources: { slots: 2 } }));
    const [urgentLarge] = await make(quantum({ priority: 9, resources: { slots: 2 } }));
    const [small] = await make(quantum({ priority: 0 }));
    await settled();
    expect([first, urgentLarge, small].map((task) => state(task!))).toEqual(['running', 'queued', 'queued']);
    held.of(first!.id).end.resolve(held.done);
    await settled();
    expect([first, urgentLarge, small].map((task) => state(task!))).toEqual(['done', 'running', 'running']);
  });

  test('wait for what they depend on, and fail with it, all the way down', async () => {
    const { make, held, state, tasks } = await open();
    const [a, b, c] = await make(
      quantum({ ref: 'a' }),
      quantum({ ref: 'b', dependsOn: ['a'] }),
      quantum({ dependsOn: ['b'] }),
    );
    expect([a, b, c].map((task) => state(task!))).toEqual(['running', 'waiting', 'waiting']);
    await settled();
    held.of(a!.id).end.resolve(held.done);
    await settled();
    expect([a, b, c].map((task) => state(task!))).toEqual(['done', 'running', 'waiting']);
    held.of(b!.id).end.reject(new QflError('invalid_request', { detail: 'no' }));
    await settled();
    expect(tasks.get(c!.id, operator)).toMatchObject({
      state: 'failed',
      failure: { reason: 'dependency_failed', dependency: b!.id },
    });
  });

  test('a failed attempt comes back after its back-off, three times and not more', async () => {
    const { make, held, tasks, pass } = await open();
    const [task] = await make(quantum());
    const failOnce = async () => {
      await settled();
      held.of(task!.id).end.reject(new QflError('cut', { detail: 'the worker ended' }));
      await settled();
    };
    await failOnce();
    const { notBeforeMs, state } = tasks.get(task!.id, operator);
    expect(state).toBe('queued');
    expect(notBeforeMs).toBeGreaterThan(0);
    await pass(400);
    expect(tasks.get(task!.id, operator).state).toBe('queued');
    await pass(1_000);
    await failOnce();
    await pass(2_000);
    await failOnce();
    expect(tasks.get(task!.id, operator)).toMatchObject({
      state: 'failed',
      attempts: 3,
      failure: { code: 'cut' },
    });
  });

  test('a cancelled task is on the disk as cancelled before its worker hears of it, and its slot is free when that ends', async () => {
    const held = createHeldExecutor('quantum', false);
    const { tasks, make, state } = await open({ executors: [held.executor], parallelMax: 1 });
    const [task, next] = await make(quantum(), quantum());
    await settled();
    const { work, end } = held.of(task!.id);
    expect(work.signal.aborted).toBe(false);
    expect(await tasks.cancel(task!.id, operator)).toMatchObject({ state: 'cancelled' });
    expect(work.signal.aborted).toBe(true);
    await settled();
    // The worker has not ended yet: nobody takes its place.
    expect(state(next!)).toBe('queued');
    end.resolve(held.done);
    await settled();
    expect([state(task!), state(next!)]).toEqual(['cancelled', 'running']);
    await expect(tasks.cancel(task!.id, operator)).rejects.toMatchObject({ code: 'conflict' });
    // It never listens: let it go before the bench closes.
    held.of(next!.id).end.resolve(held.done);
  });

  test('an attempt out of time is stopped and comes back; a deadline ends the task', async () => {
    const { tasks, make, held, pass, clock } = await open();
    const [slow] = await make(quantum({ timeoutMs: 5_000 }));
    const [late] = await make(quantum({ deadlineMs: clock.timeMs + 4_000 }));
    await settled();
    await pass(4_500);
    expect(tasks.get(late!.id, operator)).toMatchObject({
      state: 'expired',
      failure: { reason: 'deadline' },
    });
    expect(held.of(late!.id).work.signal.aborted).toBe(true);
    await pass(600);
    expect(tasks.get(slow!.id, operator)).toMatchObject({ state: 'queued', failure: { reason: 'timeout' } });
    await pass(2_000);
    expect(tasks.get(slow!.id, operator)).toMatchObject({ state: 'running', attempts: 2 });
  });

  test('the same idempotency key gives the same tasks, for another body a conflict, for another caller its own', async () => {
    const { tasks } = await open();
    const first = await tasks.create(request(quantum()), operator, 'key');
    const second = await tasks.create(request(quantum()), operator, 'key');
    expect([second.repeated, second.tasks[0]!.id]).toEqual([true, first.tasks[0]!.id]);
    await expect(tasks.create(request(quantum({ priority: 9 })), operator, 'key')).rejects.toMatchObject({
      code: 'conflict',
    });
    const theirs = await tasks.create(request(quantum()), { role: 'researcher', owner: 'someone' }, 'key');
    expect(theirs.repeated).toBe(false);
    expect(theirs.tasks[0]!.id).not.toBe(first.tasks[0]!.id);
  });

  test('ten thousand at once: the queue takes what it holds, and refuses the rest with what to do', async () => {
    const { tasks, make } = await open({ parallelMax: 1 });
    for (let batch = 0; batch < 100; batch += 1) await make(...Array.from({ length: 100 }, () => quantum()));
    expect(tasks.readings()).toMatchObject({ running: 1, queued: 9_999 });
    await expect(make(quantum())).rejects.toMatchObject({
      code: 'overloaded',
      next: expect.stringContaining('again when some have ended'),
      facts: { tasks: 10_000, tasksMax: 10_000 },
    });
    // Some of a request is as good as none of it: nothing was taken.
    expect(tasks.readings().queued).toBe(9_999);
  });

  test.each([
    [
      'an unknown dependency',
      quantum({ dependsOn: ['0'.repeat(32)] }),
      'invalid_request',
      'there is no task',
    ],
    ['an unknown ref', quantum({ dependsOn: ['nobody'] }), 'invalid_request', 'called nobody'],
    ['itself', quantum({ ref: 'me', dependsOn: ['me'] }), 'invalid_request', 'me → me'],
    ['a deadline in the past', quantum({ deadlineMs: 1 }), 'invalid_request', 'deadline'],
    [
      'more slots than there are',
      quantum({ resources: { slots: 64 } }),
      'invalid_request',
      'max_parallel_tasks',
    ],
    ['a kind that only sites run', other('stats'), 'invalid_request', 'does not run'],
  ])('refuses %s', async (_what, one, code, text) => {
    const { make, tasks } = await open();
    await expect(make(one)).rejects.toMatchObject({
      code,
      detail: expect.stringContaining(text),
      next: expect.any(String),
    });
    expect(tasks.readings().queued).toBe(0);
  });

  test('are seen by who made them and by administrators, newest first, page by page', async () => {
    const { tasks } = await open();
    const [mine, theirs] = [
      { role: 'researcher', owner: 'me' },
      { role: 'researcher', owner: 'them' },
    ];
    const { tasks: own } = await tasks.create(request(quantum(), quantum(), quantum()), mine);
    await tasks.create(request(quantum()), theirs);
    const query = { limit: 2 } as const;
    const first = tasks.list(query, mine);
    expect(first.tasks.map(({ id }) => id)).toEqual([own[2]!.id, own[1]!.id]);
    const rest = tasks.list({ ...query, after: first.next! }, mine);
    expect([rest.tasks.map(({ id }) => id), rest.next]).toEqual([[own[0]!.id], null]);
    expect(tasks.list({ limit: 50 }, operator).tasks).toHaveLength(4);
    expect(tasks.list({ limit: 50, kind: 'export' }, operator).tasks).toHaveLength(0);
    expect(tasks.list({ limit: 50, state: 'running', sinceMs: 1 }, operator).tasks).toHaveLength(4);
    expect(() => tasks.get(own[0]!.id, theirs)).toThrowError(expect.objectContaining({ code: 'not_found' }));
    await expect(tasks.cancel(own[0]!.id, theirs)).rejects.toMatchObject({ code: 'not_found' });
  });

  test('that ended long ago are forgotten, with their results and keys', async () => {
    const store = createMemoryStore();
    const { tasks, held, make } = await open({ store, limits: { keptMax: 2 } });
    const {
      tasks: [first],
    } = await tasks.create(request(quantum()), operator, 'key');
    const rest = [...(await make(quantum())), ...(await make(quantum()))];
    await settled();
    for (const task of [first!, ...rest]) {
      held.of(task.id).end.resolve(held.done);
      await settled();
    }
    expect(() => tasks.get(first!.id, operator)).toThrowError(expect.objectContaining({ code: 'not_found' }));
    const keys: string[] = [];
    for await (const key of store.keys({ prefix: 'task/' })) keys.push(key);
    expect(keys).toHaveLength(4);
    expect((await tasks.create(request(quantum()), operator, 'key')).repeated).toBe(false);
  });
});

describe('a restart', () => {
  test('runs again what may, ends what must not, and keeps the queue', async () => {
    const [store, clock] = [createMemoryStore(), new HeldClock()];
    const train = createHeldExecutor('ask');
    const held = createHeldExecutor('quantum');
    const executors = [held.executor, train.executor];
    const before = await open({ store, clock, executors, parallelMax: 2 });
    const [computing] = await before.make(quantum());
    const [training] = await before.make(other('ask'));
    const [queued] = await before.make(quantum());
    const [after] = await before.make(quantum({ dependsOn: [training!.id] }));
    await settled();
    expect([held.runs.length, train.runs.length]).toEqual([1, 1]);
    // Another life on the same disk; the first one is not asked.
    const life = await open({ store, clock, executors, parallelMax: 2 });
    await settled();
    expect([computing, training, queued, after].map((task) => life.state(task!))).toEqual([
      'running',
      'failed',
      'running',
      'failed',
    ]);
    expect(life.tasks.get(training!.id, operator).failure?.reason).toBe('outcome_unknown');
    expect(train.runs).toHaveLength(1);
    expect(life.tasks.get(computing!.id, operator)).toMatchObject({ attempts: 2 });
  });

  test('a clean stop leaves what was under way to the next start, and counts as no failure', async () => {
    const store = createMemoryStore();
    const held = createHeldExecutor('quantum');
    const bench = await openBench({ store, executors: [held.executor] });
    const { tasks } = await bench.tasks.create(request(quantum()), operator);
    await settled();
    await bench.close();
    const life = await open({ store, executors: [held.executor] });
    expect(life.tasks.get(tasks[0]!.id, operator)).toMatchObject({
      state: 'running',
      attempts: 2,
      failure: null,
    });
  });
});

describe('a disk that refuses', () => {
  const refusing = () => {
    const inner = createMemoryStore();
    let writesLeft = Infinity;
    const sizes: number[] = [];
    const store: Store = {
      ...inner,
      write(ops, options) {
        if (writesLeft <= 0) return Promise.reject(new QflError('storage_failed'));
        writesLeft -= 1;
        sizes.push(ops.length);
        return inner.write(ops, options);
      },
    };
    const breakAfter = (writes: number): void => void (writesLeft = writes);
    return { store, sizes, breakAfter, break: (now: boolean) => breakAfter(now ? 0 : Infinity) };
  };

  test('takes no task that it cannot keep', async () => {
    const disk = refusing();
    const { make, tasks, held } = await open({ store: disk.store });
    disk.break(true);
    await expect(make(quantum())).rejects.toMatchObject({ code: 'storage_failed' });
    expect([tasks.readings().queued, held.runs.length]).toEqual([0, 0]);
  });

  test('hundreds that wait for one task end with it, in writes of a bounded size, also when the disk refuses some', async () => {
    const disk = refusing();
    const { make, tasks, pass } = await open({ store: disk.store });
    const [first] = await make(quantum());
    for (let batch = 0; batch < 5; batch += 1)
      await make(...Array.from({ length: 100 }, () => quantum({ dependsOn: [first!.id] })));
    const waiting = () => tasks.list({ limit: 1_000, state: 'waiting' }, operator).tasks.length;
    expect(waiting()).toBe(500);
    disk.sizes.length = 0;
    disk.breakAfter(2);
    await tasks.cancel(first!.id, operator);
    expect(Math.max(...disk.sizes)).toBeLessThanOrEqual(200);
    expect(waiting()).toBe(500 - 199);
    disk.break(false);
    await pass(1_000);
    expect(waiting()).toBe(0);
  });

  test('starts nothing that is not written as started, and starts it when the disk is back', async () => {
    const disk = refusing();
    const { make, held, pass, state } = await open({ store: disk.store, parallelMax: 1 });
    const [first, second] = await make(quantum(), quantum());
    await settled();
    held.of(first!.id).end.resolve(held.done);
    await settled();
    expect(state(second!)).toBe('running');
    const [third] = await make(quantum());
    await settled();
    disk.break(true);
    held.of(second!.id).end.resolve(held.done);
    await settled();
    // Its outcome is not written: it is not done, whatever the executor says.
    expect([state(second!), state(third!)]).toEqual(['running', 'queued']);
    disk.break(false);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await pass(2_000);
    expect([state(second!), state(third!)]).toEqual(['done', 'running']);
  });
});
