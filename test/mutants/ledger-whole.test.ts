/** More faults that the ledger's checks must catch: order of work, filters, checkpoints, restores, heads. */
import { always } from '../../shared/crypto/signature.ts';
import { describe, expect, test } from 'vitest';
import { CHECKPOINT_NAMES, isOfJournal, readCheckpoints } from '../../agent/budget/checkpoint.ts';
import { fits as ledgerFits, createLedgerFilter, type LedgerFilter } from '../../agent/budget/filters.ts';
import type { Amount } from '../../agent/budget/amount.ts';
import { DEFAULT_LIMITS, type Ledger, type Reservation } from '../../agent/budget/ledger.ts';
import { restoreLedger, verifyReceipts } from '../../agent/budget/restore.ts';
import { scalarOf } from '../../agent/budget/filters.ts';
import { createState } from '../../agent/budget/state.ts';
import { DAY_MS } from '../../shared/clock.ts';
import { curveCost } from '../../shared/privacy/curve-filter.ts';
import { parseEpsilon } from '../../shared/privacy/epsilon.ts';
import { discreteGaussian } from '../../shared/privacy/mechanism.ts';
import { rational } from '../../shared/privacy/rational.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import {
  answer,
  DATA_KEY,
  type Fixture,
  freshLedger,
  openWith,
  request,
  reserved,
  SITE,
  testClock,
} from '../unit/budget/fixture.ts';
import { countersigned, IDENTITY, receiptOf } from '../unit/budget/outside.ts';
import { createSimulatedDisk } from '../unit/budget/simulated-disk.ts';

type Serve = (ledger: Ledger, read: () => void) => Promise<void>;

const reserveFirst: Serve = async (ledger, read) => {
  const seat = await reserved(ledger, { query: 1 });
  seat.startComputing();
  read();
  await seat.commit(Buffer.from('answer'));
};
const computeFirst: Serve = async (ledger, read) => {
  read();
  const seat = await reserved(ledger, { query: 1 });
  seat.startComputing();
  await seat.commit(Buffer.from('answer'));
};

/** The power goes while the data is being read: is that read paid for after the restart? */
const readIsPaid = async (serve: Serve): Promise<boolean> => {
  const { ledger, disk, clock } = await freshLedger();
  let files: Map<string, Uint8Array> | undefined;
  await serve(ledger, () => {
    files = disk.afterPowerCut('none');
  });
  const after = await openWith({
    disk: createSimulatedDisk({ files: files! }),
    clock,
    store: createMemoryStore(),
  });
  const { lifetimeUnits } = after.status();
  await after.close();
  return lifetimeUnits > 0n;
};

describe('reserve, then compute', () => {
  test('the other way round: what was read in the moment of a power cut is not paid for', async () => {
    expect(await readIsPaid(reserveFirst)).toBe(true);
    expect(await readIsPaid(computeFirst)).toBe(false);
  });
});

/** Given back after the data was read: is the charge still there? */
const keepsChargeOfStarted = async (end: (seat: Reservation) => Promise<void>): Promise<boolean> => {
  const { ledger } = await freshLedger();
  const seat = await reserved(ledger, { query: 1 });
  await end(seat).catch(() => undefined);
  return ledger.status().lifetimeUnits === seat.spendUnits;
};

describe('a refund', () => {
  test('after the start is refused; a start that is not told lets it through', async () => {
    expect(
      await keepsChargeOfStarted(async (seat) => {
        seat.startComputing();
        await seat.refund('cancelled_before_start');
      }),
    ).toBe(true);
    expect(await keepsChargeOfStarted((seat) => seat.refund('cancelled_before_start'))).toBe(false);
  });
});

type Fits = (filter: LedgerFilter, spent: Amount, cost: Amount) => boolean;
/** Valid only for a plan fixed in advance. */
const someOrderFits: Fits = (filter, spent, cost) =>
  filter.budget.some((units, at) => spent[at]! + cost[at]! <= units);

/** Costs chosen in turn, of different shapes: does no order ever pass its budget? */
const everyOrderHolds = (fits: Fits): boolean => {
  const filter = createLedgerFilter('rdp_curve', { epsilon: parseEpsilon('3'), delta: 1e-5 }, undefined);
  const costs = [
    [...curveCost(request().mechanisms[0]!), 0n],
    [...curveCost(discreteGaussian(rational(1n), rational(100n))), 0n],
  ];
  let spent: Amount = filter.budget.map(() => 0n);
  for (let at = 0; at < 2_000; at += 1) {
    const cost = costs[at % 2]!;
    if (fits(filter, spent, cost)) spent = spent.map((units, order) => units + cost[order]!);
  }
  return spent.every((units, at) => units <= filter.budget[at]!);
};

describe('the filter over all orders', () => {
  test('that accepts when some order still fits passes the budget of others', () => {
    expect(everyOrderHolds(ledgerFits)).toBe(true);
    expect(everyOrderHolds(someOrderFits)).toBe(false);
  });
});

/** Two histories of one ledger: little spent, much spent; the checkpoint of the first beside the journal of the second. */
const mixedHistories = async () => {
  const { ledger, ...fixture } = await freshLedger();
  await answer(ledger, { query: 1 });
  await ledger.close();
  const little: Fixture = {
    ...fixture,
    disk: createSimulatedDisk({ files: fixture.disk.content() }),
    store: createMemoryStore(),
  };
  const spend = async (on: Fixture, epsilon: string): Promise<bigint> => {
    const running = await openWith(on, { checkpointRecords: 4 });
    for (let query = 10; query < 20; query += 1) await answer(running, { query, epsilon });
    const { lifetimeUnits } = running.status();
    await running.close();
    return lifetimeUnits;
  };
  await spend(little, '0.01');
  const truth = await spend(fixture, '0.2');
  const files = fixture.disk.content();
  for (const name of CHECKPOINT_NAMES) files.set(name, little.disk.content().get(name)!);
  return { fixture: { ...fixture, disk: createSimulatedDisk({ files }) }, truth };
};

describe('a checkpoint', () => {
  test('trusted without looking into the journal: an older or another history gives budget back', async () => {
    const { fixture, truth } = await mixedHistories();
    const [newest] = await readCheckpoints({ folder: fixture.disk, dataKey: DATA_KEY, site: SITE });
    const { checkpoint } = newest!;
    // The mutant: what it says is taken as it stands.
    const trusted = createState({ text: checkpoint.state, offsets: checkpoint.offsets });
    expect(scalarOf('rdp_fixed_order', trusted.accounts().lifetime()) >= truth).toBe(false);
    // The check that it leaves out.
    const journal = await fixture.disk.open('ledger.journal');
    expect(await isOfJournal(journal!, checkpoint).catch(() => false)).toBe(false);
    const ledger = await openWith(fixture);
    expect(ledger.status().lifetimeUnits >= truth).toBe(true);
    await ledger.close();
  });
});

/** The files of an earlier day are put back, all of them: is that noticed? */
const noticesWholeRollback = async (keepsHead: boolean): Promise<boolean> => {
  const { ledger, ...fixture } = await freshLedger();
  await answer(ledger, { query: 1 });
  const old = fixture.disk.content();
  await answer(ledger, { query: 2 });
  const head = countersigned(ledger);
  await ledger.close();
  const copy: Fixture = { ...fixture, disk: createSimulatedDisk({ files: old }), store: createMemoryStore() };
  if (keepsHead) {
    const early = await openWith(copy);
    await early.keepCountersigned(head);
    await early.close();
  }
  return await openWith(copy).then(
    () => false,
    () => true,
  );
};

describe('a rollback of the whole home', () => {
  test('is seen only by the countersigned head', async () => {
    expect(await noticesWholeRollback(true)).toBe(true);
    expect(await noticesWholeRollback(false)).toBe(false);
  });
});

type Verify = typeof verifyReceipts;
/** The last receipt of a query wins, whatever it says. */
const lastWins: Verify = (values, site, identity) => {
  const found = new Map(verifyReceipts([], site, identity));
  for (const value of values)
    for (const [name, receipt] of verifyReceipts([value], site, identity)) found.set(name, receipt);
  return found;
};

describe('merging receipts', () => {
  const most = (verify: Verify): bigint => {
    const [receipt] = verify(
      [receiptOf(1, 900n), receiptOf(1, 1n)],
      SITE,
      always(IDENTITY.publicKeys),
    ).values();
    return BigInt(receipt!.spend);
  };

  test('of which the last counts: a small one hides a large one', () => {
    expect(most(verifyReceipts)).toBe(900n);
    expect(most(lastWins)).toBe(1n);
  });

  test('can only raise: small and unknown ones, and a small countersigned head, leave the sum as it is or higher', async () => {
    const { ledger, ...fixture } = await freshLedger();
    const small = countersigned(ledger);
    for (const query of [1, 2, 3]) await answer(ledger, { query });
    const before = ledger.status().lifetimeUnits;
    await ledger.close();
    const report = await restoreLedger({
      folder: fixture.disk,
      dataKey: DATA_KEY,
      clock: fixture.clock,
      site: SITE,
      identities: always(IDENTITY.publicKeys),
      receipts: [receiptOf(1, 1n), receiptOf(2, 0n)],
      countersigned: [small],
      decision: { by: 'a', reason: 'b' },
    });
    expect(report.spentAfterUnits >= before).toBe(true);
    // The mutant takes the head's word for the sum.
    expect(BigInt(small.signed.head.units) >= before).toBe(false);
  });
});

/** The clock goes a day ahead and back, again and again: how much does one user get in all? */
const answeredUnderJumpingClock = async (confirms: boolean): Promise<number> => {
  const { ledger, ...fixture } = await freshLedger({
    ...DEFAULT_LIMITS,
    userDay: { microEpsilon: parseEpsilon('1'), delta: '1e-5' },
  });
  await ledger.close();
  const clock = testClock();
  const running = await openWith(
    { ...fixture, clock },
    confirms ? { confirmedDay: () => Math.floor(clock.wallMs / DAY_MS) } : {},
  );
  let answered = 0;
  for (let query = 0; query < 60; query += 1) {
    clock.wallMs += query % 2 === 0 ? DAY_MS : -DAY_MS;
    answered += await reserved(running, { query }).then(
      () => 1,
      () => 0,
    );
    // Only a mutant listens to the local clock as if the coordinator had confirmed it.
    if (confirms) clock.wallMs += DAY_MS;
  }
  await running.close();
  return answered;
};

describe('the window', () => {
  test('reopened by the clock: a user draws more than a day holds', async () => {
    const honest = await answeredUnderJumpingClock(false);
    expect(await answeredUnderJumpingClock(true)).toBeGreaterThan(honest);
    const { ledger } = await freshLedger({
      ...DEFAULT_LIMITS,
      userDay: { microEpsilon: parseEpsilon('1'), delta: '1e-5' },
    });
    let oneDay = 0;
    for (let query = 0; query < 60; query += 1)
      oneDay += await reserved(ledger, { query }).then(
        () => 1,
        () => 0,
      );
    expect(honest).toBe(oneDay);
  });
});
