/**
 * A chat from this site's users: who may answer it, sealed to those, planned by the coordinator, opened piece by piece. Nothing is
 * shown before the first piece is proven, and an answer without its sealed end is an error, never a shorter answer.
 */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { Clock } from '../../shared/clock.ts';
import { type AnswerOpener, type AnswerPart, openAnswer } from '../../shared/crypto/sealed-answer.ts';
import { encodeSealedQuery } from '../../shared/crypto/sealed-query.ts';
import { identitiesAt, identitiesNow, requireSite } from '../../shared/directory/chain.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { RandomBytes } from '../../shared/random.ts';
import type { ChatRequest } from '../../shared/wire/chat.ts';
import { CHAT_CANDIDATES_MAX, type DataClass, type Receipt } from '../../shared/wire/envelope.ts';
import type { Received } from '../../shared/wire/peer.ts';
import { type Board, METHODS, type PlanSummary, RelayedPart } from '../../shared/wire/session.ts';
import { type AccessPolicy, mayTravel } from '../access/policy.ts';
import type { DirectoryMirror } from '../federation/directory.ts';
import type { Link } from '../federation/link.ts';
import type { Models } from '../llm/models.ts';
import type { AgentMeters } from '../metrics.ts';
import type { Affinity } from './affinity.ts';
import { drawSome, offering } from './candidates.ts';
import { heardOut } from './hear-out.ts';
import { createLineReader } from './lines.ts';
import { checkReceipt } from './receipts.ts';
import {
  type Asker,
  type Coupling,
  sealQuestion,
  type SealingOptions,
  type SentQuestion,
} from './sealing.ts';

/** The longest silence before a question counts as lost. */
export const ANSWER_SILENCE_MAX_MS = 120_000;

export interface ChatQuestion {
  readonly request: ChatRequest;
  readonly dataClass: DataClass;
  readonly asker: Asker;
  readonly priority: number;
  readonly requestId: string;
}

export type AnswerEvent =
  /** Before anything else: where the answer comes from; `plan` is null when no plan was needed. */
  | { readonly kind: 'placed'; readonly site: SiteId; readonly plan: PlanSummary | null }
  /** A JSON text of the back end: a chunk of a stream, or the whole completion. */
  | { readonly kind: 'data'; readonly json: string }
  /** After everything: the whole answer has arrived. */
  | { readonly kind: 'done'; readonly receipt: Receipt | null };

export interface AskOptions {
  readonly self: SiteId;
  readonly policy: AccessPolicy;
  readonly models: Models;
  readonly link: Link;
  readonly mirror: DirectoryMirror;
  /** @throws QflError `directory_stale`, `lockdown` */
  directoryReady(): Promise<void>;
  readonly refreshDirectory: () => Promise<void>;
  readonly sealing: SealingOptions;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly meters: Pick<AgentMeters, 'answered'>;
  readonly affinity: Affinity;
  board(): Board | undefined;
}

const staysHere = (question: ChatQuestion): QflError =>
  new QflError('stays_local', {
    detail: `a ${question.dataClass} question may not leave this site, and this site does not offer ${question.request.model}`,
    next: 'Choose a model of this site, or a lower data class if the content allows it.',
  });

const parsePart = (piece: Received): RelayedPart => {
  const parsed = RelayedPart.safeParse(piece.header);
  if (!parsed.success) throw new QflError('protocol', { detail: 'a wrong piece of the coordinator' });
  return parsed.data;
};

/** Why the directory cannot be relied on now; undefined when it can. */
const trustOf = (ready: () => Promise<void>): Promise<QflError | undefined> =>
  ready().then(() => undefined, toQflError);

export const createAsk = (options: AskOptions) => {
  const { self, policy, models, link, mirror, audit, random, affinity } = options;

  const keysOf = (site: SiteId) => requireSite(mirror.state, site, options.clock.nowMs());

  /** Sites to seal to, this one and the one that has the conversation warm included; empty when none offers the model. */
  const choose = async (question: ChatQuestion, coupling: Coupling): Promise<readonly SiteId[]> => {
    const { model } = question.request;
    const here = (await models.offers(model)) ? [self] : [];
    const stale = await trustOf(() => options.directoryReady());
    const everywhere = offering(options.board(), mirror.state, self, model, options.clock.nowMs());
    const allowed = everywhere.filter((site) => mayTravel(policy, question.dataClass, site));
    // The board outlives the connection that brought it: offline, nobody else can be asked whatever it says.
    const others = link.state === 'online' && stale === undefined ? allowed : [];
    if (here.length === 0 && stale !== undefined && link.state === 'online') throw stale;
    if (here.length === 0 && others.length === 0) {
      if (allowed.length === 0 && (everywhere.length > 0 || question.dataClass === 'restricted'))
        throw staysHere(question);
      if (link.state !== 'online')
        throw new QflError('not_connected', {
          detail: `this site does not offer ${model} and is not connected to the federation`,
          next: 'See "qfl agent status".',
        });
      throw new QflError('not_found', {
        detail: `no site offers the model ${model} now`,
        next: '"GET /v1/models" lists what the federation offers.',
      });
    }
    const warm = others.filter((site) => site === affinity.warmSite(coupling));
    const cold = others.filter((site) => !warm.includes(site));
    const room = CHAT_CANDIDATES_MAX - here.length - warm.length;
    return [...here, ...warm, ...drawSome(cold, room, random)];
  };

  async function* locally(
    question: ChatQuestion,
    plan: PlanSummary | null,
    signal: AbortSignal,
  ): AsyncGenerator<AnswerEvent> {
    let placed = false;
    for await (const json of models.chat(question.request, question.priority, signal)) {
      if (!placed) yield { kind: 'placed', site: self, plan };
      placed = true;
      yield { kind: 'data', json };
    }
    yield { kind: 'done', receipt: null };
  }

  const openerFor = (sent: SentQuestion, site: SiteId): AnswerOpener =>
    openAnswer({
      queryId: sent.queryId,
      queryHash: sent.hash,
      asker: self,
      site,
      replySeed: sent.reply.seed,
      identities: () => identitiesNow(keysOf(site), options.clock.nowMs()),
    });

  const receiptOf = (part: RelayedPart, sent: SentQuestion, site: SiteId): Receipt | null =>
    part.receipt === undefined
      ? null
      : checkReceipt(part.receipt, {
          queryId: sent.queryId,
          queryHash: sent.hash,
          site,
          identities: (atMs) => identitiesAt(keysOf(site), atMs),
        });

  async function* remotely(
    question: ChatQuestion,
    sites: readonly SiteId[],
    coupling: Coupling,
    signal: AbortSignal,
  ): AsyncGenerator<AnswerEvent> {
    const { request, dataClass, asker, priority } = question;
    const sizeBytes = Buffer.byteLength(JSON.stringify(request.messages));
    const sent = sealQuestion(
      {
        kind: 'chat',
        asker,
        dataClass,
        purpose: 'chat',
        legalBasis: 'care',
        query: request,
        model: request.model,
        microEpsilon: 0,
        sizeBytes,
        priority,
        coupling,
      },
      sites,
      options.sealing,
    );
    const lines = createLineReader();
    let opener: AnswerOpener | undefined;
    let site: SiteId | undefined;
    let isWhole = false;
    try {
      const message = { payload: encodeSealedQuery(sent.sealed) };
      const open = (ended: AbortSignal) =>
        link.stream(METHODS.query, message, { timeoutMs: ANSWER_SILENCE_MAX_MS, signal: ended });
      for await (const piece of heardOut(open, signal, () => isWhole)) {
        const part = parsePart(piece);
        if (opener === undefined) {
          if (part.site === self && piece.payload.byteLength === 0)
            return yield* locally(question, part.plan ?? null, signal);
          site = part.site;
          opener = openerFor(sent, site);
          await openFirst(opener, piece.payload, options.refreshDirectory);
          yield { kind: 'placed', site, plan: part.plan ?? null };
          continue;
        }
        if (part.site !== site) throw new QflError('cut', { detail: 'the answer changed its site' });
        const opened = opener.open(piece.payload);
        if (opened.kind === 'chunk') for (const json of lines.take(opened.text)) yield { kind: 'data', json };
        else if (opened.kind === 'end') {
          const receipt = receiptOf(part, sent, site);
          isWhole = true;
          return yield { kind: 'done', receipt };
        }
      }
      throw new QflError('cut', { detail: 'the answer ended before its sealed end' });
    } catch (thrown) {
      throw opener === undefined || signal.aborted ? thrown : asCut(thrown);
    } finally {
      opener?.close();
    }
  }

  return async function* ask(question: ChatQuestion, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
    const common = {
      actor: question.asker.pseudonym,
      role: question.asker.role,
      classification: question.dataClass,
      requestId: question.requestId,
    } as const;
    const logged = audit.record({ action: 'chat.asked', outcome: 'begun', ...common });
    logged.catch(() => undefined);
    let outcome: 'ok' | 'failed' = 'failed';
    let place: SiteId | undefined;
    const startedMs = options.clock.monotonicMs();
    try {
      const coupling = affinity.couplingOf(question.request, question.asker.pseudonym);
      const sites = await choose(question, coupling);
      const events =
        sites.length === 1 && sites[0] === self
          ? locally(question, null, signal)
          : remotely(question, sites, coupling, signal);
      for await (const event of events) {
        // No entry, no action: the question may be on its way, but nothing of the answer is shown before its entry is on the disk.
        await logged;
        if (event.kind === 'placed') {
          place = event.site;
          affinity.served(coupling, place);
          options.meters.answered(
            place === self ? 'local' : 'federation',
            (options.clock.monotonicMs() - startedMs) / 1_000,
          );
        }
        yield event;
      }
      outcome = 'ok';
    } finally {
      await audit.record({
        action: 'chat.answered',
        outcome,
        ...common,
        ...(place === undefined ? {} : { objects: [{ kind: 'site', id: place }] }),
      });
    }
  };
};
export type Ask = ReturnType<typeof createAsk>;

/** A site that took a new identity a moment ago may answer under it before its record has come here: looked up once. */
export const openFirst = async (
  opener: AnswerOpener,
  piece: Uint8Array,
  refresh: () => Promise<void>,
): Promise<AnswerPart> => {
  try {
    return opener.open(piece);
  } catch (error) {
    if (toQflError(error).code !== 'bad_signature') throw error;
    await refresh();
    return opener.open(piece);
  }
};

/** After the first piece every failure is a cut, whatever caused it: the asker must not take the rest for the whole. */
const asCut = (thrown: unknown): QflError => {
  const error = toQflError(thrown);
  return error.code === 'cut' || error.code === 'bad_signature'
    ? error
    : new QflError('cut', { detail: `the answer broke off (${error.code})`, cause: thrown });
};
