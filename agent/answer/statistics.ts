/**
 * A federated count from this site's users: every site with records is asked, each answers or refuses for itself, and the sum with its
 * interval is made here. The question is on disk before it leaves, so a crash or a lost connection asks the same one again.
 */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { fromBase64, fromUtf8, toBase64, toHex, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { hashOf } from '../../shared/crypto/hash.ts';
import { type AnswerOpener, openAnswer } from '../../shared/crypto/sealed-answer.ts';
import { decodeSealedQuery, encodeSealedQuery, queryHash } from '../../shared/crypto/sealed-query.ts';
import { requireSite } from '../../shared/directory/record.ts';
import { isErrorCode, QflError, toQflError } from '../../shared/errors.ts';
import { DepartmentId, Pseudonym, QueryId, type SiteId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/log.ts';
import { checkConfidence, noiseInterval } from '../../shared/privacy/interval.ts';
import { MICRO_PER_EPSILON } from '../../shared/privacy/epsilon.ts';
import { mechanismOfText } from '../../shared/privacy/mechanism.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import { METHODS, RelayedPart, type Board } from '../../shared/wire/session.ts';
import {
  StatsAnswer,
  type StatsQuery,
  type StatsResult,
  type StatsSiteResult,
} from '../../shared/wire/stats.ts';
import type { DirectoryMirror } from '../federation/directory.ts';
import type { Link } from '../federation/link.ts';
import { canonicalCohort, type Cohort } from '../records/cohort.ts';
import { withRecords } from './candidates.ts';
import type { Contribute } from './contribute.ts';
import type { OpenQuestion, Outbox } from './outbox.ts';
import { checkReceipt } from './receipts.ts';
import { type Asker, sealQuestion, type SealingOptions } from './sealing.ts';

/** How long the asker waits for all sites; late answers are fetched by the query's id. */
export const COLLECT_MAX_MS = 60_000;
const RETRY_PAUSE_MS = 500;

export interface CountQuestion {
  readonly cohort: Cohort;
  readonly microEpsilon: number;
  readonly confidence: number;
  readonly asker: Asker;
}

export interface StatisticsOptions {
  readonly self: SiteId;
  readonly link: Link;
  readonly mirror: DirectoryMirror;
  readonly sealing: SealingOptions;
  readonly contribute: Contribute;
  readonly outbox: Outbox;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  /** Does this site hold records? */
  hasRecords(): Promise<boolean>;
  board(): Board | undefined;
}

export interface Statistics {
  /** @throws QflError when no site answered: `budget_exceeded` and the like with each site's own words in `facts` */
  count(question: CountQuestion): Promise<StatsResult>;
  /** The result of an earlier question of this asker. @throws QflError `not_found`, `not_ready` */
  result(queryId: QueryId, asker: Pseudonym): Promise<StatsResult>;
  /** Asks again what was open when the program stopped. */
  resume(): Promise<void>;
}

type Results = Map<SiteId, StatsSiteResult>;

const refused = (site: SiteId, error: QflError): StatsSiteResult => ({
  status: 'refused',
  site,
  code: error.code,
  detail: error.detail ?? error.title,
  facts: error.facts === undefined ? null : { ...error.facts },
});

export const createStatistics = (options: StatisticsOptions): Statistics => {
  const { self, link, mirror, contribute, outbox, audit, clock, random, logger } = options;
  const running = new Map<QueryId, Promise<StatsResult>>();

  const answered = (site: SiteId, answer: StatsAnswer, confidence: number): StatsSiteResult => {
    const { low, high } = noiseInterval(
      BigInt(answer.value),
      [mechanismOfText(answer.mechanism)],
      confidence,
    );
    return {
      status: 'answered',
      site,
      answer,
      interval: { low: String(low), high: String(high), confidence },
    };
  };

  const askHere = async (question: OpenQuestion): Promise<StatsSiteResult> => {
    const envelopeHash = toHex(
      hashOf(
        'qfl local statistic',
        utf8(JSON.stringify([question.query, question.asker, question.department])),
      ),
    );
    try {
      const { sealed } = await contribute(
        {
          sender: self,
          queryId: question.queryId,
          envelopeHash,
          asker: Pseudonym.parse(question.asker),
          department: DepartmentId.parse(question.department),
          query: question.query,
        },
        // Nothing leaves the site, so there is nobody to seal it to; the ledger encrypts what it keeps.
        (answer) => utf8(JSON.stringify(answer)),
      );
      return answered(self, StatsAnswer.parse(JSON.parse(fromUtf8(sealed))), question.confidence);
    } catch (error) {
      return refused(self, toQflError(error));
    }
  };

  /** One pass over the relay; sites that answered or refused for good are in `results` after it. */
  const askOthers = async (question: OpenQuestion, results: Results): Promise<void> => {
    const sealed = decodeSealedQuery(fromBase64(question.sealed));
    const hash = queryHash(sealed);
    const openers = new Map<SiteId, { opener: AnswerOpener; answer: StatsAnswer | undefined }>();
    const openerOf = (site: SiteId) => {
      const known = openers.get(site) ?? {
        opener: openAnswer({
          queryId: question.queryId,
          queryHash: hash,
          asker: self,
          site,
          replySeed: fromBase64(question.replySeed),
          identity: requireSite(mirror.state, site).identity,
        }),
        answer: undefined,
      };
      openers.set(site, known);
      return known;
    };
    const take = (part: RelayedPart, payload: Uint8Array): void => {
      const { site } = part;
      if (!question.sites.includes(site) || results.has(site)) return;
      if (part.refused !== undefined) {
        const { code, detail, facts } = part.refused;
        // A site that is away may come back within the question's life; what it decided itself stays.
        if (code !== 'not_connected' && code !== 'timeout')
          results.set(site, { status: 'refused', site, code, detail: detail ?? null, facts: facts ?? null });
        return;
      }
      const state = openerOf(site);
      const opened = state.opener.open(payload);
      if (opened.kind === 'chunk') state.answer = StatsAnswer.parse(JSON.parse(fromUtf8(opened.text)));
      if (opened.kind !== 'end' || state.answer === undefined) return;
      checkReceipt(part.receipt, {
        queryId: question.queryId,
        queryHash: hash,
        site,
        identity: requireSite(mirror.state, site).identity,
      });
      results.set(site, answered(site, state.answer, question.confidence));
    };
    try {
      for await (const piece of link.stream(
        METHODS.query,
        { payload: encodeSealedQuery(sealed) },
        { timeoutMs: COLLECT_MAX_MS },
      )) {
        const part = RelayedPart.parse(piece.header);
        try {
          take(part, piece.payload);
        } catch (error) {
          results.set(part.site, refused(part.site, toQflError(error)));
        }
      }
    } finally {
      for (const { opener } of openers.values()) opener.close();
    }
  };

  /** Asks until every site has spoken or time is up; the same question each time, so a repeat spends nothing. */
  const askUntil = async (question: OpenQuestion, results: Results, deadlineMs: number): Promise<void> => {
    const missing = (): boolean => question.sites.some((site) => !results.has(site));
    while (question.sealed !== '' && missing()) {
      try {
        await askOthers(question, results);
      } catch (error) {
        const { code, detail } = toQflError(error);
        logger.warn({ code, detail, queryId: question.queryId }, 'a federated count is interrupted');
        if (code !== 'not_connected' && code !== 'timeout')
          for (const site of question.sites)
            if (!results.has(site)) results.set(site, refused(site, toQflError(error)));
      }
      if (!missing() || clock.monotonicMs() >= deadlineMs) break;
      await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
    }
    for (const site of question.sites)
      if (!results.has(site))
        results.set(
          site,
          refused(site, new QflError('not_connected', { detail: `${site} could not be reached in time` })),
        );
  };

  const combine = (question: OpenQuestion, results: Results): StatsResult => {
    const sites = [...results.values()].toSorted((left, right) => (left.site < right.site ? -1 : 1));
    const given = sites.filter((one) => one.status === 'answered');
    const total = given.reduce((sum, { answer }) => sum + BigInt(answer.value), 0n);
    const mechanisms = given.map(({ answer }) => mechanismOfText(answer.mechanism));
    const interval = given.length === 0 ? null : noiseInterval(total, mechanisms, question.confidence);
    return {
      queryId: question.queryId,
      kind: 'count',
      counted: question.counted,
      complete: given.length === sites.length,
      total: given.length === 0 ? null : String(total),
      interval:
        interval === null
          ? null
          : { low: String(interval.low), high: String(interval.high), confidence: question.confidence },
      epsilonPerSite: question.microEpsilon / MICRO_PER_EPSILON,
      sites,
    };
  };

  const run = async (question: OpenQuestion, includeSelf: boolean): Promise<StatsResult> => {
    const results: Results = new Map();
    const deadlineMs = clock.monotonicMs() + COLLECT_MAX_MS;
    const here = includeSelf
      ? askHere(question).then((result) => void results.set(self, result))
      : Promise.resolve();
    await Promise.all([here, askUntil(question, results, deadlineMs)]);
    const result = combine(question, results);
    await outbox.close(question, result);
    await audit.record({
      action: 'stats.answered',
      outcome: result.complete ? 'ok' : 'failed',
      actor: Pseudonym.parse(question.asker),
      role: question.role,
      requestId: question.queryId,
    });
    return result;
  };

  const prepare = async ({
    cohort,
    microEpsilon,
    confidence,
    asker,
  }: CountQuestion): Promise<OpenQuestion> => {
    const query: StatsQuery = { kind: 'count', cohort, microEpsilon };
    const sites = withRecords(options.board(), mirror.state, self);
    const counted = canonicalCohort(cohort);
    const base = {
      query,
      counted,
      microEpsilon,
      asker: asker.pseudonym,
      role: asker.role,
      department: asker.department,
      confidence,
    };
    if (sites.length === 0 || link.state !== 'online') {
      return {
        ...base,
        queryId: QueryId.parse(randomHex(random, 16)),
        sealed: '',
        replySeed: '',
        sites: [],
        expiresMs: Math.trunc(clock.nowMs()),
      };
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
        microEpsilon,
        sizeBytes: counted.length,
        priority: 5,
      },
      sites,
      options.sealing,
    );
    return {
      ...base,
      queryId: sent.queryId,
      sealed: toBase64(encodeSealedQuery(sent.sealed)),
      replySeed: toBase64(sent.reply.seed),
      sites,
      expiresMs: Math.trunc(clock.nowMs()) + COLLECT_MAX_MS * 4,
    };
  };

  const start = (question: OpenQuestion, includeSelf: boolean): Promise<StatsResult> => {
    const result = run(question, includeSelf).finally(() => running.delete(question.queryId));
    running.set(question.queryId, result);
    return result;
  };

  return {
    async count(asked) {
      // Before any site charges for an answer that could not be shown.
      checkConfidence(asked.confidence);
      const here = await options.hasRecords();
      const question = await prepare(asked);
      if (!here && question.sites.length === 0)
        throw new QflError('site_unavailable', {
          detail: 'no site with records can be reached',
          next: 'Import records with "qfl agent import DIR", or check the connection with "qfl agent status".',
        });
      await outbox.add(question);
      await audit.record({
        action: 'stats.asked',
        outcome: 'begun',
        actor: asked.asker.pseudonym,
        role: asked.asker.role,
        requestId: question.queryId,
      });
      return requireSome(await start(question, here));
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
          start(question, await options.hasRecords()).catch((error: unknown) =>
            logger.warn({ err: error }, 'an open question could not be finished'),
          );
      }
    },
  };
};

/** When nobody answered, the first refusal is the error, and all of them are its facts. */
const requireSome = (result: StatsResult): StatsResult => {
  if (result.total !== null) return result;
  const refusals = result.sites.filter((one) => one.status === 'refused');
  const first = refusals.find(({ code }) => code === 'budget_exceeded') ?? refusals[0];
  const error = toQflError(first === undefined ? undefined : asError(first, result, refusals));
  throw error;
};

const asError = (
  first: Extract<StatsSiteResult, { status: 'refused' }>,
  result: StatsResult,
  refusals: readonly StatsSiteResult[],
): QflError =>
  new QflError(isErrorCode(first.code) ? first.code : 'refused_by_site', {
    detail: `${first.site}: ${first.detail ?? first.code}`,
    facts: { ...first.facts, queryId: result.queryId, sites: refusals },
  });
