/** Relayed work among the tasks: seen, counted, never written, and without a word of content. */
import { afterEach, describe, expect, test } from 'vitest';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { QueryId, SiteId } from '../../../shared/ids.ts';
import { type Bench, createHeldExecutor, openBench, operator } from './fixture.ts';

const benches: Bench[] = [];
afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.close();
});
const [north, south] = [SiteId.parse('north'), SiteId.parse('south')];
const work = {
  kind: 'chat' as const,
  query: QueryId.parse('ab'.repeat(16)),
  sender: north,
  priority: 5,
  timeoutMs: 300_000,
};

const open = async (relayedKeptMax = 3) => {
  const store = createMemoryStore();
  const bench = await openBench({
    store,
    executors: [createHeldExecutor('quantum').executor],
    limits: { relayedKeptMax },
  });
  benches.push(bench);
  return { ...bench, store };
};

describe('a relayed chat', () => {
  test('is a task from its first byte to its end: id, state, times, site, and the query as in the audit log', async () => {
    const { tasks, clock, metrics } = await open();
    const relayed = tasks.ledger.begin(work);
    expect(tasks.readings().running).toBe(1);
    relayed.placed(south);
    clock.timeMs += 1_500;
    relayed.end();
    relayed.end('timeout');
    const shown = tasks.get(relayed.id, operator);
    expect(shown).toMatchObject({
      kind: 'chat',
      state: 'done',
      site: 'south',
      reference: work.query,
      delivery: 'at_most_once',
      result: null,
      failure: null,
    });
    expect(shown.endedMs! - shown.startedMs!).toBe(1_500);
    expect(tasks.readings().running).toBe(0);
    expect(await metrics.metrics()).toContain('quantum_tasks_total{kind="chat",outcome="done"} 1');
    expect(tasks.list({ limit: 10, kind: 'chat', site: 'south' }, operator).tasks).toHaveLength(1);
  });

  test('that failed says its code, not what a site wrote beside it; one that the asker left is cancelled', async () => {
    const { tasks } = await open();
    const [failed, left] = [tasks.ledger.begin(work), tasks.ledger.begin(work)];
    failed.end('backend_failed');
    left.end('cancelled');
    expect(tasks.get(failed.id, operator)).toMatchObject({
      state: 'failed',
      failure: { code: 'backend_failed', detail: 'the query did not succeed' },
    });
    expect(tasks.get(left.id, operator).state).toBe('cancelled');
  });

  test('is never on the disk, nor in a saved state, and old ones are forgotten', async () => {
    const { tasks, store } = await open();
    const ended = Array.from({ length: 5 }, () => tasks.ledger.begin(work));
    for (const one of ended) one.end();
    expect(tasks.list({ limit: 10 }, operator).tasks.map(({ id }) => id)).toEqual(
      ended
        .slice(2)
        .map(({ id }) => id)
        .toReversed(),
    );
    const keys: string[] = [];
    for await (const key of store.keys({ prefix: '' })) keys.push(key);
    expect(keys).toEqual([]);
    expect((await tasks.exportPage({ page: 0, tag: '', from: null })).tasks).toEqual([]);
  });

  test('is ended by who asked it, not here, and is not seen by other callers', async () => {
    const { tasks } = await open();
    const { id } = tasks.ledger.begin(work);
    await expect(tasks.cancel(id, operator)).rejects.toMatchObject({
      code: 'conflict',
      next: expect.any(String),
    });
    expect(() => tasks.get(id, { role: 'researcher', owner: 'someone' })).toThrowError(
      expect.objectContaining({ code: 'not_found' }),
    );
  });
});
