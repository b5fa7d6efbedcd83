/**
 * Every create, write, sync, truncate, rename, remove and folder sync of a ledger's life is a place where the power may go, and each is
 * tried, with everything unsynced kept, lost or torn. What was told must be there afterwards: the spend, and the answers.
 */
import { always } from '../../../shared/crypto/signature.ts';
import { describe, expect, test } from 'vitest';
import { compactLedger } from '../../../agent/budget/compact.ts';
import { createLedger, DEFAULT_LIMITS, type Ledger } from '../../../agent/budget/ledger.ts';
import { restoreLedger } from '../../../agent/budget/restore.ts';
import { verifyLedger } from '../../../agent/budget/verify.ts';
import { fromUtf8, toHex } from '../../../shared/bytes.ts';
import { DAY_MS } from '../../../shared/clock.ts';
import { blake2b } from '../../../shared/crypto/hash.ts';
import { QflError } from '../../../shared/errors.ts';
import { microEpsilon } from '../../../shared/privacy/epsilon.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import {
  answer,
  DATA_KEY,
  type Fixture,
  openWith,
  request,
  reserved,
  SITE,
  START_MS,
  type TestClock,
  testClock,
} from './fixture.ts';
import { countersigned, IDENTITY, receiptOf } from './outside.ts';
import {
  createSimulatedDisk,
  type DiskOperation,
  type SimulatedDisk,
  type Survival,
} from './simulated-disk.ts';

const SURVIVALS: readonly Survival[] = ['all', 'none', 'torn-head', 'torn-tail', 'last-lost', 'zeros'];
/** Small, so that checkpoints fall between all kinds of records. */
const EVERY = 5;
/** The full verification is slow, and finds again what the opening found. */
const VERIFY_EVERY = 4;
const decision = { by: 'Dr Admin', reason: 'a test' };
type Files = ReadonlyMap<string, Uint8Array>;

const placeOf = (disk: SimulatedDisk, clock: TestClock) => ({
  folder: disk,
  dataKey: DATA_KEY,
  clock,
  site: SITE,
});

/** What somebody was told, and so must hold. */
interface Told {
  created: boolean;
  /** Lifetime units of charges that were told and not given back. */
  spent: bigint;
  readonly answers: Map<number, string>;
}

const openFast = (fixture: Fixture): Promise<Ledger> =>
  openWith(fixture, {
    checkpointRecords: EVERY,
    confirmedDay: () => Math.floor(fixture.clock.wallMs / DAY_MS),
  });

const LIMITS = {
  ...DEFAULT_LIMITS,
  siteLifetime: { microEpsilon: microEpsilon(1_000_000_000), delta: '1e-5' },
};

/** Answers, a refund, a failure, one left open, a new day, other limits, a countersigned head, restarts, a compaction. */
const life = async (disk: SimulatedDisk, store: Store, clock: TestClock, told: Told): Promise<void> => {
  await createLedger({ ...placeOf(disk, clock), limits: LIMITS });
  told.created = true;
  const charge = async (ledger: Ledger, query: number): Promise<void> => {
    const seat = await reserved(ledger, { query, user: query });
    told.spent += seat.spendUnits;
    if (query % 5 === 1) {
      // It may be given back on the disk although nobody was told.
      told.spent -= seat.spendUnits;
      return await seat.refund('queue_full');
    }
    if (query % 5 === 4) return;
    seat.startComputing();
    if (query % 5 === 3) return await seat.abandon();
    await seat.commit(Buffer.from(`answer ${query}`));
    told.answers.set(query, `answer ${query}`);
  };
  let ledger = await openFast({ disk, clock, store });
  for (let query = 0; query < 6; query += 2)
    await Promise.all([charge(ledger, query), charge(ledger, query + 1)]);
  await ledger.keepCountersigned(countersigned(ledger));
  await ledger.close();
  clock.advance(3 * DAY_MS);
  // Whatever is older than a day cannot be asked again.
  told.answers.clear();
  await compactLedger(placeOf(disk, clock), clock.wallMs - DAY_MS);
  ledger = await openFast({ disk, clock, store });
  for (let query = 6; query < 12; query += 2)
    await Promise.all([charge(ledger, query), charge(ledger, query + 1)]);
  await ledger.changeLimits({ ...LIMITS, microEpsilonPerQueryMax: microEpsilon(900_000) }, decision);
  await ledger.keepCountersigned(countersigned(ledger));
  await charge(ledger, 12);
  await ledger.close();
};

/** Runs `work` on a copy of the files until the power goes before operation `cutAt`; false when it came to its end. */
const cutRun = async (
  files: Files,
  cutAt: number,
  work: (disk: SimulatedDisk) => Promise<void>,
): Promise<{ disk: SimulatedDisk; wasCut: boolean }> => {
  const disk = createSimulatedDisk({ files, cutAt });
  const wasCut = await work(disk).then(
    () => false,
    () => true,
  );
  return { disk, wasCut };
};

const total = (operations: ReadonlyMap<DiskOperation, number>): number =>
  [...operations.values()].reduce((sum, count) => sum + count, 0);

/** Cuts at every operation and looks at every survival; how many operations there were of each kind. */
const cutEverywhere = async (
  files: Files,
  work: (disk: SimulatedDisk) => Promise<void>,
  look: (left: Map<string, Uint8Array>, cutAt: number) => Promise<void>,
): Promise<ReadonlyMap<DiskOperation, number>> => {
  for (let cutAt = 1; ; cutAt += 1) {
    const { disk, wasCut } = await cutRun(files, cutAt, work);
    const seen = new Set<string>();
    for (const survival of SURVIVALS) {
      const left = disk.afterPowerCut(survival);
      const name = JSON.stringify([...left].map(([file, bytes]) => [file, toHex(blake2b(16, bytes))]));
      // Where nothing was unsynced, all survivals are one.
      if (!seen.has(name)) await look(left, cutAt);
      seen.add(name);
    }
    // A cut that only a checkpoint met does not end the work: what counts is whether the operation was reached.
    if (wasCut || total(disk.operations()) >= cutAt) continue;
    return disk.operations();
  }
};

const KINDS: readonly DiskOperation[] = [
  'create',
  'write',
  'sync',
  'truncate',
  'rename',
  'remove',
  'sync folder',
];

describe('power cut at every operation', () => {
  test('of a life with checkpoints, a countersigned head and a compaction', { timeout: 60_000 }, async () => {
    let told: Told = { created: false, spent: 0n, answers: new Map() };
    let clock = testClock();
    let store = createMemoryStore();
    const kinds = await cutEverywhere(
      new Map(),
      async (disk) => {
        told = { created: false, spent: 0n, answers: new Map() };
        clock = testClock();
        store = createMemoryStore();
        await life(disk, store, clock, told);
      },
      async (files, cutAt) => {
        // The store may be as new as the journal, or have lost everything: both in turn.
        const fixture: Fixture = {
          disk: createSimulatedDisk({ files }),
          clock,
          store: cutAt % 2 === 0 ? createMemoryStore() : store,
        };
        if (!told.created)
          await createLedger({ ...placeOf(fixture.disk, clock), limits: LIMITS }).catch((error: unknown) => {
            if (!(error instanceof QflError) || error.code !== 'conflict') throw error;
          });
        const ledger = await openWith(fixture);
        const spent = ledger.status().lifetimeUnits;
        expect(spent >= told.spent).toBe(true);
        for (const [query, text] of told.answers) {
          const repeat = await ledger.reserve(request({ query, user: query }));
          expect(repeat.status === 'answered' ? fromUtf8(repeat.sealedAnswer) : repeat.status).toBe(text);
        }
        expect(ledger.status().lifetimeUnits).toBe(spent);
        await answer(ledger, { query: 999, user: 999 });
        await ledger.close();
        if (cutAt % VERIFY_EVERY === 0)
          expect((await verifyLedger(placeOf(fixture.disk, clock))).faults).toEqual([]);
      },
    );
    for (const kind of KINDS)
      if (kind !== 'truncate') expect([kind, kinds.get(kind) ?? 0]).not.toEqual([kind, 0]);
    expect(total(kinds)).toBeGreaterThan(150);
  });

  test('of a restore: the older copy never serves, and the restore run again ends where one run does', async () => {
    const clock = testClock();
    const disk = createSimulatedDisk();
    await createLedger({ ...placeOf(disk, clock), limits: LIMITS });
    const ledger = await openFast({ disk, clock, store: createMemoryStore() });
    for (const query of [1, 2, 3]) await answer(ledger, { query });
    const files = new Map(disk.content());
    // Torn at its end, as a copy of a running ledger is.
    const journal = files.get('ledger.journal')!;
    files.set('ledger.journal', journal.subarray(0, journal.byteLength - 9));
    for (const query of [4, 5]) await answer(ledger, { query });
    const head = countersigned(ledger, START_MS - 1);
    const { spendUnits } = await answer(ledger, { query: 6 });
    const truth = ledger.status().lifetimeUnits;
    await ledger.close();
    const restore = (on: SimulatedDisk) =>
      restoreLedger({
        ...placeOf(on, clock),
        identities: always(IDENTITY.publicKeys),
        receipts: [5, 6].map((query) => receiptOf(query, spendUnits, query === 6 ? START_MS : 1)),
        countersigned: [head],
        decision,
      });
    const kinds = await cutEverywhere(
      files,
      async (on) => void (await restore(on)),
      async (left) => {
        const after = createSimulatedDisk({ files: left });
        const opened = await openFast({ disk: after, clock, store: createMemoryStore() }).catch(
          (error: unknown) => error,
        );
        // Either nothing is served, or everything that is known is counted.
        if (opened instanceof QflError) expect(['ledger_refuses', 'ledger_damaged']).toContain(opened.code);
        else {
          const served = opened as Ledger;
          expect(served.status().lifetimeUnits).toBe(truth);
          await served.close();
        }
        const report = await restore(after);
        expect(report.spentAfterUnits).toBe(truth);
        const again = await openFast({ disk: after, clock, store: createMemoryStore() });
        expect(again.status().lifetimeUnits).toBe(truth);
        await again.close();
      },
    );
    expect(kinds.get('truncate')).toBeGreaterThan(0);
  });

  test('of a compaction: the old journal or the new one, the same spend, and it can be run again', async () => {
    const clock = testClock();
    const disk = createSimulatedDisk();
    const store = createMemoryStore();
    await createLedger({ ...placeOf(disk, clock), limits: LIMITS });
    let ledger = await openFast({ disk, clock, store });
    for (const query of [1, 2, 3, 4]) await answer(ledger, { query });
    clock.advance(3 * DAY_MS);
    for (const query of [5, 6]) await answer(ledger, { query });
    const truth = ledger.status().lifetimeUnits;
    await ledger.close();
    const compact = (on: SimulatedDisk) => compactLedger(placeOf(on, clock), clock.wallMs - DAY_MS);
    await cutEverywhere(
      disk.content(),
      async (on) => void (await compact(on)),
      async (left, cutAt) => {
        const after = createSimulatedDisk({ files: left });
        const fixture = { disk: after, clock, store: cutAt % 2 === 0 ? createMemoryStore() : store };
        ledger = await openFast(fixture);
        expect(ledger.status().lifetimeUnits).toBe(truth);
        expect((await ledger.reserve(request({ query: 6 }))).status).toBe('answered');
        await ledger.close();
        await compact(after);
        expect((await verifyLedger(placeOf(after, clock))).faults).toEqual([]);
        ledger = await openFast(fixture);
        expect(ledger.status().lifetimeUnits).toBe(truth);
        expect((await ledger.reserve(request({ query: 5 }))).status).toBe('answered');
        await ledger.close();
      },
    );
  });
});
