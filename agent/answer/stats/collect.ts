/**
 * Asks the sites of an open question, this one and others, until each has answered or refused or time is up. The same question every
 * time, so that a repeat after a lost connection spends nothing.
 */
import { z } from 'zod';
import { fromBase64, fromUtf8, toHex, utf8 } from '../../../shared/bytes.ts';
import { type Clock, MINUTE_MS } from '../../../shared/clock.ts';
import { hashOf } from '../../../shared/crypto/hash.ts';
import { type AnswerOpener, openAnswer } from '../../../shared/crypto/sealed-answer.ts';
import { decodeSealedQuery, encodeSealedQuery, queryHash } from '../../../shared/crypto/sealed-query.ts';
import { identitiesAt, identitiesNow, requireSite } from '../../../shared/directory/chain.ts';
import { QflError, toQflError } from '../../../shared/errors.ts';
import { DepartmentId, Pseudonym, type SiteId } from '../../../shared/ids.ts';
import type { Logger } from '../../../shared/log.ts';
import type { Receipt } from '../../../shared/wire/envelope.ts';
import { METHODS, RelayedPart } from '../../../shared/wire/session.ts';
import { StatsAnswer } from '../../../shared/wire/stats.ts';
import type { DirectoryMirror } from '../../federation/directory.ts';
import type { Link } from '../../federation/link.ts';
import type { Contribute } from '../contribute.ts';
import type { OpenQuestion } from '../outbox.ts';
import { openFirst } from '../ask.ts';
import { checkReceipt } from '../receipts.ts';

/** How long the asker waits for all sites; late answers are fetched by the query's id. */
export const COLLECT_MAX_MS = 60_000;
/** A tally asks a model about every shard of the patients: minutes at a large site, within the question's life. */
const TALLY_MAX_MS = 4 * MINUTE_MS;

const waitMsOf = (query: unknown): number =>
  z.looseObject({ kind: z.literal('tally') }).safeParse(query).success ? TALLY_MAX_MS : COLLECT_MAX_MS;
const RETRY_PAUSE_MS = 500;

/** What one site said, before anything is made of it. */
export type SiteOutcome =
  | {
      readonly status: 'answered';
      readonly answer: StatsAnswer;
      /** The site's signed word on what it charged; none from this site itself. */
      readonly receipt?: Receipt;
    }
  | {
      readonly status: 'refused';
      readonly code: string;
      readonly detail: string | null;
      readonly facts: Record<string, unknown> | null;
    };
export type SiteOutcomes = ReadonlyMap<SiteId, SiteOutcome>;

export interface CollectOptions {
  readonly self: SiteId;
  readonly link: Link;
  readonly mirror: DirectoryMirror;
  readonly contribute: Contribute;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly refreshDirectory: () => Promise<void>;
}

export const refusedBy = (error: QflError): SiteOutcome => ({
  status: 'refused',
  code: error.code,
  detail: error.detail ?? error.title,
  facts: error.facts === undefined ? null : { ...error.facts },
});

type Outcomes = Map<SiteId, SiteOutcome>;

/** This site's own answer, through the same door and the same ledger as for everybody else. */
const askHere = async (
  question: OpenQuestion,
  { self, contribute }: CollectOptions,
): Promise<SiteOutcome> => {
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
    return { status: 'answered', answer: StatsAnswer.parse(JSON.parse(fromUtf8(sealed))) };
  } catch (error) {
    return refusedBy(toQflError(error));
  }
};

/** Opens the pieces of one pass over the relay; each site has a stream of its own. */
const createIntake = (question: OpenQuestion, outcomes: Outcomes, options: CollectOptions) => {
  const { self, mirror } = options;
  const hash = queryHash(decodeSealedQuery(fromBase64(question.sealed)));
  const keysOf = (site: SiteId) => requireSite(mirror.state, site, options.clock.nowMs());
  const open = new Map<SiteId, { opener: AnswerOpener; answer: StatsAnswer | undefined }>();
  const stateOf = (site: SiteId) => {
    const known = open.get(site) ?? {
      opener: openAnswer({
        queryId: question.queryId,
        queryHash: hash,
        asker: self,
        site,
        replySeed: fromBase64(question.replySeed),
        identities: () => identitiesNow(keysOf(site), options.clock.nowMs()),
      }),
      answer: undefined,
    };
    open.set(site, known);
    return known;
  };
  const take = async (part: RelayedPart, payload: Uint8Array): Promise<void> => {
    const { site } = part;
    if (!question.sites.includes(site) || outcomes.has(site)) return;
    if (part.refused !== undefined) {
      const { code, detail = null, facts = null } = part.refused;
      // A site that is away may come back within the question's life; what it decided itself stays.
      if (code !== 'not_connected' && code !== 'timeout')
        outcomes.set(site, { status: 'refused', code, detail, facts });
      return;
    }
    const state = stateOf(site);
    const opened = await openFirst(state.opener, payload, options.refreshDirectory);
    if (opened.kind === 'chunk') state.answer = StatsAnswer.parse(JSON.parse(fromUtf8(opened.text)));
    if (opened.kind !== 'end' || state.answer === undefined) return;
    const receipt = checkReceipt(part.receipt, {
      queryId: question.queryId,
      queryHash: hash,
      site,
      identities: (atMs) => identitiesAt(keysOf(site), atMs),
    });
    outcomes.set(site, { status: 'answered', answer: state.answer, receipt });
  };
  return {
    take,
    close: () => {
      for (const { opener } of open.values()) opener.close();
    },
  };
};

export const createCollect = (options: CollectOptions) => {
  const { self, link, clock, logger } = options;

  /** One pass over the relay; sites that answered or refused for good are in `outcomes` after it. */
  const askOthers = async (question: OpenQuestion, outcomes: Outcomes): Promise<void> => {
    const payload = encodeSealedQuery(decodeSealedQuery(fromBase64(question.sealed)));
    const intake = createIntake(question, outcomes, options);
    try {
      for await (const piece of link.stream(
        METHODS.query,
        { payload },
        { timeoutMs: waitMsOf(question.query) },
      )) {
        const part = RelayedPart.parse(piece.header);
        try {
          await intake.take(part, piece.payload);
        } catch (error) {
          outcomes.set(part.site, refusedBy(toQflError(error)));
        }
      }
    } finally {
      intake.close();
    }
  };

  const askUntil = async (question: OpenQuestion, outcomes: Outcomes, deadlineMs: number): Promise<void> => {
    const missing = (): SiteId[] => question.sites.filter((site) => !outcomes.has(site));
    while (question.sealed !== '' && missing().length > 0) {
      try {
        await askOthers(question, outcomes);
      } catch (error) {
        const known = toQflError(error);
        logger.warn(
          { code: known.code, detail: known.detail, queryId: question.queryId },
          'a federated statistic is interrupted',
        );
        if (known.code !== 'not_connected' && known.code !== 'timeout')
          for (const site of missing()) outcomes.set(site, refusedBy(known));
      }
      if (missing().length === 0 || clock.monotonicMs() >= deadlineMs) break;
      await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
    }
    for (const site of missing())
      outcomes.set(
        site,
        refusedBy(new QflError('not_connected', { detail: `${site} could not be reached in time` })),
      );
  };

  return async function collect(question: OpenQuestion): Promise<SiteOutcomes> {
    const outcomes: Outcomes = new Map();
    const deadlineMs = clock.monotonicMs() + waitMsOf(question.query);
    const here = question.here
      ? askHere(question, options).then((outcome) => void outcomes.set(self, outcome))
      : Promise.resolve();
    await Promise.all([here, askUntil(question, outcomes, deadlineMs)]);
    return outcomes;
  };
};
export type Collect = ReturnType<typeof createCollect>;
