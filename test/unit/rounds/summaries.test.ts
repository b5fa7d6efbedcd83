/** Summaries of rounds that ended do not pile up. */
import { describe, expect, it } from 'vitest';
import { createSummaries } from '../../../coordinator/rounds/summaries.ts';
import { RoundId } from '../../../shared/ids.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { RoundShown } from '../../../shared/wire/round.ts';

const summaryAt = (at: number): RoundShown => ({
  id: RoundId.parse(String(at).padStart(32, '0')),
  task: null,
  work: 'statistic',
  planHash: null,
  phase: 'done',
  sites: [],
  words: 1,
  masked: true,
  rule: 'sum',
  privacy: {
    unit: 'patient',
    mechanisms: [{ kind: 'discrete_gaussian', sensitivitySquared: ['1', '1'], sigmaSquared: ['1', '1'] }],
  },
  rho: null,
  tolerance: { sites: 3, threshold: 2, minCohort: 3, dropsTolerated: 0, corruptTolerated: 0, text: '' },
  joined: 3,
  members: 3,
  receivedBytes: 4,
  expectedBytes: 4,
  survivors: [],
  losses: [],
  startedMs: at,
  // The later ids ended earlier: the order is that of time.
  endedMs: 1_000 - at,
  sumHash: null,
  why: null,
});

describe('summaries of rounds', () => {
  it('are listed newest first, and the oldest go', async () => {
    const store = createMemoryStore();
    const summaries = createSummaries(store, 3);
    for (let at = 0; at < 7; at += 1) await store.write(summaries.keeping(summaryAt(at)));
    await summaries.trim();
    const ids = (await summaries.newest(200)).map(({ id }) => Number(id));
    expect(ids).toEqual([0, 1, 2]);
    expect(await summaries.get(summaryAt(6).id)).toBeUndefined();
    expect(await summaries.get(summaryAt(2).id)).toEqual(summaryAt(2));
    expect((await summaries.newest(1)).map(({ id }) => Number(id))).toEqual([0]);
    let keys = 0;
    for await (const _ of store.keys({ prefix: '' })) keys += 1;
    expect(keys).toBe(6);
  });
});
