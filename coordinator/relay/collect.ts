/**
 * The way of one federated statistic: the sealed query goes to every recipient at once; each answers or refuses for itself, and
 * the asker hears from each. The coordinator passes pieces on as they come.
 */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { type Clock, MINUTE_MS } from '../../shared/clock.ts';
import { encodeSealedQuery, forRecipient, type SealedQuery } from '../../shared/crypto/sealed-query.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Envelope } from '../../shared/wire/envelope.ts';
import type { Call, Reply } from '../../shared/wire/peer.ts';
import { METHODS, type RelayedPart, ServedPart } from '../../shared/wire/session.ts';
import type { PolicyBook } from '../policy.ts';
import type { Presence } from '../sites/presence.ts';
import { admitQuery } from './admission.ts';

export const COLLECT_SILENCE_MAX_MS = 4 * MINUTE_MS;

export interface CollectOptions {
  readonly presence: Presence;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly policy: Pick<PolicyBook, 'check'>;
}

const refusedPart = (site: SiteId, error: QflError): Reply => ({
  header: {
    site,
    refused: {
      code: error.code,
      ...(error.detail === undefined ? {} : { detail: error.detail }),
      ...(error.facts === undefined ? {} : { facts: { ...error.facts } }),
    },
  } satisfies RelayedPart,
});

/** Several streams as one, in the order in which pieces come. */
async function* merge(streams: readonly AsyncGenerator<Reply>[]): AsyncGenerator<Reply> {
  const next = (stream: AsyncGenerator<Reply>) => stream.next().then((result) => ({ stream, result }));
  const pending = new Map(streams.map((stream) => [stream, next(stream)]));
  try {
    while (pending.size > 0) {
      const { stream, result } = await Promise.race(pending.values());
      if (result.done === true) pending.delete(stream);
      else {
        pending.set(stream, next(stream));
        yield result.value;
      }
    }
  } finally {
    await Promise.allSettled([...pending.keys()].map((stream) => stream.return(undefined)));
  }
}

export const collectStatistics = (options: CollectOptions) => {
  const { presence, audit, clock, policy } = options;

  async function* askOne(
    site: SiteId,
    sealed: SealedQuery,
    envelope: Envelope,
    signal: AbortSignal,
  ): AsyncGenerator<Reply> {
    try {
      const peer = presence.of(site)?.peer;
      if (peer === undefined) throw new QflError('not_connected', { detail: `${site} is not connected` });
      const payload = encodeSealedQuery(forRecipient(sealed, envelope, site));
      for await (const piece of peer.stream(
        METHODS.serve,
        { payload },
        { timeoutMs: COLLECT_SILENCE_MAX_MS, signal },
      )) {
        const { receipt } = ServedPart.parse(piece.header ?? {});
        yield {
          header: { site, ...(receipt === undefined ? {} : { receipt }) } satisfies RelayedPart,
          payload: piece.payload,
        };
      }
    } catch (error) {
      yield refusedPart(site, toQflError(error));
    }
  }

  return async function* answer(call: Call, asker: SiteId): AsyncGenerator<Reply> {
    const { sealed, envelope } = admitQuery(call.payload, asker, clock, policy);
    const objects = [
      { kind: 'sender', id: asker },
      ...envelope.recipients.map(({ site }) => ({ kind: 'recipient', id: site })),
    ];
    // Statistics are rare and cost privacy: the entry is on the disk before any site hears of the query.
    await audit.record({
      action: 'relay.dispatched',
      outcome: 'begun',
      requestId: envelope.queryId,
      objects,
    });
    yield* merge(envelope.recipients.map(({ site }) => askOne(site, sealed, envelope, call.signal)));
    await audit.record({ action: 'relay.dispatched', outcome: 'ok', requestId: envelope.queryId, objects });
  };
};
