/**
 * The privacy ledger of a site (`security.md` §10). Reserve before anything is read, commit before anything is released:
 *
 *     const charge = await ledger.reserve(request);
 *     if (charge.status === 'answered') return charge.sealedAnswer;       // the same bytes, no new spend
 *     if (charge.status === 'running') return await charge.settled;       // joins the run that is alive
 *     charge.startComputing();                                            // from here on nothing is given back
 *     await charge.commit(sealedAnswer);                                  // durable; now it may be released
 *
 * One process holds a ledger. Sums are tested and changed between two awaits, so they need no lock of their own.
 */
import type { QueryId } from '../../shared/ids.ts';
import type { Mechanism } from '../../shared/privacy/mechanism.ts';
import type { Asker } from './accounts.ts';
import { createAdministration, type Administration } from './administration.ts';
import { createCore } from './core.ts';
import { type HistoryEntry, readHistory } from './history.ts';
import { LEDGER_KINDS, type LedgerKind, type LedgerLimits } from './limits.ts';
import type { Head } from './mark.ts';
import { type OpenOptions, openVerified } from './open.ts';
import { type LedgerReading, readLedger } from './readings.ts';
import { createDesk, type ReserveResult } from './desk.ts';

export { createLedger, type LedgerPlace, type OpenOptions } from './open.ts';
export { DEFAULT_LIMITS, LEDGER_KINDS, type LedgerKind, LedgerLimits } from './limits.ts';
export type { Answered, ChargeFacts, RunOutcome, Running } from './runs.ts';
export type { Reservation, ReserveResult } from './desk.ts';
export type { LedgerReading } from './readings.ts';
export type { HistoryEntry } from './history.ts';
export { ChargeKey, PublicReason } from './records.ts';
export type { Asker } from './accounts.ts';

export interface ChargeRequest extends Asker {
  readonly queryId: QueryId;
  /** BLAKE2b-256 of the envelope, hex. */
  readonly envelopeHash: string;
  /** Everything that will run for this query; charged together. */
  readonly mechanisms: readonly Mechanism[];
}

export interface Quote {
  readonly costs: Readonly<Record<LedgerKind, bigint>>;
  readonly readings: readonly LedgerReading[];
  readonly fits: boolean;
}

export interface LedgerStatus {
  /** UTC day number of the open window. */
  readonly day: number;
  readonly head: Head;
  /** Reservations whose end is not written yet. */
  readonly openReservations: number;
  /** Why the ledger takes nothing more; undefined while it serves. */
  readonly fault: string | undefined;
}

export interface Ledger extends Administration {
  /**
   * Charges all ledgers or none. Resolves when the reservation is durable.
   * @throws QflError `budget_exceeded` (facts: which ledger, budget, spent, remaining, cost, when it renews), `clock_refused`,
   * `outcome_unknown`, `forbidden` (department without a budget), `ledger_refuses`, `overloaded`, `storage_failed`.
   */
  reserve(request: ChargeRequest): Promise<ReserveResult>;
  /** What the mechanisms would cost this asker now; spends nothing. */
  quote(asker: Asker, mechanisms: readonly Mechanism[]): Quote;
  /** Spent and remaining of the four ledgers as this asker meets them. */
  readings(asker: Asker): readonly LedgerReading[];
  limits(): LedgerLimits;
  status(): LedgerStatus;
  /** The last record that is durable: what others countersign. */
  head(): Head;
  /** Records below `before`, newest first, at most 1 000. */
  history(page: { readonly before?: number; readonly limit: number }): Promise<HistoryEntry[]>;
  /** Waits for what is queued, then lets go of the files. Reservations left open become `outcome_unknown`. */
  close(): Promise<void>;
}

/**
 * Opens, verifies and serves the ledger that `createLedger` made.
 * @throws QflError as `openVerified`.
 */
export const openLedger = async (options: OpenOptions): Promise<Ledger> => {
  const opened = await openVerified(options);
  const core = createCore(options, opened);
  const { state, writer } = core;
  try {
    await core.settleOpen();
  } catch (cause) {
    await core.close();
    throw cause;
  }
  const desk = createDesk(core);
  const readings = (asker: Asker): LedgerReading[] =>
    LEDGER_KINDS.map((kind) => readLedger(state, kind, asker));
  return {
    ...createAdministration(core),
    reserve: (request) => desk.reserve(request),
    quote(asker, mechanisms) {
      const costs = state.policy().price(mechanisms, asker.department);
      const now = readings(asker);
      return { costs, readings: now, fits: now.every((one) => costs[one.ledger] <= one.remainingUnits) };
    },
    readings,
    limits: () => state.policy().limits,
    status: () => ({
      day: state.accounts().day(),
      head: writer.durableHead(),
      openReservations: state.open.size,
      fault: writer.fault()?.message,
    }),
    head: () => writer.durableHead(),
    history: (page) =>
      readHistory(
        { journal: opened.journal, dataKey: options.dataKey, state, head: writer.durableHead() },
        page,
      ),
    close: () => core.close(),
  };
};
