/** Statistics over the records of all sites, and what they would cost. */
import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { Principal } from '../../shared/access/principal.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { QueryId, SiteId } from '../../shared/ids.ts';
import { microEpsilon, MICRO_PER_EPSILON, parseEpsilon } from '../../shared/privacy/epsilon.ts';
import { deltaOfUnits } from '../../shared/privacy/delta.ts';
import { noiseHalfWidth } from '../../shared/privacy/interval.ts';
import { mechanismToText, type Mechanism } from '../../shared/privacy/mechanism.ts';
import {
  BlockRange,
  type Measure,
  MEASURES_MAX,
  type MeasuresQuery,
  StatsPrice,
  StatsResult,
} from '../../shared/wire/stats.ts';
import { type AccessPolicy, requirePermission } from '../access/policy.ts';
import type { Pseudonyms } from '../access/pseudonyms.ts';
import { type Contribute, type Priced, showReading } from '../answer/contribute.ts';
import { gridOf, unitsText } from '../answer/stats/grid.ts';
import { vectorsOf } from '../answer/stats/layout.ts';
import { MeasureAsked, questionOf } from '../answer/stats/question.ts';
import { epsilonOfVector } from '../answer/stats/price.ts';
import type { createMaskedStatistics } from '../answer/masked-statistics.ts';
import type { Reach, Statistics } from '../answer/statistics.ts';
import { type Compared, withComparisons } from '../federation/comparisons.ts';
import { blockRange } from '../budget/blocks.ts';
import type { Ledger, LedgerReading } from '../budget/ledger.ts';
import { parseCohortOptions, todayOf } from '../records/cohort.ts';
import { toNumber } from '../../shared/privacy/rational.ts';
import { deltaOf, noiseWithin } from '../../shared/privacy/threshold.ts';

const WHERE_MAX = 8;
const SITES_MAX = 64;

export interface StatsRouteOptions {
  readonly self: SiteId;
  readonly statistics: Statistics;
  readonly contribute: Contribute;
  readonly ledger: Ledger;
  readonly policy: AccessPolicy;
  readonly pseudonyms: Pseudonyms;
  readonly clock: Clock;
  readonly defaultEpsilon: number;
  readonly compared: Compared;
  readonly masked: ReturnType<typeof createMaskedStatistics>;
}

const StatsBody = z
  .strictObject({
    /** FHIR resource type whose patients are counted: the short form of a question. */
    count: z.string().min(1).max(64).optional(),
    /** With `count`: conditions that all must hold: `code=…`, `value=ge6.5 %`, `age=ge65`, `gender=…`. */
    where: z.array(z.string().max(500)).max(WHERE_MAX).default([]),
    /** Who is measured: text such as `Condition?code=44054006 and not Patient?age=ge80`, or its JSON form. */
    cohort: z.union([z.string().max(8_000), z.record(z.string(), z.unknown())]).optional(),
    /** What is measured of them; the number of patients when left out. */
    measures: z.array(MeasureAsked).min(1).max(MEASURES_MAX).optional(),
    /** Decimal text, such as "0.1", so that no digit is lost; the site's default when left out. Per site, for all figures together. */
    epsilon: z.union([z.string(), z.number()]).optional(),
    confidence: z.number().gt(0.5).lt(1).default(0.95),
    /** Which sites; all with records when left out. */
    sites: z.array(SiteId).min(1).max(SITES_MAX).optional(),
    /** Admission months whose patients are asked about, at sites that keep data blocks; all when left out. */
    blocks: BlockRange.optional(),
    /** Nobody sees what a single site says, only the sum: a sealed round. One count, histogram or table. */
    masked: z.boolean().default(false),
    /** Says what it would cost and asks nobody. */
    dryRun: z.boolean().default(false),
  })
  .refine(({ count, cohort }) => (count === undefined) !== (cohort === undefined), {
    message: 'name "count" or "cohort", one of them',
  })
  .refine(({ cohort, where }) => cohort === undefined || where.length === 0, {
    message: '"where" goes with "count"; a cohort holds its own conditions',
  });
type StatsBody = z.infer<typeof StatsBody>;

/** Half the interval's width for one cell, in the figure's own unit; null where a cell is no figure by itself. */
const halfWidthOf = (
  measure: Measure,
  mechanism: Mechanism,
  sites: number,
  confidence: number,
): string | null => {
  // The centred sum of a mean says little before the count is known; its count is the second vector.
  const noise = noiseWithin(mechanism);
  if (noise === undefined || measure.measure === 'quantiles') return null;
  const noises = Array.from({ length: Math.max(1, sites) }, () => noise);
  const half = noiseHalfWidth(noises, confidence);
  return measure.measure === 'sum' ? unitsText(half, gridOf(measure.of).granularity) : String(half);
};

/** Of the delta that the ledger reserves; nothing where it reserves none. */
const deltaPrice = (
  { deltaBudgetUnits, deltaSpentUnits }: LedgerReading,
  costUnits: bigint,
): { deltaCost?: number; deltaAfter?: number } => {
  if (deltaBudgetUnits === 0n) return {};
  const after = deltaBudgetUnits - deltaSpentUnits - costUnits;
  return { deltaCost: deltaOfUnits(costUnits), deltaAfter: deltaOfUnits(after > 0n ? after : 0n) };
};

const priceOf = (
  { planned, quote }: Priced,
  query: MeasuresQuery,
  about: { asked: string; reached: Reach; self: SiteId; confidence: number },
): StatsPrice => {
  const { asked, reached, self, confidence } = about;
  const sites = [...(reached.here ? [self] : []), ...reached.others];
  let at = 0;
  return {
    dryRun: true,
    asked,
    measures: query.measures.map((measure) => {
      const vectors = vectorsOf(measure);
      const releases = planned.releases.slice(at, (at += vectors.length));
      const each = toNumber(epsilonOfVector(query.microEpsilon, query.measures, measure, vectors.length));
      return {
        measure: measure.measure,
        epsilon: each * vectors.length,
        releases: releases.map(({ cells, mechanism, keysMax }, vector) => ({
          cells: keysMax ?? cells.length,
          mechanism: mechanismToText(mechanism),
          halfWidth:
            measure.measure === 'mean' && vector === 0
              ? null
              : halfWidthOf(measure, mechanism, sites.length, confidence),
          ...(mechanism.kind === 'thresholded_histogram' ? { delta: deltaOf([mechanism]) } : {}),
        })),
      };
    }),
    confidence,
    epsilonPerSite: query.microEpsilon / MICRO_PER_EPSILON,
    sites,
    blocks: blockRange(planned.blocks),
    absent: [...reached.absent],
    ledgers: quote.readings.map((reading) => {
      const { budgetUnits, budgetMicroEpsilon } = reading;
      const micro =
        budgetUnits === 0n
          ? budgetMicroEpsilon
          : Number(
              (quote.costs[reading.ledger] * BigInt(budgetMicroEpsilon) + budgetUnits - 1n) / budgetUnits,
            );
      const shown = showReading(reading);
      const costEpsilon = micro / MICRO_PER_EPSILON;
      return {
        ...shown,
        costEpsilon,
        afterEpsilon: Math.max(0, shown.remainingEpsilon - costEpsilon),
        ...deltaPrice(reading, quote.deltaUnits),
      };
    }),
    fits: quote.fits,
  };
};

export const registerStats = ({ fastify }: HttpApp, options: StatsRouteOptions): void => {
  const { self, statistics, contribute, ledger, policy, pseudonyms, clock, compared } = options;
  const epsilonOf = (given: string | number | undefined): number =>
    given === undefined
      ? microEpsilon(Math.round(options.defaultEpsilon * MICRO_PER_EPSILON))
      : parseEpsilon(String(given));
  const askerOf = (key: Principal) => ({
    pseudonym: pseudonyms.of(key),
    role: key.role,
    department: key.department,
  });

  const read = (body: StatsBody, sites: number) => {
    const today = todayOf(clock.nowMs());
    const micro = epsilonOf(body.epsilon);
    const { microEpsilonPerQueryMax } = ledger.limits();
    // Told here, before any other site hears of it: most sites have the same bound.
    if (micro > microEpsilonPerQueryMax)
      throw new QflError('invalid_request', {
        detail: `a query may charge at most epsilon ${microEpsilonPerQueryMax / MICRO_PER_EPSILON}`,
        next: 'Ask with a smaller epsilon: more noise, less of the budget.',
      });
    return questionOf(
      {
        cohort: body.count === undefined ? body.cohort : parseCohortOptions(body.count, body.where, today),
        measures: body.measures ?? [{ measure: 'count' }],
        microEpsilon: micro,
        blocks: body.blocks,
      },
      { today, sites },
    );
  };

  fastify.post(
    '/v1/stats',
    {
      config: { access: 'statistics.ask' },
      schema: { body: StatsBody, response: { 200: z.union([StatsResult, StatsPrice]) } },
    },
    async (request): Promise<StatsResult | StatsPrice> => {
      const key = principalOf(request);
      requirePermission(policy, key, 'measurement');
      const { confidence, sites, dryRun, masked } = request.body;
      const reached = await statistics.reach(sites);
      const { query, asked } = read(request.body, reached.others.length + (reached.here ? 1 : 0));
      if (masked && dryRun)
        throw new QflError('invalid_request', {
          detail: 'a dry run prices what each site answers for itself',
          next: 'Leave out one of the two: a masked statistic costs the same epsilon.',
        });
      if (masked)
        return withComparisons(
          await options.masked({ query, asked, confidence, asker: askerOf(key), reached }),
          compared,
        );
      if (!dryRun) {
        const asking = { query, asked, confidence, asker: askerOf(key), sites };
        return withComparisons(await statistics.ask(asking), compared);
      }
      const priced = await contribute.price(query, {
        sender: self,
        asker: pseudonyms.of(key),
        department: key.department,
      });
      return withComparisons(priceOf(priced, query, { asked, reached, self, confidence }), compared);
    },
  );
  fastify.get(
    '/v1/stats/:queryId',
    {
      config: { access: 'statistics.ask' },
      schema: { params: z.strictObject({ queryId: QueryId }), response: { 200: StatsResult } },
    },
    async (request) => {
      const key = principalOf(request);
      requirePermission(policy, key, 'measurement');
      const result = await statistics.result(request.params.queryId, pseudonyms.of(key));
      return withComparisons(result, compared);
    },
  );
};
