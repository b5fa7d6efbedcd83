/** Queries that are being answered now: a repeat of one joins it and gets its result, never a second charge. */
import { QflError } from '../../shared/errors.ts';
import type { LedgerKind } from './limits.ts';
import type { PublicReason } from './records.ts';

/** What a charge is known by in answers and receipts. */
export interface ChargeFacts {
  /** What the site-lifetime ledger was charged, in the rule's units. */
  readonly spendUnits: bigint;
  readonly costs: Readonly<Record<LedgerKind, bigint>>;
  /** Hash of the reservation's record. */
  readonly recordHash: Uint8Array;
  readonly recordCounter: number;
}

export interface Answered extends ChargeFacts {
  readonly status: 'answered';
  readonly sealedAnswer: Uint8Array;
}

/** How a run that somebody else started ended. A refund means that the query may be sent again. */
export type RunOutcome = Answered | { readonly status: 'refunded'; readonly reason: PublicReason };

export interface Running {
  readonly status: 'running';
  /** Rejects with `outcome_unknown` when the run fails, with `ledger_refuses` when the ledger stops. */
  readonly settled: Promise<RunOutcome>;
}

export const outcomeUnknown = (): QflError =>
  new QflError('outcome_unknown', {
    detail: 'an earlier run of this query was charged and ended without a known answer',
    next: 'Ask again as a new query; it is charged anew.',
  });

interface Deferred<Value> {
  readonly promise: Promise<Value>;
  resolve(value: Value): void;
  reject(reason: unknown): void;
}

const deferred = <Value>(): Deferred<Value> => {
  let resolve!: (value: Value) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<Value>((onValue, onReason) => {
    resolve = onValue;
    reject = onReason;
  });
  // Nobody may be waiting; whoever does sees the rejection all the same.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
};

export interface Run {
  /** Resolves once it is known whether there is a run to join. */
  readonly admission: Deferred<'charged' | Answered>;
  readonly outcome: Deferred<RunOutcome>;
  /** How it ended, until the index holds that. */
  ended: Answered | QflError | undefined;
}

export const createRun = (): Run => ({
  admission: deferred(),
  outcome: deferred(),
  ended: undefined,
});

export const failRun = (run: Run, reason: unknown): void => {
  run.admission.reject(reason);
  run.outcome.reject(reason);
};

/** What a repeat of the query gets. @throws what the first one was refused with. */
export const joinRun = async (run: Run): Promise<Answered | Running> => {
  const admission = await run.admission.promise;
  if (admission !== 'charged') return admission;
  if (run.ended instanceof QflError) throw run.ended;
  return run.ended ?? { status: 'running', settled: run.outcome.promise };
};
