/**
 * The running sums: lifetime, one per data block, and per day of UTC one for each user, department and asking site that spent. Days before
 * the open window are forgotten; a later day can exist after a jump of the clock was taken back, and keeps its sums for when it comes.
 */
import { z } from 'zod';
import { assert } from '../../shared/errors.ts';
import type { DepartmentId, Pseudonym, SiteId } from '../../shared/ids.ts';
import { addTo, type Amount, amountOfText, AmountText, amountToText, noAmount, takeFrom } from './amount.ts';
import { LEDGER_KINDS, type LedgerKind } from './limits.ts';

/** Who asks. */
export interface Asker {
  readonly sender: SiteId;
  readonly asker: Pseudonym;
  readonly department: DepartmentId;
}

export interface Charge extends Asker {
  readonly day: number;
  readonly costs: Readonly<Record<LedgerKind, Amount>>;
  /** The data blocks that are read, each charged what the lifetime sum is; none where blocks are off. */
  readonly blocks: readonly string[];
}

/** Which sum of a kind: the asking site, its department, or its user. */
export const accountName = (kind: LedgerKind, { sender, asker, department }: Asker): string => {
  if (kind === 'site_lifetime') return kind;
  if (kind === 'asking_site_day') return `${kind}/${sender}`;
  return `${kind}/${sender}/${kind === 'user_day' ? asker : department}`;
};

const DAY_KINDS = LEDGER_KINDS.filter((kind) => kind !== 'site_lifetime');

/** Account name → spent, by UTC day number. */
export type DaySums = ReadonlyMap<number, ReadonlyMap<string, Amount>>;

const sumIn = (sums: Map<string, bigint[]>, name: string, length: number): bigint[] => {
  const known = sums.get(name);
  if (known !== undefined) return known;
  const made = noAmount(length);
  sums.set(name, made);
  return made;
};

/** What these charges come to, for the days from `firstDay` on. */
export const sumByDay = (charges: Iterable<Charge>, firstDay: number): DaySums => {
  const days = new Map<number, Map<string, bigint[]>>();
  for (const charge of charges) {
    if (charge.day < firstDay) continue;
    const sums = days.get(charge.day) ?? new Map<string, bigint[]>();
    days.set(charge.day, sums);
    for (const kind of DAY_KINDS) {
      const cost = charge.costs[kind];
      addTo(sumIn(sums, accountName(kind, charge), cost.length), cost);
    }
  }
  return days;
};

export const DaySumTexts = z.array(z.tuple([z.int().nonnegative(), z.string(), AmountText]));
export type DaySumTexts = z.infer<typeof DaySumTexts>;

export const daySumsToText = (sums: DaySums): DaySumTexts =>
  [...sums].flatMap(([day, ofDay]) =>
    [...ofDay].map(([name, spent]): DaySumTexts[number] => [day, name, amountToText(spent)]),
  );
export const daySumsOfText = (entries: DaySumTexts): DaySums => {
  const days = new Map<number, Map<string, Amount>>();
  for (const [day, name, spent] of entries) {
    const sums = days.get(day) ?? new Map<string, Amount>();
    days.set(day, sums.set(name, amountOfText(spent)));
  }
  return days;
};

export const AccountsText = z.strictObject({
  day: z.int().nonnegative(),
  lifetime: AmountText,
  lifetimeClosed: z.boolean(),
  dayClosed: z.int().nullable(),
  days: DaySumTexts,
  blocks: z.array(z.tuple([z.string(), AmountText])),
  unattributed: AmountText,
  retired: z.array(z.string()),
});
export type AccountsText = z.infer<typeof AccountsText>;

export interface Accounts {
  /** UTC day number of the open window. */
  day(): number;
  /** Spent on the sum this charge would fall on. */
  spent(kind: LedgerKind, asker: Asker): Amount;
  spentOnBlock(block: string): Amount;
  isRetired(block: string): boolean;
  /** After a restore: charges may be missing that nobody can name, so nothing more is admitted on this kind. */
  isClosed(kind: LedgerKind): boolean;
  add(charge: Charge): void;
  subtract(charge: Charge): void;
  openDay(day: number): void;
  /**
   * Goes back to `day`. `sums` are those of every day from it on, by the day that charges were made on; the reopened day starts with all of
   * them together, the later ones keep their own for when they come.
   */
  undo(day: number, sums: DaySums): void;
  /** Spent in ways that no reservation of this journal shows. Nobody knows which blocks it read, so each of them carries it. */
  addLifetime(amount: Amount): void;
  /** Data blocks begin: what was charged without them may have read any of them. */
  beginBlocks(): void;
  closeLifetime(closed: boolean): void;
  closeDay(): void;
  retire(block: string): void;
  /** Sums of the open window, for reports: account name → spent. */
  today(): ReadonlyMap<string, Amount>;
  lifetime(): Amount;
  toText(): AccountsText;
}

/** @param length of every amount. @param from the first day, or sums as `toText` gave them. */
export const createAccounts = (length: number, from: number | AccountsText): Accounts => {
  const first = typeof from === 'number' ? undefined : from;
  let open = typeof from === 'number' ? from : from.day;
  const lifetime = first === undefined ? noAmount(length) : amountOfText(first.lifetime);
  let lifetimeClosed = first?.lifetimeClosed ?? false;
  let dayClosed = first?.dayClosed ?? null;
  const days = new Map<number, Map<string, bigint[]>>();
  const blocks = new Map<string, bigint[]>();
  const retired = new Set(first?.retired);
  const nothing: Amount = noAmount(length);
  const unattributed = first === undefined ? noAmount(length) : amountOfText(first.unattributed);

  const sumsOf = (day: number): Map<string, bigint[]> => {
    const known = days.get(day);
    if (known !== undefined) return known;
    const made = new Map<string, bigint[]>();
    days.set(day, made);
    return made;
  };
  for (const [day, name, spent] of first?.days ?? []) sumsOf(day).set(name, amountOfText(spent));
  for (const [block, spent] of first?.blocks ?? []) blocks.set(block, amountOfText(spent));

  const change = (charge: Charge, apply: (sum: bigint[], amount: Amount) => void): void => {
    apply(lifetime, charge.costs.site_lifetime);
    for (const block of charge.blocks) apply(sumIn(blocks, block, length), charge.costs.site_lifetime);
    // A day that is over is not counted any more.
    if (charge.day < open) return;
    const sums = sumsOf(charge.day);
    for (const kind of DAY_KINDS) apply(sumIn(sums, accountName(kind, charge), length), charge.costs[kind]);
  };

  return {
    day: () => open,
    spent: (kind, asker) =>
      kind === 'site_lifetime' ? lifetime : (days.get(open)?.get(accountName(kind, asker)) ?? nothing),
    spentOnBlock(block) {
      const sum = [...unattributed];
      addTo(sum, blocks.get(block) ?? nothing);
      return sum;
    },
    isRetired: (block) => retired.has(block),
    isClosed: (kind) => (kind === 'site_lifetime' ? lifetimeClosed : dayClosed === open),
    add: (charge) => change(charge, addTo),
    subtract: (charge) => change(charge, takeFrom),
    openDay(day) {
      assert(day > open, 'a window opens on a later day');
      open = day;
      for (const past of days.keys()) if (past < day) days.delete(past);
    },
    undo(day, sums) {
      assert(day < open, 'a jump is taken back to an earlier day');
      // What a restore could not account for on the open day it cannot account for on the reopened one.
      if (dayClosed === open) dayClosed = day;
      open = day;
      days.clear();
      const together = sumsOf(day);
      for (const [each, ofDay] of sums) {
        for (const [name, spent] of ofDay) {
          if (each !== day) sumsOf(each).set(name, [...spent]);
          addTo(sumIn(together, name, length), spent);
        }
      }
    },
    addLifetime(amount) {
      addTo(lifetime, amount);
      addTo(unattributed, amount);
    },
    beginBlocks() {
      for (let at = 0; at < length; at += 1) unattributed[at] = lifetime[at]!;
    },
    closeLifetime: (closed) => void (lifetimeClosed = closed),
    closeDay: () => void (dayClosed = open),
    retire: (block) => void retired.add(block),
    today: () => days.get(open) ?? new Map(),
    lifetime: () => lifetime,
    toText: () => ({
      day: open,
      lifetime: amountToText(lifetime),
      lifetimeClosed,
      dayClosed,
      days: daySumsToText(days),
      blocks: [...blocks].map(([block, spent]): AccountsText['blocks'][number] => [
        block,
        amountToText(spent),
      ]),
      unattributed: amountToText(unattributed),
      retired: [...retired],
    }),
  };
};
