/**
 * What the records come to. Replay at start and the running ledger go through the same `apply`, so what is counted after a restart is
 * what was counted before it.
 */
import { assert } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import { type Accounts, type Charge, createAccounts, type DaySums } from './accounts.ts';
import type { Ended } from './answer-index.ts';
import { createPolicy, LEDGER_KINDS, type LedgerKind, type Policy } from './limits.ts';
import { keyText, type LedgerRecord, type ReservedRecord } from './records.ts';

/** Where a record stands. */
export interface Position {
  readonly counter: number;
  readonly offset: number;
  readonly hash: Uint8Array;
}

/** A reservation whose end is not written yet. */
export interface OpenReservation {
  readonly key: string;
  readonly charge: Charge;
  readonly position: Position;
}

/** Every how many records the offset is remembered, so that a page of history starts near its place. */
export const OFFSET_STRIDE = 256;

export interface LedgerState {
  /** Returns the query that this record ended, if it did. */
  apply(record: LedgerRecord, position: Position): Ended | undefined;
  accounts(): Accounts;
  policy(): Policy;
  site(): SiteId;
  /** The latest day that two clocks agreed on; an undo does not go below it. */
  confirmedDay(): number;
  /** By counter of the reservation. */
  readonly open: ReadonlyMap<number, OpenReservation>;
  /** Offset of the last remembered record at or before this one. */
  offsetNear(counter: number): { readonly counter: number; readonly offset: number };
}

export const chargeOf = (record: ReservedRecord): Charge => ({
  sender: record.sender,
  asker: record.asker,
  department: record.department,
  day: record.day,
  costs: Object.fromEntries(LEDGER_KINDS.map((kind) => [kind, BigInt(record.costs[kind])])) as Record<
    LedgerKind,
    bigint
  >,
});

const daySums = (entries: readonly (readonly [number, string, string])[]): DaySums => {
  const days = new Map<number, Map<string, bigint>>();
  for (const [day, name, units] of entries) {
    const sums = days.get(day) ?? new Map<string, bigint>();
    days.set(day, sums.set(name, BigInt(units)));
  }
  return days;
};

interface Begun {
  readonly site: SiteId;
  readonly accounts: Accounts;
  policy: Policy;
  confirmedDay: number;
}

export const createState = (): LedgerState => {
  let begun: Begun | undefined;
  const open = new Map<number, OpenReservation>();
  const offsets: number[] = [];

  const known = (): Begun => {
    assert(begun !== undefined, 'the first record of a ledger is its genesis');
    return begun;
  };

  const end = (counter: number): OpenReservation => {
    const reservation = open.get(counter);
    assert(reservation !== undefined, 'a record ends a reservation that is open');
    open.delete(counter);
    return reservation;
  };

  const ended = (reserved: number, outcome: 'committed' | 'unknown', offset: number): Ended => {
    const { key, position } = end(reserved);
    return { key, place: { outcome, offset, reservedOffset: position.offset } };
  };

  const openWindow = (day: number, confirmed: boolean): void => {
    const ledger = known();
    ledger.accounts.openDay(day);
    if (confirmed) ledger.confirmedDay = day;
  };

  const begin = (record: LedgerRecord & { type: 'genesis' }): void => {
    assert(begun === undefined, 'a ledger has one genesis');
    begun = {
      site: record.site,
      accounts: createAccounts(record.day),
      policy: createPolicy(record.limits, record.orders),
      confirmedDay: 0,
    };
  };

  const reserve = (record: ReservedRecord, position: Position): void => {
    const charge = chargeOf(record);
    known().accounts.add(charge);
    open.set(position.counter, { key: keyText(record), charge, position });
  };

  const apply = (record: LedgerRecord, position: Position): Ended | undefined => {
    if (position.counter % OFFSET_STRIDE === 0) offsets.push(position.offset);
    if (record.type === 'genesis') begin(record);
    else if (record.type === 'reserved') reserve(record, position);
    else if (record.type === 'committed' || record.type === 'unknown')
      return ended(record.reserved, record.type, position.offset);
    else if (record.type === 'refunded') known().accounts.subtract(end(record.reserved).charge);
    else if (record.type === 'window') openWindow(record.day, record.cause === 'confirmed');
    else if (record.type === 'undo') known().accounts.undo(record.day, daySums(record.sums));
    else known().policy = createPolicy(record.limits, record.orders);
    return undefined;
  };

  return {
    apply,
    accounts: () => known().accounts,
    policy: () => known().policy,
    site: () => known().site,
    confirmedDay: () => known().confirmedDay,
    open,
    offsetNear(counter) {
      const slot = Math.floor(counter / OFFSET_STRIDE);
      const offset = offsets[slot];
      assert(offset !== undefined, 'every record up to the head has a remembered offset before it');
      return { counter: slot * OFFSET_STRIDE, offset };
    },
  };
};
