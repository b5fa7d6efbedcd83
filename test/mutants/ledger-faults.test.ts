/** Faults that the ledger's checks must catch: each check passes on the real thing and fails on the mutant. */
import { describe, expect, test } from 'vitest';
import type { DurableFile } from '../../agent/budget/disk.ts';
import type { Reservation } from '../../agent/budget/ledger.ts';
import { decideWindow, type WindowDecision, type WindowInput } from '../../agent/budget/window.ts';
import { parseEpsilon } from '../../shared/privacy/epsilon.ts';
import { admits, costUnits, createFilter } from '../../shared/privacy/filter.ts';
import type { Mechanism } from '../../shared/privacy/mechanism.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { Store } from '../../shared/store/port.ts';
import {
  answer,
  freshLedger,
  newFixture,
  openWith,
  request,
  reserved,
  spentUnits,
  testClock,
} from '../unit/budget/fixture.ts';
import { createSimulatedDisk, type SimulatedDisk } from '../unit/budget/simulated-disk.ts';

/** Two queries are answered, the power goes: is everything that was told still there? */
const survivesPowerCut = async (disk: SimulatedDisk): Promise<boolean> => {
  try {
    const fixture = await newFixture(disk);
    const ledger = await openWith(fixture);
    await answer(ledger, { query: 1 });
    const told = spentUnits(ledger)['site_lifetime']!;
    const files = disk.afterPowerCut('none');
    const after = await openWith({
      ...fixture,
      disk: createSimulatedDisk({ files }),
      store: createMemoryStore(),
    });
    return spentUnits(after)['site_lifetime']! >= told;
  } catch {
    return false;
  }
};

const lying = (file: DurableFile): DurableFile => ({ ...file, sync: () => Promise.resolve() });

describe('fsync', () => {
  test('skipped: a told spend is gone after a power cut', async () => {
    expect(await survivesPowerCut(createSimulatedDisk())).toBe(true);
    expect(await survivesPowerCut(createSimulatedDisk({ syncsLie: true }))).toBe(false);
  });

  test('of the journal alone skipped: caught as well', async () => {
    const disk = createSimulatedDisk();
    const mutant: SimulatedDisk = {
      ...disk,
      open: async (name) => {
        const file = await disk.open(name);
        return file === undefined || name !== 'ledger.journal' ? file : lying(file);
      },
    };
    expect(await survivesPowerCut(mutant)).toBe(false);
  });
});

/** The journal is put back to an earlier state: does it open with less spent than was told? */
const refusesRollback = async (anchorIgnored: boolean): Promise<boolean> => {
  const { ledger, disk } = await freshLedger();
  await answer(ledger, { query: 1 });
  const earlier = disk.content();
  await answer(ledger, { query: 2 });
  const told = spentUnits(ledger)['site_lifetime']!;
  const files = new Map([...disk.content(), ['ledger.journal', earlier.get('ledger.journal')!]]);
  // Without an anchor any journal is as far as it should be: its own end is taken for the mark.
  if (anchorIgnored) files.set('ledger.mark', earlier.get('ledger.mark')!);
  try {
    const after = await openWith({
      disk: createSimulatedDisk({ files }),
      clock: testClock(),
      store: createMemoryStore(),
    });
    return spentUnits(after)['site_lifetime']! >= told;
  } catch {
    return true;
  }
};

describe('the anchor', () => {
  test('ignored: a rolled-back journal opens with spent budget given back', async () => {
    expect(await refusesRollback(false)).toBe(true);
    expect(await refusesRollback(true)).toBe(false);
  });
});

/** A run has started: is a refund refused? */
const refusesLateRefund = async (mutate: (seat: Reservation) => Reservation): Promise<boolean> => {
  const { ledger } = await freshLedger();
  const seat = mutate(await reserved(ledger, { query: 1 }));
  seat.startComputing();
  return await seat.refund('backend_absent').then(
    () => false,
    () => true,
  );
};

describe('refunds', () => {
  test('after the start allowed: budget comes back although the data was read', async () => {
    expect(await refusesLateRefund((seat) => seat)).toBe(true);
    expect(await refusesLateRefund((seat) => ({ ...seat, startComputing: () => undefined }))).toBe(false);
  });
});

/** The same query again: the same bytes and no new spend? */
const repeatIsFree = async (mutate: (store: Store) => Store): Promise<boolean> => {
  const { store, ledger, ...rest } = await freshLedger();
  await ledger.close();
  const again = await openWith({ ...rest, store: mutate(store) });
  await answer(again, { query: 1 });
  // The index gets it behind the answer.
  await new Promise((resolve) => setTimeout(resolve, 20));
  const before = spentUnits(again)['site_lifetime'];
  const repeat = await again.reserve(request({ query: 1 }));
  return repeat.status === 'answered' && spentUnits(again)['site_lifetime'] === before;
};

describe('repeats', () => {
  test('counted as new: noise could be averaged away', async () => {
    expect(await repeatIsFree((store) => store)).toBe(true);
    expect(await repeatIsFree((store) => ({ ...store, get: () => Promise.resolve(undefined) }))).toBe(false);
  });
});

const acceptedCounts = (price: (mechanism: Mechanism) => bigint): number => {
  const filter = createFilter('rdp_fixed_order', { epsilon: parseEpsilon('10'), delta: 1e-5 });
  const cost = price(request().mechanisms[0]!);
  let spent = 0n;
  let accepted = 0;
  for (; admits(filter, spent, cost); accepted += 1) spent += cost;
  return accepted;
};

describe('costs', () => {
  const filter = createFilter('rdp_fixed_order', { epsilon: parseEpsilon('10'), delta: 1e-5 });

  test('halved: twice as many queries pass', () => {
    expect(acceptedCounts((mechanism) => costUnits(mechanism, filter))).toBe(361);
    expect(acceptedCounts((mechanism) => costUnits(mechanism, filter) / 2n)).not.toBe(361);
  });
});

type Decide = (input: WindowInput) => WindowDecision;

const back: Decide = ({ day, clockDay }) =>
  clockDay === day ? { step: 'stay' } : { step: 'open', day: clockDay, cause: 'uptime' };

const ahead: Decide = (input) => decideWindow({ ...input, sinceOpenedMs: Infinity });

/** The clock goes to and fro over midnight: is no day opened twice, and none opened on the local clock's word alone? */
const windowsHold = (decide: Decide): boolean => {
  let day = 100;
  let opened = 0;
  for (let at = 0; at < 50; at += 1) {
    const decision = decide({
      day,
      clockDay: at % 2 === 0 ? 101 : 99,
      confirmedDay: undefined,
      sinceOpenedMs: 1_000,
    });
    if (decision.step !== 'open') continue;
    if (decision.day <= day) return false;
    day = decision.day;
    opened += 1;
  }
  return opened === 0;
};

describe('the window', () => {
  test('following the clock back: days are reopened', () => {
    expect(windowsHold(decideWindow)).toBe(true);
    expect(windowsHold(back)).toBe(false);
  });

  test('following the clock ahead without uptime or confirmation: caught', () => {
    expect(windowsHold(ahead)).toBe(false);
  });
});
