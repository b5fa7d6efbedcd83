/** Where queries are charged: once per key, all ledgers together, and the answer kept for whoever asks the same again. */
import { assert, QflError } from '../../shared/errors.ts';
import type { Charge } from './accounts.ts';
import type { Place } from './answer-index.ts';
import type { Core } from './core.ts';
import type { ChargeRequest } from './ledger.ts';
import { checkBlocks } from './blocks.ts';
import { fits, scalarOf } from './filters.ts';
import { LEDGER_KINDS } from './limits.ts';
import {
  blockExceeded,
  blockRetired,
  budgetExceeded,
  clockRefused,
  ledgerClosed,
  readLedger,
} from './readings.ts';
import { committedRecord, keyText, type PublicReason, reservedRecord, scalarCosts } from './records.ts';
import {
  type Answered,
  type ChargeFacts,
  createRun,
  failRun,
  joinRun,
  outcomeUnknown,
  type Run,
  type Running,
} from './runs.ts';

/** The largest sealed answer that is kept. */
export const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

export interface Reservation extends ChargeFacts {
  readonly status: 'reserved';
  /** Must be called before anything is read or drawn. From here on the charge cannot be given back. */
  startComputing(): void;
  /**
   * Keeps the sealed answer. Release it only after this resolved; if it rejects, the answer must not leave.
   * @throws QflError `ledger_refuses`, `too_large`
   */
  commit(sealedAnswer: Uint8Array): Promise<Answered>;
  /** Gives the charge back: nothing ran, for a public reason. Only before `startComputing`. @throws QflError `ledger_refuses` */
  refund(reason: PublicReason): Promise<void>;
  /** The run failed: the charge stays, repeats of the query get `outcome_unknown`. @throws QflError `ledger_refuses` */
  abandon(): Promise<void>;
}

export type ReserveResult = Reservation | Answered | Running;

export interface Desk {
  reserve(request: ChargeRequest): Promise<ReserveResult>;
}

/** @throws QflError `budget_exceeded` or `clock_refused`, by public parameters only. */
const refuseIfOver = (core: Core, charge: Charge, clockDay: number): void => {
  const accounts = core.state.accounts();
  for (const kind of LEDGER_KINDS) {
    const cost = charge.costs[kind];
    const { filter } = core.state.policy().filterOf(kind, charge);
    const closed = accounts.isClosed(kind);
    if (!closed && fits(filter, accounts.spent(kind, charge), cost)) continue;
    const reading = readLedger(core.state, kind, charge, cost);
    if (closed) throw ledgerClosed(reading);
    if (reading.day !== null && reading.day !== clockDay) throw clockRefused(reading, clockDay);
    throw budgetExceeded(reading);
  }
};

/** Every block that is read must have room: all or none, like the other ledgers. */
const refuseIfBlocksOver = (core: Core, { blocks, costs }: Charge): void => {
  const accounts = core.state.accounts();
  const limited = core.state.policy().blockFilter;
  if (limited === undefined) return;
  for (const block of blocks) {
    if (accounts.isRetired(block)) throw blockRetired(block);
    const spent = accounts.spentOnBlock(block);
    if (!fits(limited.filter, spent, costs.site_lifetime))
      throw blockExceeded(limited, block, spent, costs.site_lifetime);
  }
};

/** @throws QflError `invalid_request` when the site keeps data blocks and the query does not say which it reads, or the other way round */
const blocksOf = (core: Core, { blocks }: ChargeRequest): readonly string[] => {
  const kept = core.state.policy().blockFilter !== undefined;
  if (!kept && blocks === undefined) return [];
  if (kept && blocks !== undefined) return checkBlocks(blocks);
  throw new QflError('invalid_request', {
    detail: kept
      ? 'this site charges data blocks, and the query does not say which it reads'
      : 'this site charges no data blocks, and the query names some',
    next: 'Ask the operator of the site about its setting data_blocks.',
  });
};

/** Counts the query on all ledgers and queues its record, without a pause between test and count. */
const charge = (core: Core, request: ChargeRequest): ChargeFacts & { readonly durable: Promise<void> } => {
  core.writer.assertOpen();
  const policy = core.state.policy();
  const costs = policy.price(request.mechanisms, request);
  const blocks = blocksOf(core, request);
  const { clockDay } = core.turnDay();
  const { sender, asker, department } = request;
  const made: Charge = { sender, asker, department, day: core.state.accounts().day(), costs, blocks };
  refuseIfOver(core, made, clockDay);
  refuseIfBlocksOver(core, made);
  const record = reservedRecord(request, made, request.mechanisms, core.nowMs());
  const { hash, counter, durable } = core.write(record);
  const { rule } = policy.limits;
  return {
    spendUnits: scalarOf(rule, costs.site_lifetime),
    costs: {
      site_lifetime: scalarOf(rule, costs.site_lifetime),
      asking_site_day: scalarOf(rule, costs.asking_site_day),
      department_day: scalarOf(rule, costs.department_day),
      user_day: scalarOf(rule, costs.user_day),
    },
    recordHash: hash,
    recordCounter: counter,
    durable,
  };
};

/** What a query that ended before gets. @throws QflError `outcome_unknown`, `ledger_damaged` */
const recall = async (core: Core, key: string, place: Place): Promise<Answered> => {
  if (place.outcome === 'unknown') throw outcomeUnknown();
  const [reserved, committed] = await Promise.all([core.read(place.reservedOffset), core.read(place.offset)]);
  const isOfKey =
    reserved.record.type === 'reserved' &&
    keyText(reserved.record) === key &&
    committed.record.type === 'committed' &&
    committed.record.reserved === reserved.counter;
  if (!isOfKey || reserved.record.type !== 'reserved') {
    throw new QflError('ledger_damaged', {
      detail: 'the index of the privacy ledger points at another query',
      next: 'Restart the agent: it rebuilds the index from the ledger.',
    });
  }
  const costs = scalarCosts(reserved.record);
  return {
    status: 'answered',
    sealedAnswer: committed.answer,
    spendUnits: costs.site_lifetime,
    costs,
    recordHash: reserved.hash,
    recordCounter: reserved.counter,
  };
};

type Phase = 'reserved' | 'computing' | 'ending';

interface Seat {
  readonly core: Core;
  readonly run: Run;
  readonly facts: ChargeFacts;
  /** Forgets the run: the index knows it, or it never counted. */
  readonly leave: () => void;
}

const needPhase = (phase: Phase, ...allowed: readonly Phase[]): void =>
  assert(allowed.includes(phase), `a reservation that is ${phase} does not allow this`);

const endCommitted = async (seat: Seat, sealedAnswer: Uint8Array): Promise<Answered> => {
  const { core, run, facts, leave } = seat;
  const record = committedRecord(facts.recordCounter, core.nowMs());
  const { ended, counter, durable } = core.write(record, sealedAnswer);
  await durable;
  const answered: Answered = { ...facts, status: 'answered', sealedAnswer };
  run.ended = answered;
  run.outcome.resolve(answered);
  if (ended !== undefined) core.toIndex(ended, counter, leave);
  return answered;
};

const endRefunded = async ({ core, run, facts, leave }: Seat, reason: PublicReason): Promise<void> => {
  await core.write({ type: 'refunded', reserved: facts.recordCounter, reason, atMs: core.nowMs() }).durable;
  leave();
  run.outcome.resolve({ status: 'refunded', reason });
};

const endUnknown = async ({ core, run, facts, leave }: Seat): Promise<void> => {
  const record = {
    type: 'unknown',
    reserved: facts.recordCounter,
    cause: 'failed',
    atMs: core.nowMs(),
  } as const;
  const { ended, counter, durable } = core.write(record);
  await durable;
  run.ended = outcomeUnknown();
  run.outcome.reject(run.ended);
  if (ended !== undefined) core.toIndex(ended, counter, leave);
};

const reservationOf = (seat: Seat): Reservation => {
  let phase: Phase = 'reserved';
  const end = async <Value>(work: () => Promise<Value>): Promise<Value> => {
    phase = 'ending';
    try {
      return await work();
    } catch (cause) {
      seat.run.outcome.reject(cause);
      throw cause;
    }
  };
  return {
    ...seat.facts,
    status: 'reserved',
    startComputing() {
      needPhase(phase, 'reserved');
      seat.core.writer.assertServing();
      phase = 'computing';
    },
    async commit(sealedAnswer) {
      needPhase(phase, 'computing');
      if (sealedAnswer.byteLength > ANSWER_BYTES_MAX)
        throw new QflError('too_large', { detail: `a sealed answer is at most ${ANSWER_BYTES_MAX} bytes` });
      return await end(() => endCommitted(seat, sealedAnswer));
    },
    async refund(reason) {
      needPhase(phase, 'reserved');
      await end(async () => {
        await seat.core.gate();
        await endRefunded(seat, reason);
      });
    },
    async abandon() {
      needPhase(phase, 'reserved', 'computing');
      await end(() => endUnknown(seat));
    },
  };
};

export const createDesk = (core: Core): Desk => {
  const runs = new Map<string, Run>();

  const admit = async (key: string, run: Run, request: ChargeRequest): Promise<Reservation | Answered> => {
    const place = await core.index.get(key);
    if (place !== undefined) {
      const answered = await recall(core, key, place);
      runs.delete(key);
      run.admission.resolve(answered);
      return answered;
    }
    await core.gate();
    const { durable, ...facts } = charge(core, request);
    await durable;
    run.admission.resolve('charged');
    return reservationOf({ core, run, facts, leave: () => runs.delete(key) });
  };

  const begin = async (key: string, request: ChargeRequest): Promise<Reservation | Answered> => {
    if (runs.size >= core.queueRecordsMax)
      throw new QflError('overloaded', { detail: 'too many queries run at once', next: 'Try again later.' });
    const run = createRun();
    runs.set(key, run);
    try {
      return await admit(key, run, request);
    } catch (cause) {
      runs.delete(key);
      failRun(run, cause);
      throw cause;
    }
  };

  return {
    async reserve(request) {
      core.writer.assertOpen();
      const key = keyText(request);
      const alive = runs.get(key);
      return await (alive === undefined ? begin(key, request) : joinRun(alive));
    },
  };
};
