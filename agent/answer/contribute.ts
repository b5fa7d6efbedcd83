/**
 * This site's part of a statistic: validated, charged, counted, noised, in that order, whoever asks. Everything derived from
 * records that leaves the site leaves through here.
 */
import { z } from 'zod';
import type { DepartmentId, Pseudonym, QueryId, SiteId } from '../../shared/ids.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import { MICRO_PER_EPSILON, microEpsilon } from '../../shared/privacy/epsilon.ts';
import {
  laplaceForEpsilon,
  type Mechanism,
  mechanismToText,
  noiseOf,
} from '../../shared/privacy/mechanism.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { type LedgerShown, type StatsAnswer, StatsQuery } from '../../shared/wire/stats.ts';
import type { ChargeRequest, Ledger, LedgerReading, Reservation, ReserveResult } from '../budget/ledger.ts';
import { type Cohort, parseCohort } from '../records/cohort.ts';
import { countDistinctPatients } from '../records/count.ts';
import type { AgentMeters } from '../metrics.ts';
import type { Records } from '../records/store.ts';

/** One patient changes a count of patients by one. */
const COUNT_SENSITIVITY = 1n;

export interface Contribution {
  readonly sender: SiteId;
  readonly queryId: QueryId;
  /** Names the question exactly as it was asked, hex. */
  readonly envelopeHash: string;
  readonly asker: Pseudonym;
  readonly department: DepartmentId;
  readonly query: unknown;
}

export interface ContributeOptions {
  readonly ledger: Ledger;
  readonly records: Records;
  readonly random: RandomBytes;
  readonly meters: Pick<AgentMeters, 'charged' | 'refusedByBudget'>;
}

/** What is known once the charge is durable, for sealing the answer. */
export interface Charged {
  readonly spendUnits: bigint;
  readonly recordHash: Uint8Array;
}

export const showReading = (reading: LedgerReading): LedgerShown => ({
  ledger: reading.ledger,
  budgetEpsilon: reading.budgetMicroEpsilon / MICRO_PER_EPSILON,
  spentEpsilon: reading.spentMicroEpsilon / MICRO_PER_EPSILON,
  remainingEpsilon: reading.remainingMicroEpsilon / MICRO_PER_EPSILON,
  renewsAtMs: reading.renewsAtMs,
});

/** @throws QflError `invalid_request` */
export const parseStatsQuery = (query: unknown): { cohort: Cohort; microEpsilon: number } => {
  const parsed = StatsQuery.safeParse(query);
  if (!parsed.success)
    throw new QflError('invalid_request', { detail: `not a statistic: ${z.prettifyError(parsed.error)}` });
  return { cohort: parseCohort(parsed.data.cohort), microEpsilon: parsed.data.microEpsilon };
};

export const createContribute = ({ ledger, records, random, meters }: ContributeOptions) => {
  const mechanismFor = (micro: number): Mechanism =>
    laplaceForEpsilon({ epsilon: microEpsilon(micro), sensitivity: COUNT_SENSITIVITY }, ledger.limits());

  const compute = async (cohort: Cohort, mechanism: Mechanism, reservation: Reservation): Promise<bigint> => {
    reservation.startComputing();
    // The noise is drawn before the data is read: how long drawing takes then says nothing about the count.
    const noise = noiseOf(mechanism, random)();
    return (await countDistinctPatients(records, cohort)) + noise;
  };

  const reserve = async (request: ChargeRequest): Promise<ReserveResult> => {
    try {
      return await ledger.reserve(request);
    } catch (error) {
      if (toQflError(error).code === 'budget_exceeded') meters.refusedByBudget();
      throw error;
    }
  };

  /**
   * The sealed answer's bytes: those of the first run, however often the same question comes. `seal` turns an answer into them and is
   * called at most once per question.
   * @throws QflError `invalid_request`, `budget_exceeded`, `outcome_unknown`, `ledger_refuses`, `clock_refused`, `forbidden`
   */
  return async function contribute(
    contribution: Contribution,
    seal: (answer: StatsAnswer, charged: Charged) => Uint8Array,
  ): Promise<{ sealed: Uint8Array; spendUnits: bigint }> {
    const { sender, queryId, envelopeHash, asker, department } = contribution;
    const { cohort, microEpsilon: micro } = parseStatsQuery(contribution.query);
    const mechanism = mechanismFor(micro);
    const charge = await reserve({
      sender,
      queryId,
      envelopeHash,
      asker,
      department,
      mechanisms: [mechanism],
    });
    if (charge.status === 'answered') return { sealed: charge.sealedAnswer, spendUnits: charge.spendUnits };
    if (charge.status === 'running') {
      const outcome = await charge.settled;
      if (outcome.status === 'answered')
        return { sealed: outcome.sealedAnswer, spendUnits: outcome.spendUnits };
      throw new QflError('conflict', {
        detail: 'an earlier run of this question was given back before it began',
        next: 'Ask again.',
      });
    }
    meters.charged(micro / MICRO_PER_EPSILON);
    const computeAndSeal = async (): Promise<Uint8Array> => {
      const value = await compute(cohort, mechanism, charge);
      const ledgers = ledger.readings({ sender, asker, department }).map(showReading);
      const answer: StatsAnswer = {
        value: String(value),
        mechanism: mechanismToText(mechanism),
        microEpsilon: micro,
        chargedUnits: String(charge.spendUnits),
        ledgers,
      };
      return seal(answer, { spendUnits: charge.spendUnits, recordHash: charge.recordHash });
    };
    let sealed: Uint8Array;
    try {
      sealed = await computeAndSeal();
    } catch (error) {
      // Whatever went wrong after the charge, the charge stays: an error may depend on the data. If even this cannot be written, the
      // ledger has stopped, and recovery ends the reservation the same way.
      await charge.abandon().catch(() => undefined);
      throw error;
    }
    // A commit that fails has ended the reservation itself; the answer must not leave.
    await charge.commit(sealed);
    return { sealed, spendUnits: charge.spendUnits };
  };
};
export type Contribute = ReturnType<typeof createContribute>;
