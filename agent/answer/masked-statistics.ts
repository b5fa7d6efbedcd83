/**
 * A statistic whose parts nobody sees: this site's user asks, the coordinator runs a sealed round over the hospitals, and what comes back is their noisy
 * sum. The round's name is chosen here, so that a repeat after a lost answer is the same round and is charged once.
 */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { Clock } from '../../shared/clock.ts';
import { MINUTE_MS } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import { DepartmentId, QueryId, RoundId, type SiteId } from '../../shared/ids.ts';
import { MICRO_PER_EPSILON } from '../../shared/privacy/epsilon.ts';
import { discreteGaussian, mechanismToText } from '../../shared/privacy/mechanism.ts';
import { multiply, rational } from '../../shared/privacy/rational.ts';
import { type RandomBytes, randomHex } from '../../shared/random.ts';
import { sigmaOf } from '../../shared/rounds/noise.ts';
import { minCohortOf, thresholdOf } from '../../shared/rounds/tolerance.ts';
import { centred, wordsOf } from '../../shared/rounds/words.ts';
import { RoundStatsReply, type RoundStatsRequest } from '../../shared/wire/round.ts';
import { METHODS } from '../../shared/wire/session.ts';
import type { MeasuresQuery, Release, StatsAnswer, StatsResult } from '../../shared/wire/stats.ts';
import type { Link } from '../federation/link.ts';
import {
  maskedParts,
  type MaskedPart,
  maskedPrice,
  maskedSigmaSquared,
  maskedWords,
  STATISTIC,
} from '../rounds/statistics.ts';
import type { Asker } from './sealing.ts';
import { figuresOf } from './stats/figures.ts';
import type { Reach } from './statistics.ts';

const SITES_MIN = 3;
const ROUND_MAX_MS = 5 * MINUTE_MS;

export interface MaskedOptions {
  readonly self: SiteId;
  readonly link: Pick<Link, 'request'>;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly clock: Clock;
  readonly random: RandomBytes;
}

export interface MaskedQuestion {
  readonly query: MeasuresQuery;
  readonly asked: string;
  readonly confidence: number;
  readonly asker: Asker;
  readonly reached: Reach;
}

/** The sum as if one site had answered: each part with the noise that is in it, a share of each survivor, also of those that are not counted on. */
const releasesOf = (
  parts: readonly MaskedPart[],
  sigmaSquared: readonly string[],
  sum: Int32Array,
  survivors: number,
): Release[] => {
  let from = 0;
  return parts.map(({ cells, l2Squared }, at) => {
    const values = [...sum.subarray(from, from + cells.length)].map(String);
    from += cells.length;
    const variance = multiply(sigmaOf(sigmaSquared[at]!), rational(BigInt(survivors)));
    const mechanism = mechanismToText(discreteGaussian(rational(l2Squared), variance));
    return { cells: [...cells], values, mechanism };
  });
};

/** @throws QflError `site_unavailable`, `invalid_request`, and why the round ended without a sum */
export const createMaskedStatistics =
  ({ self, link, audit, random }: MaskedOptions) =>
  async ({ query, asked, confidence, asker, reached }: MaskedQuestion): Promise<StatsResult> => {
    const sites = [...(reached.here ? [self] : []), ...reached.others].toSorted();
    if (sites.length < SITES_MIN || reached.absent.length > 0)
      throw new QflError('site_unavailable', {
        detail:
          sites.length < SITES_MIN
            ? `a masked statistic needs ${SITES_MIN} sites with records, and ${sites.length} of those asked are there`
            : `a masked statistic is the sum of all sites asked, and of these are not there: ${reached.absent.join(', ')}`,
        next: 'Ask when more are connected, or without --masked: each site then answers for itself.',
      });
    const parts = maskedParts(query);
    const party = {
      sites,
      threshold: thresholdOf(sites.length),
      minCohort: minCohortOf(sites.length),
      masked: true,
    };
    const work = { query, sigmaSquared: maskedSigmaSquared(query, party) };
    const round = RoundId.parse(randomHex(random, 16));
    const queryId = QueryId.parse(round);
    const about = { actor: asker.pseudonym, role: asker.role, requestId: queryId };
    await audit.record({ action: 'stats.asked', outcome: 'begun', ...about });
    const header: RoundStatsRequest = {
      round,
      sites,
      words: maskedWords(parts),
      work: { kind: STATISTIC, settings: work },
      privacy: maskedPrice(work, party),
      microEpsilon: query.microEpsilon,
      asker: asker.pseudonym,
      department: DepartmentId.parse(asker.department),
    };
    const reply = await link.request(METHODS.roundStats, { header }, { timeoutMs: ROUND_MAX_MS });
    const { survivors } = RoundStatsReply.parse(reply.header);
    const sum = centred(wordsOf(reply.payload));
    if (sum.length !== header.words)
      throw new QflError('protocol', { detail: 'the coordinator answered another number of cells' });
    const answer: StatsAnswer = {
      releases: releasesOf(parts, work.sigmaSquared, sum, survivors.length),
      microEpsilon: query.microEpsilon,
      chargedUnits: '0',
      ledgers: [],
    };
    await audit.record({ action: 'stats.answered', outcome: 'ok', ...about });
    return {
      queryId,
      kind: query.kind,
      asked,
      complete: survivors.length === sites.length,
      measures: figuresOf(query, [answer], confidence),
      epsilonPerSite: query.microEpsilon / MICRO_PER_EPSILON,
      sites: [],
      masked: { round, sites, survivors },
    };
  };
