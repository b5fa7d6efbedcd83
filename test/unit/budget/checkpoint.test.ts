/** Opening from a checkpoint: what it counts is what the whole replay counts, and nothing wrong with it is ever believed. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CHECKPOINT_NAMES } from '../../../agent/budget/checkpoint.ts';
import { DEFAULT_LIMITS, type Ledger, openLedger } from '../../../agent/budget/ledger.ts';
import { verifyLedger } from '../../../agent/budget/verify.ts';
import { DAY_MS } from '../../../shared/clock.ts';
import { SiteId } from '../../../shared/ids.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import {
  answer,
  DATA_KEY,
  type Fixture,
  freshLedger,
  newFixture,
  openWith,
  request,
  reserved,
  SITE,
  spentUnits,
} from './fixture.ts';
import { createSimulatedDisk } from './simulated-disk.ts';

const EVERY = 8;
const [FIRST, SECOND] = CHECKPOINT_NAMES;

/** A ledger closed with checkpoints of different ages; answers of queries from 0 on. */
const withCheckpoints = async (queries = 30): Promise<Fixture> => {
  const fixture = await newFixture();
  const ledger = await openWith(fixture, { checkpointRecords: EVERY });
  for (let query = 0; query < queries; query += 1) {
    await answer(ledger, { query, user: query % 3 });
    if (query === queries / 2) await ledger.close().then(() => undefined);
    if (query === queries / 2) return await goOn(fixture, query + 1, queries);
  }
  await ledger.close();
  return fixture;
};
const goOn = async (fixture: Fixture, from: number, to: number): Promise<Fixture> => {
  const ledger = await openWith(fixture, { checkpointRecords: EVERY });
  for (let query = from; query < to; query += 1) await answer(ledger, { query, user: query % 3 });
  await ledger.close();
  return fixture;
};

/** Records replayed are those whose frames were read beyond the first megabyte chunk; told here by what the status says. */
const openedFrom = (ledger: Ledger): number => ledger.status().checkpointCounter;

const reading = (ledger: Ledger) => [0, 1, 2].map((user) => spentUnits(ledger, { user }));

const same = async (fixture: Fixture, expectCheckpoint: boolean): Promise<void> => {
  const fast = await openWith(fixture, { checkpointRecords: 1_000 });
  expect(openedFrom(fast) >= 0).toBe(expectCheckpoint);
  const counted = reading(fast);
  expect((await fast.reserve(request({ query: 3, user: 0 }))).status).toBe('answered');
  expect((await fast.reserve(request({ query: 29, user: 2 }))).status).toBe('answered');
  await fast.close();
  const whole = await openWith(fixture, { verifyAll: true, checkpointRecords: 1_000 });
  expect(reading(whole)).toEqual(counted);
  await whole.close();
};

const withFile = (fixture: Fixture, change: (files: Map<string, Uint8Array>) => void): Fixture => {
  const files = fixture.disk.content();
  change(files);
  return { ...fixture, disk: createSimulatedDisk({ files }) };
};

describe('opening from a checkpoint', () => {
  test('counts what a whole replay counts, and knows every answer', async () => {
    const fixture = await withCheckpoints();
    const names = [...fixture.disk.content().keys()];
    expect(names).toEqual(expect.arrayContaining([FIRST, SECOND]));
    await same(fixture, true);
  });

  test('does not read what the checkpoint covers', async () => {
    const fixture = await withCheckpoints();
    const journal = fixture.disk.content().get('ledger.journal')!;
    const damaged = withFile(fixture, (files) => {
      const bytes = Uint8Array.from(journal);
      bytes[2_000]! ^= 1;
      files.set('ledger.journal', bytes);
    });
    // Not noticed at the start, and so not read; noticed by the full verification.
    const ledger = await openWith(damaged);
    await ledger.close();
    await expect(openWith(damaged, { verifyAll: true })).rejects.toMatchObject({ code: 'ledger_damaged' });
    const place = { folder: damaged.disk, dataKey: DATA_KEY, clock: damaged.clock, site: SITE };
    expect((await verifyLedger(place)).sound).toBe(false);
  });

  test('each checkpoint damaged in any byte, cut, or gone: the other one or the journal serves', async () => {
    const fixture = await withCheckpoints();
    const bytes = fixture.disk.content().get(FIRST)!;
    for (let at = 0; at < bytes.byteLength; at += Math.ceil(bytes.byteLength / 40)) {
      await same(
        withFile(fixture, (files) => {
          const changed = Uint8Array.from(bytes);
          changed[at]! ^= 0x40;
          files.set(FIRST, changed);
        }),
        true,
      );
    }
    await same(
      withFile(fixture, (files) => files.set(FIRST, bytes.subarray(0, 100))),
      true,
    );
    await same(
      withFile(fixture, (files) => {
        files.delete(FIRST);
        files.set(SECOND, new Uint8Array(0));
      }),
      false,
    );
  });

  test('an older pair of checkpoints makes the tail longer, nothing else', async () => {
    const fixture = await withCheckpoints();
    const old = fixture.disk.content();
    const ledger = await openWith(fixture, { checkpointRecords: EVERY });
    for (let query = 40; query < 60; query += 1) await answer(ledger, { query });
    const told = spentUnits(ledger);
    await ledger.close();
    const back = withFile(fixture, (files) => {
      for (const name of CHECKPOINT_NAMES) files.set(name, old.get(name)!);
    });
    const again = await openWith(back, { checkpointRecords: 1_000 });
    expect(spentUnits(again)).toEqual(told);
    expect((await again.reserve(request({ query: 59 }))).status).toBe('answered');
    await again.close();
  });

  test('a checkpoint of another history of the same ledger is not believed', async () => {
    const fixture = await newFixture();
    let ledger = await openWith(fixture);
    await answer(ledger, { query: 1 });
    await ledger.close();
    const fork = fixture.disk.content();
    // One history goes on with little, the other with much.
    const little = { ...fixture, disk: createSimulatedDisk({ files: fork }), store: createMemoryStore() };
    ledger = await openWith(little, { checkpointRecords: 4 });
    for (let query = 10; query < 20; query += 1) await answer(ledger, { query, epsilon: '0.01' });
    await ledger.close();
    ledger = await openWith(fixture, { checkpointRecords: 4 });
    for (let query = 10; query < 20; query += 1) await answer(ledger, { query, epsilon: '0.2' });
    const told = spentUnits(ledger);
    await ledger.close();
    const mixed = withFile(fixture, (files) => {
      for (const name of CHECKPOINT_NAMES) files.set(name, little.disk.content().get(name)!);
    });
    const again = await openWith(mixed);
    expect(openedFrom(again)).toBe(-1);
    expect(spentUnits(again)).toEqual(told);
    await again.close();
  });

  test('a checkpoint of another site under the same key is not believed', async () => {
    const fixture = await withCheckpoints();
    const place = { folder: fixture.disk, dataKey: DATA_KEY, clock: fixture.clock, store: fixture.store };
    await expect(
      openLedger({ ...place, site: SiteId.parse('east'), freeBytesFloor: 0 }),
    ).rejects.toMatchObject({
      code: 'ledger_refuses',
    });
  });

  test('what follows a checkpoint is verified: damage in the tail and a journal behind its mark are refused', async () => {
    const fixture = await withCheckpoints();
    const ledger = await openWith(fixture, { checkpointRecords: 1_000 });
    for (let query = 40; query < 44; query += 1) await answer(ledger, { query });
    const { size } = ledger.head();
    await ledger.close();
    const flipped = withFile(fixture, (files) => {
      const bytes = Uint8Array.from(files.get('ledger.journal')!);
      bytes[size - 400]! ^= 1;
      files.set('ledger.journal', bytes);
    });
    await expect(openWith(flipped)).rejects.toMatchObject({ code: 'ledger_damaged' });
    const behind = withFile(fixture, (files) => {
      files.set('ledger.journal', withoutLastFrame(files.get('ledger.journal')!));
    });
    await expect(openWith(behind)).rejects.toMatchObject({ code: 'ledger_refuses' });
  });

  test('an index that lost entries is noticed when they are asked for, and built anew at the next start', async () => {
    const fixture = await withCheckpoints();
    const keys: string[] = [];
    for await (const key of fixture.store.keys({ prefix: 'ledger/answer/' })) keys.push(key);
    await fixture.store.write(keys.map((key) => ({ type: 'del', key })));
    const ledger = await openWith(fixture);
    expect(openedFrom(ledger)).toBeGreaterThanOrEqual(0);
    // Never counted as new: that would draw new noise for an old question.
    await expect(ledger.reserve(request({ query: 3, user: 0 }))).rejects.toMatchObject({
      code: 'ledger_damaged',
    });
    // A new question does not need the index.
    expect((await ledger.reserve(request({ query: 99 }))).status).toBe('reserved');
    await ledger.close();
    const again = await openWith(fixture);
    expect(openedFrom(again)).toBe(-1);
    expect((await again.reserve(request({ query: 3, user: 0 }))).status).toBe('answered');
    await again.close();
  });

  test('an emptied store is filled from the journal', async () => {
    const fixture = { ...(await withCheckpoints()), store: createMemoryStore() };
    await same(fixture, false);
  });

  test('one that cannot be written is told, and charges go on', async () => {
    const fixture = await newFixture();
    const told: unknown[] = [];
    const disk = { ...fixture.disk, rename: () => Promise.reject(new Error('no')) };
    const ledger = await openWith(
      { ...fixture, disk },
      { checkpointRecords: 4, onCheckpointFault: (cause) => told.push(cause) },
    );
    for (let query = 0; query < 10; query += 1) await answer(ledger, { query });
    await ledger.close();
    expect(told.length).toBeGreaterThan(0);
    const again = await openWith(fixture);
    expect((await again.reserve(request({ query: 9 }))).status).toBe('answered');
    await again.close();
  });
});

const withoutLastFrame = (journal: Uint8Array): Uint8Array => {
  const view = Buffer.from(journal);
  let at = 0;
  let last = 0;
  while (at < view.byteLength) {
    last = at;
    at += 4 + view.readUInt32BE(at);
  }
  return journal.subarray(0, last);
};

/** What may happen between two starts. */
const Step = fc.oneof(
  fc.record({ type: fc.constant('answer' as const), user: fc.integer({ min: 0, max: 2 }) }),
  fc.record({ type: fc.constantFrom('refund' as const, 'leave' as const, 'abandon' as const) }),
  fc.record({
    type: fc.constantFrom('day' as const, 'limits' as const, 'undo' as const, 'restart' as const),
  }),
);

const play = async (
  fixture: Fixture,
  steps: readonly (typeof Step extends fc.Arbitrary<infer T> ? T : never)[],
) => {
  let ledger = await openWith(fixture, { checkpointRecords: 5 });
  let query = 0;
  for (const step of steps) {
    query += 1;
    if (step.type === 'answer') await answer(ledger, { query, user: step.user, epsilon: '0.05' });
    if (step.type === 'refund') await (await reserved(ledger, { query })).refund('queue_full');
    if (step.type === 'abandon') await (await reserved(ledger, { query })).abandon();
    if (step.type === 'leave') await reserved(ledger, { query });
    if (step.type === 'day') fixture.clock.advance(DAY_MS);
    if (step.type === 'limits')
      await ledger.changeLimits(
        { ...DEFAULT_LIMITS, microEpsilonPerQueryMax: DEFAULT_LIMITS.userDay.microEpsilon },
        { by: 'a', reason: 'b' },
      );
    if (step.type === 'undo') {
      const { day } = ledger.status();
      await ledger.undoWindow(day - 1, { by: 'a', reason: 'b' }).catch(() => undefined);
    }
    if (step.type === 'restart') {
      await ledger.close();
      ledger = await openWith(fixture, { checkpointRecords: 5 });
    }
  }
  await ledger.close();
};

test('random histories: from the checkpoint and from the first record the same is counted', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(Step, { minLength: 3, maxLength: 40 }), async (steps) => {
      const { ledger, ...fixture } = await freshLedger();
      await ledger.close();
      await play(fixture, steps);
      const place = { folder: fixture.disk, dataKey: DATA_KEY, clock: fixture.clock, site: SITE };
      const report = await verifyLedger(place);
      expect(report.faults).toEqual([]);
      for (const { agrees } of report.checkpoints) expect(agrees).toBe(true);
      const fast = await openWith(fixture, { checkpointRecords: 1_000 });
      const counted = [reading(fast), fast.status().day, fast.limits()];
      await fast.close();
      const whole = await openWith(fixture, { verifyAll: true, checkpointRecords: 1_000 });
      expect([reading(whole), whole.status().day, whole.limits()]).toEqual(counted);
      await whole.close();
    }),
    { numRuns: 40 },
  );
});
