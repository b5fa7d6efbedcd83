/** The state of all tasks, saved and read back: nothing in it can be changed, and nothing newer is lost. */
import { afterEach, describe, expect, test } from 'vitest';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { TaskStatePage } from '../../../shared/wire/task.ts';
import { sealPage } from '../../../coordinator/tasks/saved-state.ts';
import {
  type Bench,
  createHeldExecutor,
  openBench,
  operator,
  other,
  quantum,
  request,
  settled,
} from './fixture.ts';
import { pagesOf, refusesTampering } from './tampering.ts';

const stateKey = new Uint8Array(32).fill(7);
const benches: Bench[] = [];
afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.close();
});

const open = async (options: { readonly key?: Uint8Array; readonly parallelMax?: number } = {}) => {
  const held = createHeldExecutor('quantum');
  const train = createHeldExecutor('ask');
  const bench = await openBench({
    executors: [held.executor, train.executor],
    stateKey: options.key ?? stateKey,
    store: createMemoryStore(),
    parallelMax: options.parallelMax ?? 8,
  });
  benches.push(bench);
  return { ...bench, held, train };
};

/** A coordinator with tasks in several states. */
const filled = async () => {
  const bench = await open({ parallelMax: 3 });
  const [done] = (await bench.tasks.create(request(quantum()), operator)).tasks;
  await settled();
  bench.held.of(done!.id).end.resolve(bench.held.done);
  await settled();
  const [training, running, , waiting] = (
    await bench.tasks.create(
      request(
        other('ask', { ref: 'train' }),
        quantum({ ref: 'run' }),
        quantum(),
        quantum({ dependsOn: ['run'] }),
      ),
      operator,
    )
  ).tasks;
  await settled();
  return { ...bench, done: done!, training: training!, running: running!, waiting: waiting! };
};

describe('a saved state', () => {
  test('comes back whole in an empty coordinator: results, queue and dependencies', async () => {
    const from = await filled();
    const pages = await pagesOf(from.tasks);
    const to = await open();
    for (const page of pages) await to.tasks.importPage(page, false);
    await settled();
    expect(await to.tasks.result(from.done.id, operator)).toEqual({ form: 'json', text: '{"answer":42}' });
    expect(to.tasks.get(from.running.id, operator).state).toBe('running');
    expect(to.tasks.get(from.waiting.id, operator).state).toBe('waiting');
    // It may have ended since, and must not run twice.
    expect(to.tasks.get(from.training.id, operator).failure?.reason).toBe('outcome_unknown');
    expect(to.train.runs).toHaveLength(0);
    to.held.of(from.running.id).end.resolve(to.held.done);
    await settled();
    expect(to.tasks.get(from.waiting.id, operator).state).toBe('running');
  });

  test('in the coordinator it came from: what is newer here stays, and is named', async () => {
    const { tasks, held, running } = await filled();
    const pages = await pagesOf(tasks);
    held.of(running.id).end.resolve(held.done);
    await settled();
    const [answer] = await Promise.all(pages.map((page) => tasks.importPage(page, false)));
    expect(answer).toMatchObject({ added: 0, applied: true });
    expect(answer!.kept.map(({ id }) => id)).toContain(running.id);
    expect(tasks.get(running.id, operator).state).toBe('done');
  });

  test('of another history is refused', async () => {
    const from = await filled();
    const pages = await pagesOf(from.tasks);
    const { task, spec, result } = JSON.parse(pages[0]!.tasks[0]!) as {
      task: object;
      spec: unknown;
      result: unknown;
    };
    const text = JSON.stringify({ task: { ...task, version: 9, priority: 9 }, spec, result });
    const page = sealPage({ ...pages[0]!, tasks: [text] }, stateKey);
    await expect(from.tasks.importPage(page, false)).rejects.toMatchObject({ code: 'conflict' });
  });

  test('that was changed anywhere, cut, or is another coordinator’s, is refused', async () => {
    const from = await filled();
    const pages = await pagesOf(from.tasks);
    const to = await open();
    expect(await refusesTampering(pages[0]!, (page) => to.tasks.importPage(page, true))).toEqual([]);
    const stranger = await open({ key: new Uint8Array(32).fill(8) });
    await expect(stranger.tasks.importPage(pages[0]!, true)).rejects.toMatchObject({ code: 'bad_signature' });
  });

  test('a dependency that points forward, or nowhere, is refused: no page brings a circle', async () => {
    const from = await filled();
    const [page] = await pagesOf(from.tasks);
    const saved = page!.tasks.map(
      (text) => JSON.parse(text) as { task: { id: string; waitingFor: string[]; dependsOn: string[] } },
    );
    const at = saved.findIndex(({ task }) => task.id === from.waiting.id);
    const bend = (id: string): TaskStatePage => {
      const { task, ...rest } = saved[at]!;
      const text = JSON.stringify({ ...rest, task: { ...task, waitingFor: [id], dependsOn: [id] } });
      return sealPage({ ...page!, tasks: [text] }, stateKey);
    };
    const to = await open();
    await expect(to.tasks.importPage(bend(from.waiting.id), true)).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await expect(to.tasks.importPage(bend('f'.repeat(32)), true)).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await expect(to.tasks.importPage(bend(from.running.id), false)).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });

  test('a rehearsal changes nothing', async () => {
    const from = await filled();
    const to = await open();
    for (const page of await pagesOf(from.tasks))
      expect(await to.tasks.importPage(page, true)).toMatchObject({ added: 5, unknown: 1, applied: false });
    expect(to.tasks.list({ limit: 50 }, operator).tasks).toEqual([]);
  });

  test('has as many pages as it needs, each bound to the one before', async () => {
    const { tasks } = await open({ parallelMax: 1 });
    const many = Array.from({ length: 250 }, () => quantum());
    await tasks.create(request(...many), operator);
    const pages = await pagesOf(tasks);
    expect(pages.map(({ tasks: { length } }) => length)).toEqual([100, 100, 50]);
    expect(pages.map(({ previousTag }) => previousTag)).toEqual(['', pages[0]!.tag, pages[1]!.tag]);
    expect(pages.map(({ last }) => last)).toEqual([false, false, true]);
  });
});
