/** A ledger from a backup: raised to what receipts and the countersigned head say, never lowered, and closed for what nobody can say. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Ledger } from '../../../agent/budget/ledger.ts';
import { restoreLedger, type RestoreReport } from '../../../agent/budget/restore.ts';
import { DAY_MS } from '../../../shared/clock.ts';
import { always, createIdentity } from '../../../shared/crypto/signature.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { answer, DATA_KEY, type Fixture, freshLedger, openWith, request, SITE } from './fixture.ts';
import { countersigned, IDENTITY, receiptOf } from './outside.ts';
import { createSimulatedDisk } from './simulated-disk.ts';

const decision = { by: 'Dr Admin', reason: 'the disk died' };
const lifetime = (ledger: Ledger): bigint => ledger.status().lifetimeUnits;

const restore = (
  fixture: Fixture,
  more: Partial<Parameters<typeof restoreLedger>[0]> = {},
): Promise<RestoreReport> =>
  restoreLedger({
    folder: fixture.disk,
    dataKey: DATA_KEY,
    clock: fixture.clock,
    site: SITE,
    identities: always(IDENTITY.publicKeys),
    receipts: [],
    decision,
    ...more,
  });

/** Queries 1–3, a backup, queries 4–6, a countersigned head, queries 7–8; then the disk is lost and the backup put back. */
const lostAfterBackup = async () => {
  const { ledger, ...fixture } = await freshLedger();
  for (const query of [1, 2, 3]) await answer(ledger, { query });
  const backup = fixture.disk.content();
  for (const query of [4, 5, 6]) await answer(ledger, { query });
  const head = countersigned(ledger);
  const atHead = lifetime(ledger);
  for (const query of [7, 8]) await answer(ledger, { query });
  const truth = lifetime(ledger);
  const { costs } = ledger.quote(request(), request().mechanisms);
  await ledger.close();
  const restored: Fixture = {
    ...fixture,
    disk: createSimulatedDisk({ files: backup }),
    store: createMemoryStore(),
  };
  return { restored, head, atHead, truth, cost: costs.site_lifetime };
};

describe('a restored ledger', () => {
  test('with all receipts and the countersigned head comes to the true spend', async () => {
    const { restored, head, truth, cost } = await lostAfterBackup();
    const receipts = [1, 4, 5, 6, 7, 8].map((query) => receiptOf(query, cost, query > 6 ? undefined : 1));
    const report = await restore(restored, { receipts, countersigned: [head] });
    expect(report).toMatchObject({
      epoch: 1,
      records: 7,
      receipts: { given: 6, known: 1, charged: 5 },
      countersigned: { epoch: 0, counter: head.signed.head.counter, held: false },
      spentBeforeUnits: 3n * cost,
      spentAfterUnits: truth,
    });
    const ledger = await openWith(restored);
    expect(lifetime(ledger)).toBe(truth);
    expect(ledger.status()).toMatchObject({ epoch: 1 });
    await ledger.close();
  });

  test('with no receipt at all is raised to the countersigned head', async () => {
    const { restored, head, atHead } = await lostAfterBackup();
    const report = await restore(restored, { countersigned: [head] });
    expect(report.spentAfterUnits).toBe(atHead);
  });

  test('receipts from after the head come on top of it, those from before are in it', async () => {
    const { restored, head, atHead, cost } = await lostAfterBackup();
    const report = await restore(restored, {
      receipts: [receiptOf(7, cost), receiptOf(4, cost, 1)],
      countersigned: [head],
    });
    expect(report.spentAfterUnits).toBe(atHead + cost);
  });

  test('given twice, in one file or in two runs, a receipt counts once', async () => {
    const { restored, cost } = await lostAfterBackup();
    const once = await restore(restored, { receipts: [receiptOf(7, cost), receiptOf(7, cost)] });
    expect(once.receipts).toEqual({ given: 1, known: 0, charged: 1 });
    const again = await restore(restored, { receipts: [receiptOf(7, cost), receiptOf(8, cost)] });
    expect(again).toMatchObject({ epoch: 2, receipts: { given: 2, known: 1, charged: 1 } });
    expect(again.spentAfterUnits).toBe(once.spentAfterUnits + cost);
  });

  test('a receipt that says more than the journal is charged the difference', async () => {
    const { restored, cost } = await lostAfterBackup();
    const report = await restore(restored, { receipts: [receiptOf(1, cost + 5n), receiptOf(2, 1n)] });
    expect(report.spentAfterUnits).toBe(report.spentBeforeUnits + 5n);
  });

  test('a forged receipt, one of another site, or what is none stops it before anything is written', async () => {
    const { restored, cost } = await lostAfterBackup();
    const before = restored.disk.content();
    const forged = { ...receiptOf(7, cost), spend: '1' };
    await expect(restore(restored, { receipts: [forged] })).rejects.toMatchObject({ code: 'bad_signature' });
    const other = createIdentity(new Uint8Array(32).fill(9)).publicKeys;
    await expect(
      restore(restored, { receipts: [receiptOf(7, cost)], identities: always(other) }),
    ).rejects.toMatchObject({
      code: 'bad_signature',
    });
    await expect(restore(restored, { receipts: [{ spend: '0' }] })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    expect(restored.disk.content()).toEqual(before);
  });

  test('counts as used up: for ever until it is stated what else was charged, today until the day ends', async () => {
    const { restored, head, atHead } = await lostAfterBackup();
    await restore(restored, { countersigned: [head] });
    let ledger = await openWith(restored, { confirmedDay: () => Math.floor(restored.clock.wallMs / DAY_MS) });
    const ask = (query: number) => ledger.reserve(request({ query, user: query }));
    await expect(ask(50)).rejects.toMatchObject({
      code: 'budget_exceeded',
      facts: { ledger: 'site_lifetime', remainingUnits: '0' },
    });
    expect(ledger.quote(request(), request().mechanisms).fits).toBe(false);
    // What the backup knows is still repeated for free.
    expect((await ledger.reserve(request({ query: 2 }))).status).toBe('answered');
    await ledger.stateUnknownCharges(1_000n, { by: 'Dr Admin', reason: 'two ward counts' });
    expect(lifetime(ledger)).toBe(atHead + 1_000n);
    await expect(ledger.stateUnknownCharges(1n, decision)).rejects.toMatchObject({ code: 'conflict' });
    await expect(ask(51)).rejects.toMatchObject({
      code: 'budget_exceeded',
      facts: { ledger: 'asking_site_day' },
    });
    await ledger.close();
    ledger = await openWith(restored, { confirmedDay: () => Math.floor(restored.clock.wallMs / DAY_MS) });
    await expect(ask(52)).rejects.toMatchObject({ code: 'budget_exceeded' });
    restored.clock.advance(DAY_MS);
    expect((await ask(53)).status).toBe('reserved');
    await ledger.close();
  });

  test('takes what reads of a damaged journal, and keeps the rest beside it', async () => {
    const { ledger, ...fixture } = await freshLedger();
    for (const query of [1, 2, 3]) await answer(ledger, { query });
    const truth = lifetime(ledger);
    await ledger.keepCountersigned(countersigned(ledger));
    await ledger.close();
    const files = fixture.disk.content();
    const journal = Uint8Array.from(files.get('ledger.journal')!);
    journal[journal.byteLength - 700]! ^= 1;
    const damaged: Fixture = {
      ...fixture,
      disk: createSimulatedDisk({ files: new Map([...files, ['ledger.journal', journal]]) }),
    };
    await expect(openWith(damaged)).rejects.toMatchObject({ code: 'ledger_damaged' });
    const report = await restore(damaged);
    expect(report.bytesAside).toBeGreaterThan(0);
    expect(report.spentAfterUnits).toBe(truth);
    expect([...damaged.disk.content().keys()].some((name) => name.startsWith('ledger.aside'))).toBe(true);
    const again = await openWith(damaged);
    expect(lifetime(again)).toBe(truth);
    await again.close();
  });

  test('an older copy is refused by the head kept beside it, and opens once it was restored', async () => {
    const { restored, head } = await lostAfterBackup();
    const early = await openWith(restored);
    // The coordinator told it, and it was kept.
    await early.keepCountersigned(head);
    expect(
      await early.against({
        epoch: 0,
        counter: head.signed.head.counter,
        hash: Buffer.from(head.signed.head.hash, 'hex'),
      }),
    ).toMatchObject({ code: 'ledger_refuses' });
    await early.close();
    await expect(openWith(restored)).rejects.toMatchObject({ code: 'ledger_refuses' });
    await restore(restored);
    const ledger = await openWith(restored);
    const superseded = {
      epoch: 0,
      counter: head.signed.head.counter,
      hash: Buffer.from(head.signed.head.hash, 'hex'),
    };
    expect(await ledger.against(superseded)).toBeUndefined();
    // A later one that the restore did not know of still speaks against it.
    expect(await ledger.against({ ...superseded, counter: superseded.counter + 1 })).toMatchObject({
      code: 'ledger_refuses',
    });
    await ledger.close();
  });

  test('whatever is lost and whatever receipts come, the sum is never below what is known, nor below before', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }),
        fc.nat(12),
        fc.nat(12),
        fc.array(fc.nat(11), { maxLength: 12 }),
        async (tenths, backupAt, headAt, held) => {
          const { ledger, ...fixture } = await freshLedger();
          const spends: bigint[] = [];
          let backup = fixture.disk.content();
          let head = countersigned(ledger, 0);
          for (const [query, tenth] of tenths.entries()) {
            if (query === backupAt) backup = fixture.disk.content();
            if (query === headAt) head = countersigned(ledger, 1_000 + query);
            const one = await answer(ledger, { query, epsilon: `0.0${tenth}` });
            spends.push(one.spendUnits);
          }
          await ledger.close();
          const receipts = held
            .filter((query) => query < spends.length)
            .map((query) => receiptOf(query, spends[query]!, 1_000 + query));
          const restored: Fixture = {
            ...fixture,
            disk: createSimulatedDisk({ files: backup }),
            store: createMemoryStore(),
          };
          const report = await restore(restored, { receipts, countersigned: [head] });
          const sum = (counts: (query: number) => boolean): bigint =>
            spends.reduce((total, units, query) => (counts(query) ? total + units : total), 0n);
          const inBackup = (query: number): boolean => backupAt < spends.length && query < backupAt;
          const inHead = (query: number): boolean => headAt < spends.length && query < headAt;
          const receipted = (query: number): boolean => held.includes(query) && !inBackup(query);
          const byJournal = sum((query) => inBackup(query) || receipted(query));
          const byHead = sum((query) => inHead(query) || (receipted(query) && !inHead(query)));
          expect(report.spentAfterUnits).toBe(byJournal > byHead ? byJournal : byHead);
          expect(report.spentAfterUnits >= report.spentBeforeUnits).toBe(true);
          // Nothing is made up either: what is not known is closed, not guessed.
          expect(report.spentAfterUnits <= sum(() => true)).toBe(true);
          const again = await openWith(restored);
          expect(lifetime(again)).toBe(report.spentAfterUnits);
          // Closed until a statement: shown as used up.
          expect(again.readings(request())[0]!.remainingUnits).toBe(0n);
          await again.close();
        },
      ),
      { numRuns: 40 },
    );
  });
});
