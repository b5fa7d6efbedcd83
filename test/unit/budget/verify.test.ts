/** The full verification, of a ledger that serves and of one that does not, and journals of the first version. */
import { describe, expect, test } from 'vitest';
import { encodeFrame } from '../../../agent/budget/frame.ts';
import { createPolicy } from '../../../agent/budget/limits.ts';
import { DEFAULT_LIMITS } from '../../../agent/budget/ledger.ts';
import { resetMark } from '../../../agent/budget/mark.ts';
import {
  committedRecord,
  encodeRecord,
  type LedgerRecord,
  reservedRecord,
} from '../../../agent/budget/records.ts';
import { EMPTY_HEAD } from '../../../agent/budget/scan.ts';
import { verifyLedger } from '../../../agent/budget/verify.ts';
import { recordName } from '../../../agent/budget/writer.ts';
import { QflError } from '../../../shared/errors.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { sealAtRest } from '../../../shared/store/encrypted.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { answer, DATA_KEY, freshLedger, openWith, request, SITE, testClock } from './fixture.ts';
import { createSimulatedDisk } from './simulated-disk.ts';

describe('while it serves', () => {
  test('a sound ledger is verified beside charges', async () => {
    const { ledger } = await freshLedger();
    for (let query = 0; query < 20; query += 1) await answer(ledger, { query });
    const [{ records }] = await Promise.all([ledger.verify(), answer(ledger, { query: 30 })]);
    expect(records).toBeGreaterThanOrEqual(41);
    expect((await ledger.reserve(request({ query: 31 }))).status).toBe('reserved');
    await ledger.close();
  });

  test('damage ends its service', async () => {
    const { ledger, disk } = await freshLedger();
    for (let query = 0; query < 5; query += 1) await answer(ledger, { query });
    const file = await disk.open('ledger.journal');
    await file!.write(Buffer.from([255]), 1_500);
    await expect(ledger.verify()).rejects.toMatchObject({ code: 'ledger_damaged' });
    await expect(ledger.reserve(request({ query: 9 }))).rejects.toMatchObject({ code: 'ledger_damaged' });
    await ledger.close();
  });

  test('given up in the middle, it says nothing about the ledger', async () => {
    const { ledger } = await freshLedger();
    for (let query = 0; query < 100; query += 1) await answer(ledger, { query, epsilon: '0.01' });
    await expect(ledger.verify(() => Promise.reject(new QflError('cancelled')))).rejects.toMatchObject({
      code: 'cancelled',
    });
    expect((await ledger.reserve(request({ query: 900 }))).status).toBe('reserved');
    await ledger.close();
  });
});

test('a stopped ledger is read and nothing is written; progress is told', async () => {
  const { ledger, ...fixture } = await freshLedger();
  for (let query = 0; query < 5; query += 1) await answer(ledger, { query });
  const place = { folder: fixture.disk, dataKey: DATA_KEY, clock: fixture.clock, site: SITE };
  await expect(verifyLedger(place)).rejects.toMatchObject({ code: 'conflict' });
  const { lifetimeUnits, head } = ledger.status();
  await ledger.close();
  const steps = fixture.disk.steps();
  const told: number[] = [];
  const report = await verifyLedger(place, ({ bytesDone }) => told.push(bytesDone));
  expect(report).toMatchObject({ sound: true, records: 11, lifetimeUnits: String(lifetimeUnits) });
  expect(told.at(-1)).toBe(head.size);
  expect(fixture.disk.steps()).toBe(steps);
});

test('a journal of version 1, without what came later, opens and goes on', async () => {
  const disk = createSimulatedDisk();
  const clock = testClock();
  const policy = createPolicy(DEFAULT_LIMITS);
  const asked = request({ query: 1 });
  const charge = { ...asked, day: 20_000, costs: policy.price(asked.mechanisms, asked), blocks: [] };
  const records: LedgerRecord[] = [
    {
      type: 'genesis',
      version: 1,
      site: SITE,
      day: 20_000,
      limits: DEFAULT_LIMITS,
      orders: policy.orders,
      atMs: 1,
    },
    reservedRecord(asked, charge, asked.mechanisms, 2),
    committedRecord(1, 3),
  ];
  const journal = await disk.create('ledger.journal');
  let head = EMPTY_HEAD;
  for (const record of records) {
    const counter = head.counter + 1;
    const payload = encodeRecord(record, Buffer.from(record.type === 'committed' ? 'old answer' : ''));
    const sealed = sealAtRest(DATA_KEY, recordName(counter), payload, secureRandomBytes);
    const { bytes, hash } = encodeFrame(counter, head.hash, sealed);
    await journal.write(bytes, head.size);
    head = { counter, hash, size: head.size + bytes.byteLength };
  }
  await resetMark(await disk.create('ledger.mark'), head);
  const ledger = await openWith({ disk, clock, store: createMemoryStore() });
  const repeat = await ledger.reserve(asked);
  expect(repeat.status === 'answered' && Buffer.from(repeat.sealedAnswer).toString()).toBe('old answer');
  expect(ledger.status()).toMatchObject({ epoch: 0, countersigned: null });
  await answer(ledger, { query: 2 });
  await ledger.close();
});
