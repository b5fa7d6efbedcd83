/**
 * The running sums: lifetime, and per day of UTC one sum for each user, department and asking site that spent. Days before the open window
 * are forgotten; a later day can exist after a jump of the clock was taken back, and keeps its sums for when it comes.
 */
import { assert } from '../../shared/errors.ts';
import type { DepartmentId, Pseudonym, SiteId } from '../../shared/ids.ts';
import { LEDGER_KINDS, type LedgerKind } from './limits.ts';

/** Who asks. */
export interface Asker {
  readonly sender: SiteId;
  readonly asker: Pseudonym;
  readonly department: DepartmentId;
}

export interface Charge extends Asker {
  readonly day: number;
  readonly costs: Readonly<Record<LedgerKind, bigint>>;
}

/** Which sum of a kind: the asking site, its department, or its user. */
export const accountName = (kind: LedgerKind, { sender, asker, department }: Asker): string => {
  if (kind === 'site_lifetime') return kind;
  if (kind === 'asking_site_day') return `${kind}/${sender}`;
  return `${kind}/${sender}/${kind === 'user_day' ? asker : department}`;
};

const DAY_KINDS = LEDGER_KINDS.filter((kind) => kind !== 'site_lifetime');

/** Account name → units, by UTC day number. */
export type DaySums = ReadonlyMap<number, ReadonlyMap<string, bigint>>;

/** What these charges come to, for the days from `firstDay` on. */
export const sumByDay = (charges: Iterable<Charge>, firstDay: number): DaySums => {
  const days = new Map<number, Map<string, bigint>>();
  for (const charge of charges) {
    if (charge.day < firstDay) continue;
    const sums = days.get(charge.day) ?? new Map<string, bigint>();
    days.set(charge.day, sums);
    for (const kind of DAY_KINDS) {
      const name = accountName(kind, charge);
      sums.set(name, (sums.get(name) ?? 0n) + charge.costs[kind]);
    }
  }
  return days;
};

export interface Accounts {
  /** UTC day number of the open window. */
  day(): number;
  /** Units spent on the sum this charge would fall on. */
  spent(kind: LedgerKind, asker: Asker): bigint;
  add(charge: Charge): void;
  subtract(charge: Charge): void;
  openDay(day: number): void;
  /**
   * Goes back to `day`. `sums` are those of every day from it on, by the day that charges were made on; the reopened day starts with all of
   * them together, the later ones keep their own for when they come.
   */
  undo(day: number, sums: DaySums): void;
  /** Sums of the open window, for reports: account name → units. */
  today(): ReadonlyMap<string, bigint>;
  lifetimeUnits(): bigint;
}

export const createAccounts = (firstDay: number): Accounts => {
  let open = firstDay;
  let lifetime = 0n;
  const days = new Map<number, Map<string, bigint>>();

  const sumsOf = (day: number): Map<string, bigint> => {
    const known = days.get(day);
    if (known !== undefined) return known;
    const made = new Map<string, bigint>();
    days.set(day, made);
    return made;
  };
  const change = (charge: Charge, sign: 1n | -1n): void => {
    lifetime += sign * charge.costs.site_lifetime;
    // A day that is over is not counted any more.
    const sums = charge.day < open ? undefined : sumsOf(charge.day);
    for (const kind of DAY_KINDS) {
      const name = accountName(kind, charge);
      const sum = (sums?.get(name) ?? 0n) + sign * charge.costs[kind];
      assert(sums === undefined || sum >= 0n, 'a privacy ledger never falls below zero');
      sums?.set(name, sum);
    }
    assert(lifetime >= 0n, 'a privacy ledger never falls below zero');
  };

  return {
    day: () => open,
    spent: (kind, asker) =>
      kind === 'site_lifetime' ? lifetime : (days.get(open)?.get(accountName(kind, asker)) ?? 0n),
    add: (charge) => change(charge, 1n),
    subtract: (charge) => change(charge, -1n),
    openDay(day) {
      assert(day > open, 'a window opens on a later day');
      open = day;
      for (const past of days.keys()) if (past < day) days.delete(past);
    },
    undo(day, sums) {
      assert(day < open, 'a jump is taken back to an earlier day');
      open = day;
      days.clear();
      const together = sumsOf(day);
      for (const [each, ofDay] of sums) {
        if (each !== day) days.set(each, new Map(ofDay));
        for (const [name, units] of ofDay) together.set(name, (together.get(name) ?? 0n) + units);
      }
    },
    today: () => days.get(open) ?? new Map(),
    lifetimeUnits: () => lifetime,
  };
};
