/**
 * A federated statistic from this site's users: every site asked answers or refuses for itself, and the figures with their intervals are
 * made here. The question is on disk before it leaves, so a crash or a lost connection asks the same one again.
 */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { toBase64 } from '../../shared/bytes.ts';
import { encodeSealedQuery } from '../../shared/crypto/sealed-query.ts';
import { QflError } from '../../shared/errors.ts';
import { Pseudonym, QueryId, type SiteId } from '../../shared/ids.ts';
import { checkConfidence } from '../../shared/privacy/interval.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import type { Board } from '../../shared/wire/session.ts';
import type { StatsQuery, StatsResult } from '../../shared/wire/stats.ts';
import { withRecords } from './candidates.ts';
import type { OpenQuestion, Outbox } from './outbox.ts';
import { type Asker, sealQuestion, type SealingOptions } from './sealing.ts';
import { COLLECT_MAX_MS, type CollectOptions, createCollect, refusedBy } from './stats/collect.ts';
import { combine, requireSome } from './stats/combine.ts';

const PRIORITY = 5;

export interface StatsQuestion {
  readonly query: StatsQuery;
  /** Canonical text of the question: kept with its result. */
  readonly asked: string;
  readonly confidence: number;
  readonly asker: Asker;
  /** Sites by name; every site with records when left out. */
  readonly sites?: readonly SiteId[] | undefined;
}

/** Who can be asked now. */
export interface Reach {
  /** This site holds records and is among those asked. */
  readonly here: boolean;
  readonly others: readonly SiteId[];
  /** Asked for by name, and not online with records. */
  readonly absent: readonly SiteId[];
}

export interface StatisticsOptions extends CollectOptions {
  /** @throws QflError `directory_stale`, `lockdown` */
  directoryReady(): Promise<void>;
  readonly sealing: SealingOptions;
  readonly outbox: Outbox;
  readonly audit: AuditLog;
  readonly random: RandomBytes;
  /** Does this site hold records? */
  hasRecords(): Promise<boolean>;
  board(): Board | undefined;
}

export interface Statistics {
  reach(sites?: readonly SiteId[]): Promise<Reach>;
  /** @throws QflError when no site answered: `budget_exceeded` and the like with each site's own words in `facts` */
  ask(question: StatsQuestion): Promise<StatsResult>;
  /** The result of an earlier question of this asker. @throws QflError `not_found`, `not_ready` */
  result(queryId: QueryId, asker: Pseudonym): Promise<StatsResult>;
  /** Asks again what was open when the program stopped. */
  resume(): Promise<void>;
}

export const createStatistics = (options: StatisticsOptions): Statistics => {
  const { self, link, mirror, outbox, audit, clock, random, logger } = options;
  const collect = createCollect(options);
  const running = new Map<QueryId, Promise<StatsResult>>();

  const run = async (question: OpenQuestion): Promise<StatsResult> => {
    const outcomes = new Map(await collect(question));
    for (const site of question.absent)
      outcomes.set(
        site,
        refusedBy(new QflError('not_connected', { detail: `${site} is not connected or has no records` })),
      );
    const result = combine(question, outcomes);
    const receipts = [...outcomes.values()].flatMap((outcome) =>
      outcome.status === 'answered' && outcome.receipt !== undefined ? [outcome.receipt] : [],
    );
    await outbox.close(question, result, receipts);
    await audit.record({
      action: 'stats.answered',
      outcome: result.complete ? 'ok' : 'failed',
      actor: Pseudonym.parse(question.asker),
      role: question.role,
      requestId: question.queryId,
    });
    return result;
  };

  const reach = async (named?: readonly SiteId[]): Promise<Reach> => {
    const wanted = (site: SiteId): boolean => named === undefined || named.includes(site);
    const here = wanted(self) && (await options.hasRecords());
    // Not silently smaller: where another site would be asked, what keeps it from being asked is said.
    const somebody = options
      .board()
      ?.sites.some(({ site, records }) => records && site !== self && wanted(site));
    if (link.state === 'online' && somebody === true) await options.directoryReady();
    const online =
      link.state === 'online' ? withRecords(options.board(), mirror.state, self, clock.nowMs()) : [];
    const others = online.filter(wanted);
    const present = new Set<SiteId>([...others, ...(here ? [self] : [])]);
    return { here, others, absent: [...new Set(named)].filter((site) => !present.has(site)) };
  };

  const prepare = (
    { query, asked, confidence, asker }: StatsQuestion,
    { here, others, absent }: Reach,
  ): OpenQuestion => {
    const base = {
      query,
      asked,
      here,
      absent: [...absent],
      asker: asker.pseudonym,
      role: asker.role,
      department: asker.department,
      confidence,
      sites: [...others],
    };
    const nowMs = Math.trunc(clock.nowMs());
    if (others.length === 0) {
      const queryId = QueryId.parse(randomHex(random, 16));
      return { ...base, queryId, sealed: '', replySeed: '', expiresMs: nowMs };
    }
    const sent = sealQuestion(
      {
        kind: 'stats',
        asker,
        dataClass: 'confidential',
        purpose: 'statistics',
        legalBasis: 'research',
        query,
        model: null,
        microEpsilon: query.microEpsilon,
        sizeBytes: asked.length,
        priority: PRIORITY,
      },
      others,
      options.sealing,
    );
    return {
      ...base,
      queryId: sent.queryId,
      sealed: toBase64(encodeSealedQuery(sent.sealed)),
      replySeed: toBase64(sent.reply.seed),
      expiresMs: nowMs + COLLECT_MAX_MS * 4,
    };
  };

  const start = (question: OpenQuestion): Promise<StatsResult> => {
    const result = run(question).finally(() => running.delete(question.queryId));
    running.set(question.queryId, result);
    return result;
  };

  return {
    reach,
    async ask(asked) {
      // Before any site charges for an answer that could not be shown.
      checkConfidence(asked.confidence);
      const reached = await reach(asked.sites);
      if (!reached.here && reached.others.length === 0)
        throw new QflError('site_unavailable', {
          detail: 'no site with records can be reached',
          next: 'Import records with "qfl agent import DIR", or check the connection with "qfl agent status".',
        });
      const question = prepare(asked, reached);
      await outbox.add(question);
      await audit.record({
        action: 'stats.asked',
        outcome: 'begun',
        actor: asked.asker.pseudonym,
        role: asked.asker.role,
        requestId: question.queryId,
      });
      return requireSome(await start(question));
    },
    async result(queryId, asker) {
      const kept = await outbox.result(queryId, asker);
      if (kept !== undefined) return kept;
      if (running.has(queryId))
        throw new QflError('not_ready', {
          detail: 'this question is still open',
          next: 'Ask again in a moment.',
        });
      throw new QflError('not_found', { detail: 'there is no such question of yours' });
    },
    async resume() {
      await outbox.forgetOld();
      for (const question of await outbox.open()) {
        if (question.expiresMs < clock.nowMs()) await outbox.drop(question.queryId);
        else
          start(question).catch((error: unknown) =>
            logger.warn({ err: error }, 'an open question could not be finished'),
          );
      }
    },
  };
};
