/**
 * What the records come to. Replay at start and the running ledger go through the same `apply`, so what is counted after a restart is
 * what was counted before it. The whole of it can be written down (`toText`) and taken up again at that record.
 */
import { z } from 'zod';
import { assert } from '../../shared/errors.ts';
import { DepartmentId, Pseudonym, SiteId } from '../../shared/ids.ts';
import { fromHex, toHex } from '../../shared/bytes.ts';
import { type Accounts, AccountsText, type Charge, createAccounts, daySumsOfText } from './accounts.ts';
import { amountOfText, AmountText, amountToText } from './amount.ts';
import type { Ended } from './answer-index.ts';
import { amountLength } from './filters.ts';
import { createPolicy, LedgerLimits, Orders, type Policy } from './limits.ts';
import { chargeOf, CountersignedFacts, keyText, type LedgerRecord, type ReservedRecord } from './records.ts';

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

const OpenText = z.strictObject({
  key: z.string(),
  sender: SiteId,
  asker: Pseudonym,
  department: DepartmentId,
  day: z.int(),
  costs: z.strictObject({
    site_lifetime: AmountText,
    asking_site_day: AmountText,
    department_day: AmountText,
    user_day: AmountText,
  }),
  blocks: z.array(z.string()),
  counter: z.int(),
  offset: z.int(),
  hash: z.string(),
});

/** A state as it stands in checkpoints; sums in plain digits. */
export const StateText = z.strictObject({
  site: SiteId,
  limits: LedgerLimits,
  orders: Orders,
  accounts: AccountsText,
  confirmedDay: z.int(),
  epoch: z.int(),
  superseded: CountersignedFacts.nullable(),
  open: z.array(OpenText),
});
export type StateText = z.infer<typeof StateText>;

/** Offsets of the remembered records: of `first`, and of each later one whose counter the stride divides. */
export interface Offsets {
  readonly first: number;
  readonly offsets: readonly number[];
}

export interface LedgerState {
  /** Returns the query that this record ended, if it did. */
  apply(record: LedgerRecord, position: Position): Ended | undefined;
  accounts(): Accounts;
  policy(): Policy;
  site(): SiteId;
  /** The latest day that two clocks agreed on; an undo does not go below it. */
  confirmedDay(): number;
  /** How often this ledger was restored. */
  epoch(): number;
  /** The newest countersigned head that the last restore took into account: those up to it need not be in the journal. */
  superseded(): CountersignedFacts | null;
  /** By counter of the reservation. */
  readonly open: ReadonlyMap<number, OpenReservation>;
  /** Offset of the last remembered record at or before this one. */
  offsetNear(counter: number): { readonly counter: number; readonly offset: number };
  /** The first record that the journal still holds. */
  firstCounter(): number;
  toText(): StateText;
  offsets(): Offsets;
}

interface Begun {
  readonly site: SiteId;
  readonly accounts: Accounts;
  policy: Policy;
  confirmedDay: number;
  epoch: number;
  superseded: CountersignedFacts | null;
}

const begunFrom = (text: StateText): Begun => ({
  site: text.site,
  accounts: createAccounts(amountLength(text.limits.rule), text.accounts),
  policy: createPolicy(text.limits, text.orders),
  confirmedDay: text.confirmedDay,
  epoch: text.epoch,
  superseded: text.superseded,
});

const openFrom = ({
  key,
  counter,
  offset,
  hash,
  costs,
  ...who
}: StateText['open'][number]): OpenReservation => ({
  key,
  charge: {
    ...who,
    costs: {
      site_lifetime: amountOfText(costs.site_lifetime),
      asking_site_day: amountOfText(costs.asking_site_day),
      department_day: amountOfText(costs.department_day),
      user_day: amountOfText(costs.user_day),
    },
  },
  position: { counter, offset, hash: fromHex(hash) },
});

const openToText = ({ key, charge, position }: OpenReservation): StateText['open'][number] => ({
  key,
  sender: charge.sender,
  asker: charge.asker,
  department: charge.department,
  day: charge.day,
  costs: {
    site_lifetime: amountToText(charge.costs.site_lifetime),
    asking_site_day: amountToText(charge.costs.asking_site_day),
    department_day: amountToText(charge.costs.department_day),
    user_day: amountToText(charge.costs.user_day),
  },
  blocks: [...charge.blocks],
  counter: position.counter,
  offset: position.offset,
  hash: toHex(position.hash),
});

/** @param from a state written down before; the next record applied is the one after it. */
export const createState = (from?: { readonly text: StateText; readonly offsets: Offsets }): LedgerState => {
  let begun = from === undefined ? undefined : begunFrom(from.text);
  const open = new Map<number, OpenReservation>();
  for (const text of from?.text.open ?? []) open.set(text.counter, openFrom(text));
  let first = from?.offsets.first;
  const offsets: number[] = [...(from?.offsets.offsets ?? [])];

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
      accounts: createAccounts(amountLength(record.limits.rule), record.day),
      policy: createPolicy(record.limits, record.orders),
      confirmedDay: 0,
      epoch: 0,
      superseded: null,
    };
  };

  const reserve = (record: ReservedRecord, position: Position): void => {
    const charge = chargeOf(record);
    known().accounts.add(charge);
    open.set(position.counter, { key: keyText(record), charge, position });
  };

  const restored = (record: LedgerRecord & { type: 'restored' }): void => {
    const ledger = known();
    assert(record.epoch > ledger.epoch, 'a restore begins a later epoch');
    ledger.epoch = record.epoch;
    ledger.superseded = record.countersigned;
    ledger.accounts.addLifetime(amountOfText(record.raise));
    // Between the journal that was restored and its loss anything may have been charged that nobody can show.
    ledger.accounts.closeLifetime(true);
    ledger.accounts.closeDay();
  };

  const stated = (record: LedgerRecord & { type: 'statement' }): void => {
    known().accounts.addLifetime(amountOfText(record.raise));
    known().accounts.closeLifetime(false);
  };

  const changeLimits = ({ limits, orders }: LedgerRecord & { type: 'limits' }): void => {
    const ledger = known();
    if (ledger.policy.limits.dataBlock === undefined && limits.dataBlock !== undefined)
      ledger.accounts.beginBlocks();
    ledger.policy = createPolicy(limits, orders);
  };

  const remember = ({ counter, offset }: Position): void => {
    first ??= counter;
    if (counter === first || counter % OFFSET_STRIDE === 0) offsets.push(offset);
  };

  /** Everything that neither begins nor answers a query. */
  const change = (record: Exclude<LedgerRecord, { type: 'reserved' | 'committed' | 'unknown' }>): void => {
    if (record.type === 'genesis') begin(record);
    else if (record.type === 'refunded') known().accounts.subtract(end(record.reserved).charge);
    else if (record.type === 'window') openWindow(record.day, record.cause === 'confirmed');
    else if (record.type === 'undo') known().accounts.undo(record.day, daySumsOfText(record.sums));
    else if (record.type === 'limits') changeLimits(record);
    else if (record.type === 'retired') known().accounts.retire(record.block);
    else if (record.type === 'receipt') known().accounts.addLifetime(amountOfText(record.raise));
    else if (record.type === 'restored') restored(record);
    else stated(record);
  };

  const apply = (record: LedgerRecord, position: Position): Ended | undefined => {
    remember(position);
    if (record.type === 'committed' || record.type === 'unknown')
      return ended(record.reserved, record.type, position.offset);
    if (record.type === 'reserved') reserve(record, position);
    else change(record);
    return undefined;
  };

  return {
    apply,
    accounts: () => known().accounts,
    policy: () => known().policy,
    site: () => known().site,
    confirmedDay: () => known().confirmedDay,
    epoch: () => known().epoch,
    superseded: () => known().superseded,
    open,
    offsetNear(counter) {
      assert(first !== undefined && counter >= first, 'only a record that the journal holds is looked for');
      const slot = Math.floor(counter / OFFSET_STRIDE) - Math.floor(first / OFFSET_STRIDE);
      const offset = offsets[slot];
      assert(offset !== undefined, 'every record up to the head has a remembered offset before it');
      return { counter: Math.max(first, Math.floor(counter / OFFSET_STRIDE) * OFFSET_STRIDE), offset };
    },
    firstCounter: () => first ?? 0,
    toText() {
      const { site, accounts, policy, confirmedDay, epoch, superseded } = known();
      return {
        site,
        limits: policy.limits,
        orders: policy.orders,
        accounts: accounts.toText(),
        confirmedDay,
        epoch,
        superseded,
        open: [...open.values()].map(openToText),
      };
    },
    offsets: () => ({ first: first ?? 0, offsets }),
  };
};
