/** Every write, sync, truncate, create and remove of a run is a place where the power may go, and each is tried. */
import { describe, expect, test } from 'vitest';
import { createLedger, DEFAULT_LIMITS } from '../../../agent/budget/ledger.ts';
import { fromUtf8 } from '../../../shared/bytes.ts';
import { QflError } from '../../../shared/errors.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { DATA_KEY, openWith, request, SITE, testClock } from './fixture.ts';
import { createSimulatedDisk, type SimulatedDisk, type Survival } from './simulated-disk.ts';

const SURVIVALS: readonly Survival[] = ['all', 'none', 'torn-head', 'torn-tail', 'last-lost', 'zeros'];
const QUERIES = 9;

/** What somebody was told before the power went. */
interface Told {
  readonly charged: Map<number, bigint>;
  readonly answers: Map<number, string>;
  readonly refunded: Set<number>;
  created: boolean;
}

/** Reservations in twos, answers, a refund, a failure, a restart in the middle. */
const scenario = async (disk: SimulatedDisk, told: Told): Promise<void> => {
  const clock = testClock();
  const store = createMemoryStore();
  await createLedger({ folder: disk, dataKey: DATA_KEY, clock, site: SITE, limits: DEFAULT_LIMITS });
  told.created = true;
  const one = async (ledger: Awaited<ReturnType<typeof openWith>>, query: number): Promise<void> => {
    const result = await ledger.reserve(request({ query, user: query }));
    if (result.status !== 'reserved') throw new Error('each query is new');
    told.charged.set(query, result.spendUnits);
    if (query % 4 === 1) {
      // A refund may be on the disk although nobody was told: from here on the charge may be gone.
      told.refunded.add(query);
      return await result.refund('queue_full');
    }
    result.startComputing();
    if (query % 4 === 3) return await result.abandon();
    await result.commit(Buffer.from(`answer ${query}`));
    told.answers.set(query, `answer ${query}`);
  };
  for (let half = 0; half < 2; half += 1) {
    const ledger = await openWith({ disk, clock, store });
    for (let query = half * QUERIES; query < (half + 1) * QUERIES; query += 2)
      await Promise.all([one(ledger, query), one(ledger, query + 1)]);
    await ledger.close();
  }
};

const runUntil = async (cutAt: number): Promise<{ disk: SimulatedDisk; told: Told; finished: boolean }> => {
  const disk = createSimulatedDisk({ cutAt });
  const told: Told = { charged: new Map(), answers: new Map(), refunded: new Set(), created: false };
  const finished = await scenario(disk, told).then(
    () => true,
    () => false,
  );
  return { disk, told, finished };
};

const checkAfter = async (files: Map<string, Uint8Array>, told: Told): Promise<void> => {
  const fixture = { disk: createSimulatedDisk({ files }), clock: testClock(), store: createMemoryStore() };
  if (!told.created) {
    // The join was cut off: it must be possible to do it again, or it was already complete.
    const place = { folder: fixture.disk, dataKey: DATA_KEY, clock: fixture.clock, site: SITE };
    await createLedger({ ...place, limits: DEFAULT_LIMITS }).catch((error: unknown) => {
      if (!(error instanceof QflError) || error.code !== 'conflict') throw error;
    });
  }
  const ledger = await openWith(fixture);
  const spent = ledger.readings(request())[0]!.spentUnits;
  let owed = 0n;
  for (const [query, units] of told.charged) if (!told.refunded.has(query)) owed += units;
  expect(spent >= owed).toBe(true);
  for (const [query, text] of told.answers) {
    const repeat = await ledger.reserve(request({ query, user: query }));
    expect(repeat.status === 'answered' ? fromUtf8(repeat.sealedAnswer) : repeat.status).toBe(text);
  }
  expect(ledger.readings(request())[0]!.spentUnits).toBe(spent);
  // It serves on, and what it then says is durable too.
  expect((await ledger.reserve(request({ query: 999 }))).status).toBe('reserved');
  await ledger.close();
};

describe('power cut', () => {
  test('at every step of a run, with everything unsynced kept, lost or torn: no told spend or answer is lost', async () => {
    let cuts = 0;
    for (let cutAt = 1; ; cutAt += 1) {
      const { disk, told, finished } = await runUntil(cutAt);
      for (const survival of SURVIVALS) await checkAfter(disk.afterPowerCut(survival), told);
      if (finished) break;
      cuts += 1;
    }
    expect(cuts).toBeGreaterThan(60);
  });

  test('the recovery after a power cut may itself be cut at every step', async () => {
    const { disk, told } = await runUntil(40);
    for (const survival of ['all', 'torn-head'] as const) {
      const files = disk.afterPowerCut(survival);
      for (let cutAt = 1; cutAt < 40; cutAt += 1) {
        expect(told.answers.size).toBeGreaterThan(0);
        const second = createSimulatedDisk({ files, cutAt });
        await openWith({ disk: second, clock: testClock(), store: createMemoryStore() })
          .then((ledger) => ledger.close())
          .catch(() => undefined);
        for (const again of SURVIVALS) await checkAfter(second.afterPowerCut(again), told);
      }
    }
  });
});
