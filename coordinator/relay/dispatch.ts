/**
 * The way of one chat: plan, pass the sealed query to the planned site, pass its sealed pieces back. A site may refuse and
 * the plan moves on; after the first piece it does not, so an answer is from one site or cut, never patched together.
 */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { Clock } from '../../shared/clock.ts';
import { encodeSealedQuery, forRecipient, type SealedQuery } from '../../shared/crypto/sealed-query.ts';
import { abortedBy, type ErrorCode, QflError, toQflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Envelope } from '../../shared/wire/envelope.ts';
import type { Call, Received, Reply } from '../../shared/wire/peer.ts';
import { METHODS, type PlanSummary, type RelayedPart, ServedPart } from '../../shared/wire/session.ts';
import type { CoordinatorMeters } from '../metrics.ts';
import type { PolicyBook } from '../policy.ts';
import type { Presence } from '../sites/presence.ts';
import { admitQuery } from './admission.ts';
import type { Placement, Planner } from './placement.ts';

/** The longest silence of a serving site; long prompts take a back end a while. */
export const SERVE_SILENCE_MAX_MS = 120_000;

/** Refusals that say nothing about the next candidate. */
const MOVES_ON: ReadonlySet<ErrorCode> = new Set([
  'overloaded',
  'not_connected',
  'refused_by_site',
  'backend_failed',
  'not_found',
  'not_ready',
  'timeout',
  'unknown_key',
  'site_unavailable',
]);

export interface RelayOptions {
  readonly presence: Presence;
  readonly planner: Planner;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly policy: Pick<PolicyBook, 'check'>;
  readonly meters: Pick<CoordinatorMeters, 'relayed' | 'firstPiece'>;
}

type Refusals = PlanSummary['refusals'];

const none = (envelope: Envelope, refusals: Refusals): QflError =>
  new QflError('site_unavailable', {
    detail:
      refusals.length === 0
        ? `no site of this query's candidates offers ${envelope.model ?? 'that'} now`
        : 'every candidate refused',
    next: 'Try again in a moment; "GET /v1/models" lists what the federation offers now.',
    facts: { refusals },
  });

const parseServed = (piece: Received): ServedPart => {
  const parsed = ServedPart.safeParse(piece.header ?? {});
  if (!parsed.success) throw new QflError('protocol', { detail: 'a wrong piece of a serving site' });
  return parsed.data;
};

export const relayChat = (options: RelayOptions) => {
  const { presence, planner, audit, clock, policy, meters } = options;

  const record = (envelope: Envelope, outcome: 'begun' | 'ok' | 'failed'): Promise<unknown> => {
    const sites = envelope.recipients.map(({ site }) => ({ kind: 'recipient', id: site }));
    return audit.record({
      action: 'relay.dispatched',
      outcome,
      requestId: envelope.queryId,
      objects: [{ kind: 'sender', id: envelope.sender }, ...sites],
    });
  };

  async function* serveAt(
    placement: Placement,
    sealed: SealedQuery,
    envelope: Envelope,
    plan: PlanSummary,
    logged: Promise<unknown>,
    signal: AbortSignal,
  ): AsyncGenerator<Reply> {
    const { site } = placement;
    const startedMs = clock.monotonicMs();
    let firstTokenMs: number | null = null;
    let isWhole = false;
    try {
      const peer = presence.of(site)?.peer;
      if (peer === undefined) throw new QflError('not_connected');
      const payload = encodeSealedQuery(forRecipient(sealed, envelope, site));
      for await (const piece of peer.stream(
        METHODS.serve,
        { payload },
        { timeoutMs: SERVE_SILENCE_MAX_MS, signal },
      )) {
        const served = parseServed(piece);
        const header: RelayedPart = {
          site,
          ...(firstTokenMs === null ? { plan } : {}),
          ...(served.receipt === undefined ? {} : { receipt: served.receipt }),
        };
        if (firstTokenMs === null) {
          firstTokenMs = clock.monotonicMs() - startedMs;
          meters.firstPiece(site, firstTokenMs / 1_000);
        }
        // The entry was begun beside the dispatch; nothing of the answer passes before it is on the disk.
        await logged;
        yield { header, payload: piece.payload };
      }
      isWhole = firstTokenMs !== null;
    } finally {
      placement.done(firstTokenMs, isWhole);
    }
  }

  /** Tries candidates in planned order until one gives a first piece. */
  async function* tryAll(
    sealed: SealedQuery,
    envelope: Envelope,
    logged: Promise<unknown>,
    signal: AbortSignal,
  ): AsyncGenerator<Reply> {
    const refusals: Refusals = [];
    let candidates: SiteId[] = envelope.recipients.map(({ site }) => site);
    while (candidates.length > 0) {
      const placement = await planner.place({
        model: envelope.model ?? '',
        candidates,
        priority: envelope.priority,
        sizeBucketBytes: envelope.sizeBucketBytes,
        microEpsilon: envelope.microEpsilon,
        queryId: envelope.queryId,
        sender: envelope.sender,
        // By the asker's clock it may be over already: how long it is worth is what counts.
        expiresMs: clock.nowMs() + envelope.expiresMs - envelope.createdMs,
        affinity: envelope.affinity,
        apart: envelope.apart,
        exclusions: [...refusals],
        signal,
      });
      if (signal.aborted) {
        placement?.done(null);
        throw abortedBy(signal);
      }
      if (placement === undefined) break;
      const plan: PlanSummary = { ...placement.plan, refusals };
      if (placement.site === envelope.sender) {
        // The asker itself is the best place: it serves without another trip, and tells its telemetry as usual.
        placement.done(null);
        await logged;
        yield { header: { site: placement.site, plan } satisfies RelayedPart };
        return;
      }
      let begun = false;
      try {
        for await (const piece of serveAt(placement, sealed, envelope, plan, logged, signal)) {
          begun = true;
          yield piece;
        }
        return;
      } catch (thrown) {
        const error = toQflError(thrown);
        if (begun)
          throw signal.aborted
            ? error
            : new QflError('cut', {
                detail: `${placement.site} stopped in the middle (${error.code})`,
                cause: thrown,
              });
        if (!MOVES_ON.has(error.code)) throw error;
        refusals.push({ site: placement.site, code: error.code });
        candidates = candidates.filter((site) => site !== placement.site);
      }
    }
    throw none(envelope, refusals);
  }

  return async function* answer(call: Call, asker: SiteId): AsyncGenerator<Reply> {
    const { sealed, envelope } = admitQuery(call.payload, asker, clock, policy);
    const logged = record(envelope, 'begun');
    logged.catch(() => undefined);
    let outcome: 'ok' | 'failed' = 'failed';
    try {
      yield* tryAll(sealed, envelope, logged, call.signal);
      outcome = 'ok';
    } finally {
      meters.relayed(outcome);
      await record(envelope, outcome);
    }
  };
};
