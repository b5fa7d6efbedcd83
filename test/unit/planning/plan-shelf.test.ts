/** Plans over a restart: the newest are there again, what cannot be read is dropped, and a disk that refuses stops nobody. */
import { expect, it } from 'vitest';
import { openPlanShelf } from '../../../coordinator/planning/plan-shelf.ts';
import { SiteId } from '../../../shared/ids.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { utf8 } from '../../../shared/bytes.ts';
import type { PlanRecord } from '../../../shared/wire/plan.ts';

const recordOf = (at: number): PlanRecord => ({
  queryId: at.toString(16).padStart(32, '0'),
  model: 'm',
  sender: null,
  priority: 5,
  sizeBucketBytes: 256,
  site: SiteId.parse('north'),
  commit: 'immediate',
  strategy: 'balanced',
  solver: 'flow',
  seed: at,
  cost: 10,
  costParts: { latency: 10, preference: 0, load: 0, money: 0, privacy: 0, coupling: 0, waiting: 0 },
  certificate: 'prices',
  tokens: 576,
  bound: 10,
  independentCost: 10,
  batch: 1,
  couplings: [],
  candidates: [],
  exclusions: [],
  arrivedMs: at,
  committedMs: at,
  waitedMs: 0,
  planMicros: 100,
  solveMicros: 50,
  cpuMicros: null,
});
const never = (error: unknown): void => {
  throw error;
};

it('keeps the newest plans over a restart, in their order', async () => {
  const store = createMemoryStore();
  const shelf = await openPlanShelf(store, never, 120);
  for (let at = 0; at < 200; at += 1) shelf.records.add(recordOf(at));
  expect(shelf.records.size).toBe(200);
  await shelf.close();
  const again = await openPlanShelf(store, never, 120);
  expect(again.records.size).toBe(120);
  expect(again.records.list(2).map(({ seed }) => seed)).toEqual([199, 198]);
  expect(again.records.get(recordOf(80).queryId)).toEqual(recordOf(80));
  expect(again.records.get(recordOf(79).queryId)).toBeUndefined();
  again.records.add(recordOf(200));
  await again.close();
  expect((await openPlanShelf(store, never, 120)).records.list(1)[0]?.seed).toBe(200);
});

it('drops what it cannot read, and goes on when the disk refuses', async () => {
  const store = createMemoryStore();
  await store.write([{ type: 'put', key: 'plan/00000000000007', value: utf8('{"of":"another version"}') }]);
  const shelf = await openPlanShelf(store, never);
  shelf.records.add(recordOf(1));
  await shelf.close();
  const keys: string[] = [];
  for await (const key of store.keys({ prefix: 'plan/' })) keys.push(key);
  expect(keys).toEqual(['plan/00000000000008']);
  const failures: unknown[] = [];
  const full = { ...store, write: () => Promise.reject(new Error('no space')) };
  const other = await openPlanShelf(full, (error) => void failures.push(error));
  other.records.add(recordOf(2));
  await other.close();
  expect(failures).toHaveLength(1);
  expect(other.records.get(recordOf(2).queryId)?.seed).toBe(2);
});
