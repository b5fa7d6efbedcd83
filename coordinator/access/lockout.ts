/**
 * Guessing is made hopeless twice: an account is locked for a while after a few failures, and an address that fails often has to wait ever longer.
 * Names that no account has are counted like those that exist, so the answer says nothing about who does. Pure state over a clock; a restart
 * reads it back.
 */
import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import { MINUTE_MS, SECOND_MS } from '../../shared/clock.ts';

export const LockoutEntry = z.strictObject({
  failures: z.int().nonnegative(),
  /** Until when nothing is accepted; 0 when it is. */
  lockedUntilMs: z.number().nonnegative(),
  lastMs: z.number().nonnegative(),
});
export type LockoutEntry = z.infer<typeof LockoutEntry>;

export interface LockoutRules {
  readonly failuresMax: number;
  readonly lockedMs: number;
}

/** Failures at an address that cost nothing: people mistype, and many sit behind one address. */
const ADDRESS_FREE = 10;
const ADDRESS_DELAY_MAX_MS = 15 * MINUTE_MS;
/** The wait is at its longest from here on (2^10 s); more would only take longer to be forgotten. */
const ADDRESS_FAILURES_MAX = ADDRESS_FREE + 10;
/** Kept at most, oldest out first: whoever invents names must not fill the memory. */
export const ENTRIES_MAX = 10_000;

const NONE: LockoutEntry = { failures: 0, lockedUntilMs: 0, lastMs: 0 };

/** Doubles with every failure beyond the free ones, from one second on. */
export const addressDelayMs = (failures: number): number =>
  failures < ADDRESS_FREE
    ? 0
    : Math.min(ADDRESS_DELAY_MAX_MS, SECOND_MS * 2 ** Math.min(20, failures - ADDRESS_FREE));

/** The next state of an account after a failure. One that is locked stays as it is: else one attempt every half hour would keep its owner out for good. */
export const accountFailed = (
  entry: LockoutEntry,
  nowMs: number,
  { failuresMax, lockedMs }: LockoutRules,
): LockoutEntry => {
  if (entry.lockedUntilMs > nowMs) return entry;
  // A lock that ran out begins anew; so does a count that nothing was added to for as long as a lock takes.
  const isStale =
    (entry.lockedUntilMs > 0 && entry.lockedUntilMs <= nowMs) || nowMs - entry.lastMs > lockedMs;
  const failures = (isStale ? 0 : entry.failures) + 1;
  return { failures, lockedUntilMs: failures >= failuresMax ? nowMs + lockedMs : 0, lastMs: nowMs };
};

/**
 * One failure is forgotten each quarter of an hour: no faster than the longest wait lets guesses through. Only time forgets: whoever has an account of
 * their own could wash the count of their address off with it. `lastMs` is up to when was forgotten, not the last failure: people who mistype now and
 * then behind one address must not add up for ever.
 */
export const addressFailed = (entry: LockoutEntry, nowMs: number): LockoutEntry => {
  const forgotten = Math.max(0, Math.floor((nowMs - entry.lastMs) / ADDRESS_DELAY_MAX_MS));
  const left = Math.max(0, entry.failures - forgotten);
  const failures = Math.min(ADDRESS_FAILURES_MAX, left + 1);
  const delayMs = addressDelayMs(failures);
  return {
    failures,
    lockedUntilMs: delayMs === 0 ? 0 : nowMs + delayMs,
    lastMs: left === 0 ? nowMs : entry.lastMs + forgotten * ADDRESS_DELAY_MAX_MS,
  };
};

export interface Lockout {
  isAccountLocked(name: string): boolean;
  /** Milliseconds an address still has to wait; 0 when it need not. */
  addressWaitMs(address: string): number;
  /** @returns true when this failure locked the account */
  failed(name: string, address: string): boolean;
  /** Forgets the failures of the account; those of the address go with time. */
  succeeded(name: string): void;
  /** By an administrator. */
  unlock(name: string): void;
}

/** Where the state of an account is kept over a restart; `undefined` forgets it. */
export type KeepLockout = (name: string, entry: LockoutEntry | undefined) => void;

const bounded = (changed: KeepLockout = () => undefined) => {
  const map = new Map<string, LockoutEntry>();
  const forget = (key: string): void => {
    if (map.delete(key)) changed(key, undefined);
  };
  return {
    get: (key: string): LockoutEntry | undefined => map.get(key),
    forget,
    keep(key: string, entry: LockoutEntry) {
      map.delete(key);
      map.set(key, entry);
      changed(key, entry);
      const [oldest] = map.keys();
      if (map.size > ENTRIES_MAX && oldest !== undefined) forget(oldest);
    },
  };
};

/** @param kept what a former start left, oldest first */
export const createLockout = (
  clock: Pick<Clock, 'nowMs'>,
  rules: () => LockoutRules,
  keep?: KeepLockout,
  kept: Iterable<readonly [string, LockoutEntry]> = [],
): Lockout => {
  const [accounts, addresses] = [bounded(keep), bounded()];
  for (const [name, entry] of kept) accounts.keep(name, entry);
  return {
    isAccountLocked: (name) => (accounts.get(name)?.lockedUntilMs ?? 0) > clock.nowMs(),
    addressWaitMs: (address) => Math.max(0, (addresses.get(address)?.lockedUntilMs ?? 0) - clock.nowMs()),
    failed(name, address) {
      const nowMs = clock.nowMs();
      const before = accounts.get(name) ?? NONE;
      const next = accountFailed(before, nowMs, rules());
      if (next !== before) accounts.keep(name, next);
      addresses.keep(address, addressFailed(addresses.get(address) ?? NONE, nowMs));
      return next !== before && next.lockedUntilMs > 0;
    },
    succeeded: (name) => accounts.forget(name),
    unlock: (name) => accounts.forget(name),
  };
};
