/** What is spent and what remains, and the refusal that says so. Public parameters only: nothing here depends on a record. */
import { QflError } from '../../shared/errors.ts';
import type { FilterRule } from '../../shared/privacy/filter.ts';
import type { Asker } from './accounts.ts';
import type { LedgerKind } from './limits.ts';
import type { LedgerState } from './state.ts';
import { startOfDayMs } from './window.ts';

export interface LedgerReading {
  readonly ledger: LedgerKind;
  readonly rule: FilterRule;
  /** Renyi order in tenths; 0 under rules without one. */
  readonly orderTenths: number;
  readonly delta: number;
  /** Units of the rule: 2^-40 nat (1e-12 under `basic`). These decide. */
  readonly budgetUnits: bigint;
  readonly spentUnits: bigint;
  readonly remainingUnits: bigint;
  /** For display: the same shares of the budget as it was configured. Spent is rounded up. */
  readonly budgetMicroEpsilon: number;
  readonly spentMicroEpsilon: number;
  readonly remainingMicroEpsilon: number;
  /** UTC day number of the window; null for a ledger that never renews. */
  readonly day: number | null;
  readonly renewsAtMs: number | null;
}

const share = (units: bigint, budgetUnits: bigint, microEpsilon: number): number => {
  if (budgetUnits === 0n) return microEpsilon;
  const micro = (units * BigInt(microEpsilon) + budgetUnits - 1n) / budgetUnits;
  return Number(micro);
};

export const readLedger = (state: LedgerState, ledger: LedgerKind, asker: Asker): LedgerReading => {
  const { limit, filter } = state.policy().filterOf(ledger, asker.department);
  const { rule, orderTenths, budgetUnits } = filter;
  const spentUnits = state.accounts().spent(ledger, asker);
  // After a budget was lowered more may be spent than it now allows.
  const remainingUnits = spentUnits < budgetUnits ? budgetUnits - spentUnits : 0n;
  const spentMicroEpsilon = share(spentUnits, budgetUnits, limit.microEpsilon);
  const day = ledger === 'site_lifetime' ? null : state.accounts().day();
  return {
    ledger,
    rule,
    orderTenths,
    delta: Number(limit.delta),
    budgetUnits,
    spentUnits,
    remainingUnits,
    budgetMicroEpsilon: limit.microEpsilon,
    spentMicroEpsilon,
    remainingMicroEpsilon: Math.max(0, limit.microEpsilon - spentMicroEpsilon),
    day,
    renewsAtMs: day === null ? null : startOfDayMs(day + 1),
  };
};

const NEXT: Readonly<Record<LedgerKind, string>> = {
  site_lifetime:
    'This budget never renews. Raising it is a decision of the site that holds the data, and is logged.',
  asking_site_day: 'Ask again after the day ends in UTC; the site as a whole has asked this much today.',
  department_day: 'Ask again after the day ends in UTC, or with a smaller epsilon.',
  user_day: 'Ask again after the day ends in UTC, or with a smaller epsilon.',
};

const facts = (reading: LedgerReading, costUnits: bigint): Record<string, unknown> => ({
  ledger: reading.ledger,
  budgetMicroEpsilon: reading.budgetMicroEpsilon,
  spentMicroEpsilon: reading.spentMicroEpsilon,
  remainingMicroEpsilon: reading.remainingMicroEpsilon,
  costMicroEpsilon: share(costUnits, reading.budgetUnits, reading.budgetMicroEpsilon),
  budgetUnits: String(reading.budgetUnits),
  spentUnits: String(reading.spentUnits),
  remainingUnits: String(reading.remainingUnits),
  costUnits: String(costUnits),
  renewsAtMs: reading.renewsAtMs,
});

export const budgetExceeded = (reading: LedgerReading, costUnits: bigint): QflError =>
  new QflError('budget_exceeded', {
    detail: `the ledger ${reading.ledger} has less left than this query costs`,
    next: NEXT[reading.ledger],
    facts: facts(reading, costUnits),
  });

/** The open day is used up, and the local clock names another that the ledger does not accept. */
export const clockRefused = (reading: LedgerReading, costUnits: bigint, clockDay: number): QflError => {
  const ahead = reading.day !== null && clockDay > reading.day;
  return new QflError('clock_refused', {
    detail: ahead
      ? 'the budget of the open day is used up, and nothing confirms that the next day has begun'
      : 'the budget of the open day is used up, and the open day lies ahead of the clock',
    next: ahead
      ? 'Connect to the coordinator, whose signed time confirms the day, or wait until the agent has run for 24 hours.'
      : 'Correct the clock; if it once jumped ahead, an administrator can take the jump back.',
    facts: { ...facts(reading, costUnits), openDay: reading.day, clockDay },
  });
};
