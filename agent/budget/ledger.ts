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
import type { QflError } from '../../shared/errors.ts';
import type { QueryId } from '../../shared/ids.ts';
import type { Mechanism } from '../../shared/privacy/mechanism.ts';
import type { Asker } from './accounts.ts';
import type { WitnessedHead } from './anchor.ts';
import { createAdministration, type Administration } from './administration.ts';
import type { CountersignedHead } from '../../shared/wire/ledger-head.ts';
import { createCore } from './core.ts';
import { writeCountersigned } from './countersigned.ts';
import { type HistoryEntry, readHistory } from './history.ts';
import { LEDGER_KINDS, type LedgerKind, type LedgerLimits } from './limits.ts';
import type { Head } from './mark.ts';
import { type OpenOptions, openVerified } from './open.ts';
import { deltaUnitsOf } from './amount.ts';
import { fits, scalarOf } from './filters.ts';
import type { LedgerState } from './state.ts';
import { type LedgerReading, readLedger } from './readings.ts';
import { verifyRunning } from './verify-running.ts';
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
  /** The data blocks (`2026-03`) that it reads; needed where the site keeps them, and only there. */
  readonly blocks?: readonly string[];
}

export interface Quote {
  /** In the rule's units; under `rdp_curve` as `scalarOf`. */
  readonly costs: Readonly<Record<LedgerKind, bigint>>;
  /** What each ledger would be charged of its delta, in units of 2^-80. */
  readonly deltaUnits: bigint;
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
  /** How often it was restored. */
  readonly epoch: number;
  /** Spent on the site-lifetime ledger, as one number (`scalarOf`): what a countersigned head states. */
  readonly lifetimeUnits: bigint;
  /** And of its delta, in units of 2^-80. */
  readonly lifetimeDeltaUnits: bigint;
  /** The whole of it, in the same unit. */
  readonly lifetimeBudgetUnits: bigint;
  /** The last checkpoint on the disk; −1 when there is none. */
  readonly checkpointCounter: number;
  /** The last head that the coordinator countersigned; null when there is none, and a rollback of the whole home would go unnoticed. */
  readonly countersigned: {
    readonly epoch: number;
    readonly counter: number;
    /** The coordinator's clock. */
    readonly atMs: number;
    /** Index of the entry in its audit log. */
    readonly logIndex: number;
  } | null;
}

export interface Ledger extends Administration {
  /**
   * Charges all ledgers or none. Resolves when the reservation is durable.
   * @throws QflError `budget_exceeded` (facts: which ledger, budget, spent, remaining, cost, when it renews), `clock_refused`,
   * `outcome_unknown`, `forbidden` (department without a budget), `ledger_refuses`, `overloaded`, `storage_failed`.
   */
  reserve(request: ChargeRequest): Promise<ReserveResult>;
  /** What the mechanisms would cost this asker now; spends nothing. */
  quote(asker: Asker, mechanisms: readonly Mechanism[], blocks?: readonly string[]): Quote;
  /** Spent and remaining of the four ledgers as this asker meets them. */
  readings(asker: Asker): readonly LedgerReading[];
  limits(): LedgerLimits;
  /** Of a data block: may it never be read again? */
  isRetired(block: string): boolean;
  status(): LedgerStatus;
  /** The last record that is durable: what others countersign. */
  head(): Head;
  /** Records below `before`, newest first, at most 1 000. */
  history(page: { readonly before?: number; readonly limit: number }): Promise<HistoryEntry[]>;
  /**
   * Reads every record up to now while charges go on, and holds what they come to against what is counted; a difference or damage ends the
   * ledger's service. `pause` is awaited every so often, to leave the machine to others.
   * @throws QflError `ledger_damaged`
   */
  verify(pause?: () => Promise<void>): Promise<{ readonly records: number }>;
  /** What speaks against this journal in the light of a head that was countersigned; undefined when it holds it. */
  against(witnessed: WitnessedHead): Promise<QflError | undefined>;
  /** The newest head that was countersigned, as far as this site knows. */
  countersigned(): CountersignedHead | undefined;
  /** Keeps a newer one; on the disk when it resolves. The next start holds the journal against it. */
  keepCountersigned(head: CountersignedHead): Promise<void>;
  /** Serves nothing more, for this reason, until it is opened again. */
  refuse(reason: QflError): void;
  /** Waits for what is queued, then lets go of the files. Reservations left open become `outcome_unknown`. */
  close(): Promise<void>;
}

/** The lifetime budget is the same for whoever asks. */
const lifetimeBudget = (state: LedgerState): bigint => {
  const policy = state.policy();
  return scalarOf(policy.limits.rule, policy.lifetimeFilter.filter.budget);
};

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
    await core.checkpoints.opened();
  } catch (cause) {
    await core.close();
    throw cause;
  }
  let { countersigned } = opened;
  const desk = createDesk(core);
  const readings = (asker: Asker): LedgerReading[] =>
    LEDGER_KINDS.map((kind) => readLedger(state, kind, asker));
  return {
    ...createAdministration(core),
    reserve: (request) => desk.reserve(request),
    quote(asker, mechanisms, blocks = []) {
      const policy = state.policy();
      const accounts = state.accounts();
      const amounts = policy.price(mechanisms, asker);
      const admitted = LEDGER_KINDS.every(
        (kind) =>
          !accounts.isClosed(kind) &&
          fits(policy.filterOf(kind, asker).filter, accounts.spent(kind, asker), amounts[kind]),
      );
      const { blockFilter } = policy;
      const blocksAdmit = blocks.every(
        (block) =>
          blockFilter !== undefined &&
          !accounts.isRetired(block) &&
          fits(blockFilter.filter, accounts.spentOnBlock(block), amounts.site_lifetime),
      );
      const { rule } = policy.limits;
      return {
        costs: {
          site_lifetime: scalarOf(rule, amounts.site_lifetime),
          asking_site_day: scalarOf(rule, amounts.asking_site_day),
          department_day: scalarOf(rule, amounts.department_day),
          user_day: scalarOf(rule, amounts.user_day),
        },
        deltaUnits: deltaUnitsOf(amounts.site_lifetime),
        readings: readings(asker),
        fits: admitted && blocksAdmit,
      };
    },
    readings,
    limits: () => state.policy().limits,
    isRetired: (block) => state.accounts().isRetired(block),
    status: () => ({
      day: state.accounts().day(),
      head: writer.durableHead(),
      openReservations: state.open.size,
      fault: writer.fault()?.message,
      epoch: state.epoch(),
      lifetimeUnits: scalarOf(state.policy().limits.rule, state.accounts().lifetime()),
      lifetimeDeltaUnits: deltaUnitsOf(state.accounts().lifetime()),
      lifetimeBudgetUnits: lifetimeBudget(state),
      checkpointCounter: core.checkpoints.counter(),
      countersigned:
        countersigned === undefined
          ? null
          : {
              epoch: countersigned.signed.head.epoch,
              counter: countersigned.signed.head.counter,
              atMs: countersigned.atMs,
              logIndex: countersigned.logIndex,
            },
    }),
    head: () => writer.durableHead(),
    history: (page) =>
      readHistory(
        { journal: opened.journal, dataKey: options.dataKey, state, head: writer.durableHead() },
        page,
      ),
    verify: (pause) => verifyRunning(core, options, pause),
    against: (witnessed) => core.against(witnessed),
    countersigned: () => countersigned,
    async keepCountersigned(head) {
      await writeCountersigned(options.folder, head);
      countersigned = head;
    },
    refuse: (reason) => writer.refuse(reason),
    close: () => core.close(),
  };
};
