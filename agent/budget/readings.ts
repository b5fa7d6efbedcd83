/** What is spent and what remains, and the refusal that says so. Public parameters only: nothing here depends on a record. */
import { QflError } from '../../shared/errors.ts';
import { deltaOfUnits } from '../../shared/privacy/delta.ts';
import type { FilterRule } from '../../shared/privacy/filter.ts';
import type { Asker } from './accounts.ts';
import { type Amount, deltaUnitsOf } from './amount.ts';
import { blockAccount } from './blocks.ts';
import { tightestOrder } from './filters.ts';
import type { LedgerKind, LimitedFilter } from './limits.ts';
import type { LedgerState } from './state.ts';
import { startOfDayMs } from './window.ts';
import { ORDERS_TENTHS } from '../../shared/privacy/orders.ts';

export interface LedgerReading {
  readonly ledger: LedgerKind;
  /** How the units read: under `rdp_curve` they are those of one order, as under `rdp_fixed_order`. */
  readonly rule: FilterRule;
  /** Renyi order in tenths; 0 under rules without one. Under `rdp_curve` that of the order whose budget is fullest, which the units are of. */
  readonly orderTenths: number;
  /** What the loss is converted at: the ledger's delta less the share reserved for thresholds. */
  readonly delta: number;
  /** That share and what is spent of it, in units of 2^-80; 0 where nothing is reserved. */
  readonly deltaBudgetUnits: bigint;
  readonly deltaSpentUnits: bigint;
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

interface Reading extends Omit<LedgerReading, 'ledger' | 'day' | 'renewsAtMs'> {
  readonly costUnits: bigint;
  readonly deltaCostUnits: bigint;
}

/** One ledger at one order: its own, or the one that is fullest (with `cost`, if that is given). */
const readFilter = (
  { limit, filter }: LimitedFilter,
  spent: Amount,
  closed: boolean,
  cost?: Amount,
): Reading => {
  const at = tightestOrder(filter, spent, cost);
  const budgetUnits = filter.budget[at]!;
  // A closed ledger counts as used up: what was charged to it is not known in full.
  const spentUnits = closed && spent[at]! < budgetUnits ? budgetUnits : spent[at]!;
  // After a budget was lowered more may be spent than it now allows.
  const remainingUnits = spentUnits < budgetUnits ? budgetUnits - spentUnits : 0n;
  const spentMicroEpsilon = share(spentUnits, budgetUnits, limit.microEpsilon);
  return {
    rule: filter.rule === 'rdp_curve' ? 'rdp_fixed_order' : filter.rule,
    orderTenths: filter.rule === 'rdp_curve' ? ORDERS_TENTHS[at]! : filter.orderTenths,
    delta: filter.conversionDelta,
    deltaBudgetUnits: deltaUnitsOf(filter.budget),
    deltaSpentUnits:
      closed && deltaUnitsOf(spent) < deltaUnitsOf(filter.budget)
        ? deltaUnitsOf(filter.budget)
        : deltaUnitsOf(spent),
    budgetUnits,
    spentUnits,
    remainingUnits,
    budgetMicroEpsilon: limit.microEpsilon,
    spentMicroEpsilon,
    remainingMicroEpsilon: Math.max(0, limit.microEpsilon - spentMicroEpsilon),
    costUnits: cost?.[at] ?? 0n,
    deltaCostUnits: cost === undefined ? 0n : deltaUnitsOf(cost),
  };
};

/** A ledger, and what is about to be charged to it. */
export type CostReading = LedgerReading & Pick<Reading, 'costUnits' | 'deltaCostUnits'>;

/** @param cost what is about to be charged: under `rdp_curve` it decides which order is shown. */
export const readLedger = (
  state: LedgerState,
  ledger: LedgerKind,
  asker: Asker,
  cost?: Amount,
): CostReading => {
  const accounts = state.accounts();
  const day = ledger === 'site_lifetime' ? null : accounts.day();
  return {
    ledger,
    ...readFilter(
      state.policy().filterOf(ledger, asker),
      accounts.spent(ledger, asker),
      accounts.isClosed(ledger),
      cost,
    ),
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

type Refused = Omit<Reading, 'rule'> & { readonly renewsAtMs: number | null };

const facts = (ledger: string, reading: Refused): Record<string, unknown> => ({
  ledger,
  budgetMicroEpsilon: reading.budgetMicroEpsilon,
  spentMicroEpsilon: reading.spentMicroEpsilon,
  remainingMicroEpsilon: reading.remainingMicroEpsilon,
  costMicroEpsilon: share(reading.costUnits, reading.budgetUnits, reading.budgetMicroEpsilon),
  budgetUnits: String(reading.budgetUnits),
  spentUnits: String(reading.spentUnits),
  remainingUnits: String(reading.remainingUnits),
  costUnits: String(reading.costUnits),
  renewsAtMs: reading.renewsAtMs,
  ...(reading.deltaBudgetUnits === 0n && reading.deltaCostUnits === 0n && reading.deltaSpentUnits === 0n
    ? {}
    : {
        deltaBudget: deltaOfUnits(reading.deltaBudgetUnits),
        deltaSpent: deltaOfUnits(reading.deltaSpentUnits),
        deltaCost: deltaOfUnits(reading.deltaCostUnits),
      }),
});

/** Is it the sum of deltas that has no room? */
const isOverDelta = ({ deltaBudgetUnits, deltaSpentUnits, deltaCostUnits }: Refused): boolean =>
  deltaSpentUnits + deltaCostUnits > deltaBudgetUnits;

const NEXT_DELTA =
  'Name the keys, which charges no delta; or the site raises privacy.threshold_delta_share in its configuration, a decision that is logged.';

export const budgetExceeded = (reading: CostReading): QflError =>
  new QflError('budget_exceeded', {
    detail: isOverDelta(reading)
      ? `the ledger ${reading.ledger} has less of the delta left that is reserved for thresholds than this query costs`
      : `the ledger ${reading.ledger} has less left than this query costs`,
    next: isOverDelta(reading) ? NEXT_DELTA : NEXT[reading.ledger],
    facts: facts(reading.ledger, reading),
  });

/** The ledger was restored, and nobody has said yet what was charged that no receipt shows. */
export const ledgerClosed = (reading: CostReading): QflError =>
  new QflError('budget_exceeded', {
    detail: `the ledger ${reading.ledger} was restored and counts as used up, because charges may be missing that nobody can show`,
    next:
      reading.day === null
        ? 'An administrator states what else was charged, with "qfl agent ledger state".'
        : NEXT[reading.ledger],
    facts: facts(reading.ledger, reading),
  });

export const blockExceeded = (
  limited: LimitedFilter,
  block: string,
  spent: Amount,
  cost: Amount,
): QflError => {
  const account = blockAccount(block);
  const reading = { ...readFilter(limited, spent, false, cost), renewsAtMs: null };
  return new QflError('budget_exceeded', {
    detail: isOverDelta(reading)
      ? `the data block ${block} has less of the delta left that is reserved for thresholds than this query costs`
      : `the data block ${block} has less left than this query costs`,
    next: 'Leave this admission month out of the question; its budget never renews.',
    facts: facts(account, reading),
  });
};

export const blockRetired = (block: string): QflError =>
  new QflError('budget_exceeded', {
    detail: `the data block ${block} is retired and is never read again`,
    next: 'Leave this admission month out of the question.',
    facts: { ledger: blockAccount(block) },
  });

/** The open day is used up, and the local clock names another that the ledger does not accept. */
export const clockRefused = (reading: CostReading, clockDay: number): QflError => {
  const ahead = reading.day !== null && clockDay > reading.day;
  return new QflError('clock_refused', {
    detail: ahead
      ? 'the budget of the open day is used up, and nothing confirms that the next day has begun'
      : 'the budget of the open day is used up, and the open day lies ahead of the clock',
    next: ahead
      ? 'Connect to the coordinator, whose signed time confirms the day, or wait until the agent has run for 24 hours.'
      : 'Correct the clock; if it once jumped ahead, an administrator can take the jump back.',
    facts: { ...facts(reading.ledger, reading), openDay: reading.day, clockDay },
  });
};
