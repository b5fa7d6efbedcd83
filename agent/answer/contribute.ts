/**
 * This site's part of a statistic: planned from public facts, charged, noise drawn, data read, in that order, whoever asks. Everything
 * derived from records that leaves the site leaves through here.
 */
import { z } from 'zod';
import type { DepartmentId, Pseudonym, QueryId, SiteId } from '../../shared/ids.ts';
import { assert, QflError, toQflError } from '../../shared/errors.ts';
import { MICRO_PER_EPSILON } from '../../shared/privacy/epsilon.ts';
import { mechanismToText, type ThresholdedHistogram } from '../../shared/privacy/mechanism.ts';
import { deltaOfUnits } from '../../shared/privacy/delta.ts';
import { type KeyedCounts, prepareRelease, prepareThreshold } from '../../shared/privacy/release.ts';
import type { RandomBytes } from '../../shared/random.ts';
import {
  CELLS_MAX,
  type LedgerShown,
  type Release,
  type StatsAnswer,
  type StatsKind,
  StatsQuery,
  type StatsQueryOf,
} from '../../shared/wire/stats.ts';
import type {
  Asker,
  ChargeRequest,
  Ledger,
  LedgerReading,
  Quote,
  Reservation,
  ReserveResult,
} from '../budget/ledger.ts';
import { type Block, blockAt, blockRange, blocksBetween } from '../budget/blocks.ts';
import type { AgentMeters } from '../metrics.ts';
import type { ExactVector, PlannedMeasurement, PlannedRelease, Planners } from './measurement.ts';

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
  readonly random: RandomBytes;
  readonly planners: Planners;
  readonly meters: Pick<AgentMeters, 'charged' | 'refusedByBudget'>;
  /** For questions that name no data blocks, where the site keeps them. */
  readonly dataBlocks?: {
    /** The first month; null when every question must name its own. */
    readonly first: string | null;
    nowMs(): number;
  };
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
  ...(reading.deltaBudgetUnits === 0n
    ? {}
    : {
        deltaBudget: deltaOfUnits(reading.deltaBudgetUnits),
        deltaSpent: deltaOfUnits(reading.deltaSpentUnits),
      }),
});

/** @throws QflError `invalid_request` */
export const parseStatsQuery = (query: unknown): StatsQuery => {
  const parsed = StatsQuery.safeParse(query);
  if (!parsed.success)
    throw new QflError('invalid_request', { detail: `not a statistic: ${z.prettifyError(parsed.error)}` });
  return parsed.data;
};

/** What a question would run and cost here, without asking it. */
export interface Priced {
  readonly planned: PlannedMeasurement;
  readonly quote: Quote;
}

const checkPlan = ({ releases }: PlannedMeasurement): void => {
  const cells = releases.reduce((sum, { cells: names, keysMax = 0 }) => sum + names.length + keysMax, 0);
  if (cells <= CELLS_MAX) return;
  throw new QflError('invalid_request', {
    detail: `the question has ${cells} cells, and at most ${CELLS_MAX} are answered`,
    next: 'Use fewer or wider bins, or ask for fewer figures at once.',
  });
};

/**
 * The data blocks of a question, from public facts: those it names, or all from the first month of the site to the current one but the
 * retired. Undefined where the site keeps none.
 * @throws QflError `invalid_request`, `budget_exceeded` when every block is retired
 */
const queryBlocks = (
  { blocks: named }: StatsQuery,
  { ledger, dataBlocks }: Pick<ContributeOptions, 'ledger' | 'dataBlocks'>,
): readonly Block[] | undefined => {
  if (ledger.limits().dataBlock === undefined) {
    if (named === undefined) return undefined;
    throw new QflError('invalid_request', {
      detail: 'the question names admission months, and this site keeps no data blocks',
      next: 'Leave the months out, or ask sites whose privacy.data_blocks is admission_month.',
    });
  }
  if (named !== undefined) return blocksBetween(named.from, named.to);
  const first = dataBlocks?.first ?? null;
  if (dataBlocks === undefined || first === null)
    throw new QflError('invalid_request', {
      detail: 'this site charges data blocks, and the question does not say which admission months it reads',
      next: 'Name them, as in "blocks": {"from": "2026-01", "to": "2026-03"}; or the site sets privacy.data_block_first.',
    });
  const open = blocksBetween(first, blockAt(dataBlocks.nowMs())).filter((block) => !ledger.isRetired(block));
  if (open.length > 0) return open;
  throw new QflError('budget_exceeded', {
    detail: `every data block of this site from ${first} on is retired or has not begun`,
    next: 'Ask again when new admission months have begun.',
  });
};

/** Noise is in it; the exact vector makes it a release, once. */
type Prepared = (exact: ExactVector) => Promise<Release>;

const isKeyed = (exact: ExactVector): exact is KeyedCounts => !Array.isArray(exact);

const prepareKeyed = async (
  mechanism: ThresholdedHistogram,
  keysMax: number,
  random: RandomBytes,
): Promise<Prepared> => {
  const release = await prepareThreshold(mechanism, keysMax, random);
  return async (exact) => {
    assert(isKeyed(exact), 'unknown keys come with their counts');
    const told = await release(exact);
    return {
      cells: [...told.keys()],
      values: [...told.values()].map(String),
      mechanism: mechanismToText(mechanism),
    };
  };
};

const prepare = async (
  { cells, mechanism, keysMax = 0 }: PlannedRelease,
  random: RandomBytes,
): Promise<Prepared> => {
  if (mechanism.kind === 'thresholded_histogram') return prepareKeyed(mechanism, keysMax, random);
  const release = await prepareRelease(mechanism, cells.length, random);
  return async (exact) => {
    assert(!isKeyed(exact), 'cells with names have one exact integer each');
    const values = release(exact);
    assert(values.length === cells.length, 'one released integer per cell');
    return { cells: [...cells], values: values.map(String), mechanism: mechanismToText(mechanism) };
  };
};

export const createContribute = (options: ContributeOptions) => {
  const { ledger, random, planners, meters } = options;
  const planOf = <Kind extends StatsKind>(
    kind: Kind,
    query: StatsQueryOf<Kind>,
  ): PlannedMeasurement | Promise<PlannedMeasurement> =>
    planners[kind](query, { limits: ledger.limits(), blocks: queryBlocks(query, options) });

  /** @throws QflError `invalid_request` */
  const plan = async (query: StatsQuery): Promise<PlannedMeasurement> => {
    const { microEpsilonPerQueryMax } = ledger.limits();
    if (query.microEpsilon > microEpsilonPerQueryMax)
      throw new QflError('invalid_request', {
        detail: `a query may charge at most epsilon ${microEpsilonPerQueryMax / MICRO_PER_EPSILON} here`,
        next: 'Ask with a smaller epsilon: more noise, less of the budget.',
        facts: { microEpsilon: query.microEpsilon, microEpsilonPerQueryMax },
      });
    const planned = await planOf(query.kind, query);
    checkPlan(planned);
    return planned;
  };

  const compute = async (
    planned: PlannedMeasurement,
    reservation: Reservation,
    signal: AbortSignal | undefined,
  ): Promise<Release[]> => {
    const { releases } = planned;
    reservation.startComputing();
    // All noise is drawn before the data is read: how long drawing takes then says nothing about the data.
    const prepared: Prepared[] = [];
    for (const release of releases) prepared.push(await prepare(release, random));
    const exact = await planned.evaluate(signal);
    assert(exact.length === releases.length, 'one vector per release');
    return await Promise.all(prepared.map((release, at) => release(exact[at]!)));
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
  async function contribute(
    contribution: Contribution,
    seal: (answer: StatsAnswer, charged: Charged) => Uint8Array,
    signal?: AbortSignal,
  ): Promise<{ sealed: Uint8Array; spendUnits: bigint }> {
    const { sender, queryId, envelopeHash, asker, department } = contribution;
    const query = parseStatsQuery(contribution.query);
    const planned = await plan(query);
    const charge = await reserve({
      sender,
      queryId,
      envelopeHash,
      asker,
      department,
      mechanisms: planned.releases.map(({ mechanism }) => mechanism),
      ...(planned.blocks === undefined ? {} : { blocks: planned.blocks }),
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
    meters.charged(query.microEpsilon / MICRO_PER_EPSILON);
    const computeAndSeal = async (): Promise<Uint8Array> => {
      const releases = await compute(planned, charge, signal);
      const months = blockRange(planned.blocks);
      const ledgers = ledger.readings({ sender, asker, department }).map(showReading);
      const answer: StatsAnswer = {
        releases,
        microEpsilon: query.microEpsilon,
        chargedUnits: String(charge.spendUnits),
        ...(months === null ? {} : { blocks: months }),
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
  }

  return Object.assign(contribute, {
    /**
     * Prices a question for this asker; reads no data and spends nothing.
     * @throws QflError as `contribute` before its charge
     */
    async price(query: unknown, asker: Asker): Promise<Priced> {
      const planned = await plan(parseStatsQuery(query));
      const mechanisms = planned.releases.map(({ mechanism }) => mechanism);
      return { planned, quote: ledger.quote(asker, mechanisms, planned.blocks) };
    },
  });
};
export type Contribute = ReturnType<typeof createContribute>;
