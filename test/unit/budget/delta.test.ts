/** Deltas of thresholds in the ledger: charged with the loss or not at all, within the reserved share, and never lost. */
import { always } from '../../../shared/crypto/signature.ts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { amountOfText, AmountText, amountToText } from '../../../agent/budget/amount.ts';
import { compactLedger } from '../../../agent/budget/compact.ts';
import { createLedgerFilter, LEDGER_RULES, type LedgerRule } from '../../../agent/budget/filters.ts';
import {
  type ChargeRequest,
  DEFAULT_LIMITS,
  type Ledger,
  type LedgerLimits,
} from '../../../agent/budget/ledger.ts';
import { restoreLedger } from '../../../agent/budget/restore.ts';
import { verifyLedger } from '../../../agent/budget/verify.ts';
import { createCurveFilter } from '../../../shared/privacy/curve-filter.ts';
import { deltaOfText, deltaOfUnits } from '../../../shared/privacy/delta.ts';
import { microEpsilon } from '../../../shared/privacy/epsilon.ts';
import { createFilter } from '../../../shared/privacy/filter.ts';
import { discreteLaplace } from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { thresholdedForDelta } from '../../../shared/privacy/threshold.ts';
import { DAY_MS } from '../../../shared/clock.ts';
import { checkCountersigned } from '../../../shared/wire/ledger-head.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { answer, DATA_KEY, type Fixture, freshLedger, openWith, request, reserved, SITE } from './fixture.ts';
import { COORDINATOR, countersigned, IDENTITY, receiptOf } from './outside.ts';
import { createSimulatedDisk } from './simulated-disk.ts';

const decision = { by: 'Dr Admin', reason: 'a test' };
const withShare: LedgerLimits = { ...DEFAULT_LIMITS, thresholdDeltaMillionths: 100_000 };
/** Of a lifetime delta of 1e-6 a tenth is reserved: four of these and no more. */
const mechanism = thresholdedForDelta(discreteLaplace(1n, rational(10n)), 1n, deltaOfText('2.4e-8')!);

const asked = (query: number): ChargeRequest => ({
  ...request({ query, user: query }),
  mechanisms: [mechanism],
});
const keys = async (ledger: Ledger, query: number) => {
  const result = await ledger.reserve(asked(query));
  if (result.status !== 'reserved') throw new Error(`expected a reservation, got ${result.status}`);
  result.startComputing();
  await result.commit(Buffer.from('answer'));
};
const spent = (ledger: Ledger): bigint => ledger.status().lifetimeDeltaUnits;
const everything = (ledger: Ledger) => ({
  readings: ledger.readings(request({ user: 1 })),
  delta: spent(ledger),
  loss: ledger.status().lifetimeUnits,
});

describe('amounts', () => {
  test('without delta are written and read as they always were', () => {
    for (const text of ['0', '17', ['1', '2', '3']] satisfies AmountText[]) {
      expect(amountOfText(text).at(-1)).toBe(0n);
      expect(amountToText(amountOfText(text))).toEqual(text);
    }
  });

  test('of every length and delta come back', () => {
    fc.assert(
      fc.property(
        fc.array(fc.bigInt({ min: 0n, max: 10n ** 30n }), { minLength: 1, maxLength: 200 }),
        fc.bigInt({ min: 0n, max: 2n ** 80n }),
        (loss, delta) => {
          const amount = [...loss, delta];
          const text = AmountText.parse(JSON.parse(JSON.stringify(amountToText(amount))));
          expect(amountOfText(text)).toEqual(amount);
        },
      ),
    );
  });
});

describe('a filter', () => {
  const budget = { epsilon: microEpsilon(10_000_000), delta: 1e-5 };
  const lossBudget = (rule: LedgerRule): readonly bigint[] =>
    rule === 'rdp_curve' ? createCurveFilter(budget).budgetUnits : [createFilter(rule, budget).budgetUnits];

  test.each(LEDGER_RULES)('of %s without a share is what it was, and takes no delta', (rule) => {
    expect(createLedgerFilter(rule, budget, undefined).budget).toEqual([...lossBudget(rule), 0n]);
  });

  test.each(LEDGER_RULES)('of %s with a share has that much delta, and no more loss than before', (rule) => {
    const order = rule === 'rdp_fixed_order' ? createFilter(rule, budget).orderTenths : undefined;
    const { budget: amount, conversionDelta } = createLedgerFilter(rule, budget, order, 250_000);
    expect(deltaOfUnits(amount.at(-1)!)).toBeCloseTo(2.5e-6, 15);
    expect(conversionDelta).toBeCloseTo(7.5e-6, 15);
    expect(conversionDelta + deltaOfUnits(amount.at(-1)!)).toBeLessThanOrEqual(budget.delta);
    for (const [at, units] of lossBudget(rule).entries()) expect(amount[at]! <= units).toBe(true);
  });
});

describe('a ledger', () => {
  test('that reserves a share takes deltas up to it, all ledgers or none', async () => {
    const { ledger } = await freshLedger(withShare);
    for (let query = 0; query < 4; query += 1) await keys(ledger, query);
    const before = everything(ledger);
    await expect(ledger.reserve(asked(9))).rejects.toMatchObject({
      code: 'budget_exceeded',
      detail: expect.stringContaining('delta') as string,
      next: expect.stringContaining('privacy.threshold_delta_share') as string,
      facts: { ledger: 'site_lifetime' },
    });
    expect(ledger.quote(asked(9), [mechanism]).fits).toBe(false);
    expect(everything(ledger)).toEqual(before);
    // What has no delta is answered as before.
    await answer(ledger, { query: 10 });
    expect(spent(ledger)).toBe(before.delta);
    expect(deltaOfUnits(spent(ledger))).toBeLessThanOrEqual(1e-7);
  });

  test('that reserves none takes none', async () => {
    const { ledger } = await freshLedger();
    await expect(ledger.reserve(asked(1))).rejects.toMatchObject({ code: 'budget_exceeded' });
    expect(ledger.head().counter).toBe(0);
    await ledger.changeLimits(withShare, decision);
    await keys(ledger, 2);
    expect(spent(ledger)).toBeGreaterThan(0n);
  });

  test.each(LEDGER_RULES)(
    'of %s counts the same after a restart, from a checkpoint or from records',
    async (rule) => {
      const { ledger, ...fixture } = await freshLedger({ ...withShare, rule });
      for (let query = 0; query < 3; query += 1) await keys(ledger, query);
      for (let query = 10; query < 16; query += 1) await answer(ledger, { query });
      const back = await ledger.reserve(asked(20));
      if (back.status === 'reserved') await back.refund('queue_full');
      const before = everything(ledger);
      await ledger.close();
      const again = await openWith(fixture, { checkpointRecords: 4 });
      expect(everything(again)).toEqual(before);
      await again.verify();
      await again.close();
      const replayed = await openWith({
        ...fixture,
        disk: createSimulatedDisk({
          files: new Map([...fixture.disk.content()].filter(([name]) => !name.includes('checkpoint'))),
        }),
        store: createMemoryStore(),
      });
      expect(everything(replayed)).toEqual(before);
      await replayed.close();
      const report = await verifyLedger({
        folder: fixture.disk,
        dataKey: DATA_KEY,
        clock: fixture.clock,
        site: SITE,
      });
      expect(report.faults).toEqual([]);
    },
  );

  test('keeps the delta of what ends without a known outcome', async () => {
    const { ledger, ...fixture } = await freshLedger(withShare);
    const open = await ledger.reserve(asked(1));
    if (open.status === 'reserved') open.startComputing();
    const before = spent(ledger);
    await ledger.close();
    const again = await openWith(fixture);
    expect(spent(again)).toBe(before);
    expect(before).toBeGreaterThan(0n);
    await again.close();
  });

  test('keeps it through a compaction, and through a jump of the clock that is taken back', async () => {
    const { ledger, ...fixture } = await freshLedger(withShare);
    const { day } = ledger.status();
    await keys(ledger, 1);
    fixture.clock.advance(DAY_MS);
    await keys(ledger, 2);
    fixture.clock.advance(-DAY_MS);
    await ledger.undoWindow(day, decision);
    const both = ledger.readings(asked(2)).find((one) => one.ledger === 'department_day');
    expect(both?.deltaSpentUnits).toBe(spent(ledger));
    const before = everything(ledger);
    await ledger.close();
    const place = { folder: fixture.disk, dataKey: DATA_KEY, clock: fixture.clock, site: SITE };
    const { compacted } = await compactLedger(place, fixture.clock.nowMs() + 10 * DAY_MS);
    expect(compacted).toBe(true);
    const again = await openWith(fixture);
    expect(everything(again)).toEqual(before);
    await again.close();
  });

  test('whose share was lowered below what is spent refuses everything until it is raised again', async () => {
    const { ledger } = await freshLedger(withShare);
    for (let query = 0; query < 3; query += 1) await keys(ledger, query);
    await ledger.changeLimits(DEFAULT_LIMITS, decision);
    await expect(ledger.reserve(request({ query: 30 }))).rejects.toMatchObject({
      code: 'budget_exceeded',
      detail: expect.stringContaining('delta') as string,
    });
    await ledger.changeLimits(withShare, decision);
    expect((await reserved(ledger, { query: 31 })).status).toBe('reserved');
  });

  test('charges it to every data block that is read', async () => {
    const ample = { microEpsilon: microEpsilon(500_000_000), delta: '1e-3' };
    const { ledger } = await freshLedger({
      ...withShare,
      userDay: ample,
      askingSiteDay: ample,
      siteLifetime: ample,
      departmentDay: { [request().department]: ample },
      dataBlock: { microEpsilon: microEpsilon(20_000_000), delta: '1e-6' },
    });
    const ask = (query: number, blocks: readonly string[]) => ledger.reserve({ ...asked(query), blocks });
    for (let query = 0; query < 4; query += 1) await ask(query, ['2026-01']);
    await expect(ask(5, ['2026-01', '2026-02'])).rejects.toMatchObject({
      code: 'budget_exceeded',
      facts: { ledger: 'block/2026-01' },
      detail: expect.stringContaining('delta') as string,
    });
    expect((await ask(6, ['2026-02'])).status).toBe('reserved');
  });
});

describe('a restored ledger', () => {
  /** Two charges, a backup, a third, a countersigned head, a fourth; then the backup is put back. */
  const lost = async () => {
    const { ledger, ...fixture } = await freshLedger(withShare);
    for (const query of [1, 2]) await keys(ledger, query);
    const backup = fixture.disk.content();
    await keys(ledger, 3);
    const { lifetimeDeltaUnits } = ledger.status();
    const head = countersigned(ledger);
    const { costs } = ledger.quote(asked(4), [mechanism]);
    await keys(ledger, 4);
    const truth = spent(ledger);
    await ledger.close();
    const restored: Fixture = {
      ...fixture,
      disk: createSimulatedDisk({ files: backup }),
      store: createMemoryStore(),
    };
    return { restored, head, atHead: lifetimeDeltaUnits, truth, cost: costs.site_lifetime };
  };
  const restore = (fixture: Fixture, more: Partial<Parameters<typeof restoreLedger>[0]>) =>
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

  test('is raised to the delta of its countersigned head, which both have signed', async () => {
    const { restored, head, atHead } = await lost();
    expect(BigInt(head.signed.head.delta ?? '0')).toBe(atHead);
    const signers = { site: always(IDENTITY.publicKeys), coordinator: always(COORDINATOR.publicKeys) };
    expect(checkCountersigned(signers, head).delta).toBe(String(atHead));
    const { delta: _, ...without } = head.signed.head;
    const stripped = { ...head, signed: { ...head.signed, head: without } };
    expect(() => checkCountersigned(signers, stripped)).toThrow(
      expect.objectContaining({ code: 'bad_signature' }) as Error,
    );
    await restore(restored, { countersigned: [head] });
    const ledger = await openWith(restored);
    expect(spent(ledger)).toBe(atHead);
    await ledger.close();
  });

  test('with an unknown receipt counts all that is reserved as spent: never less than the truth', async () => {
    const { restored, head, truth, cost } = await lost();
    await restore(restored, { countersigned: [head], receipts: [receiptOf(4, cost)] });
    const ledger = await openWith(restored);
    expect(spent(ledger)).toBeGreaterThanOrEqual(truth);
    await ledger.stateUnknownCharges(0n, decision, 0n);
    restored.clock.advance(2 * DAY_MS);
    await expect(ledger.reserve(asked(8))).rejects.toMatchObject({
      code: 'budget_exceeded',
      detail: expect.stringContaining('delta') as string,
    });
    await ledger.close();
  });

  test('counts all that is reserved where nobody states what else was charged of it', async () => {
    const { restored, head, atHead, truth } = await lost();
    await restore(restored, { countersigned: [head] });
    const ledger = await openWith(restored);
    expect(spent(ledger)).toBe(atHead);
    await ledger.stateUnknownCharges(0n, decision);
    expect(spent(ledger)).toBeGreaterThanOrEqual(truth);
    await ledger.close();
  });
});
