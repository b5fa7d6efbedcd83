/** What the coordinator checks of a sealed query before it moves: all that it can see. */
import { type Clock, CLOCK_SKEW_MS, MINUTE_MS } from '../../shared/clock.ts';
import { decodeSealedQuery, readEnvelope, type SealedQuery } from '../../shared/crypto/sealed-query.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Envelope } from '../../shared/wire/envelope.ts';
import type { PolicyBook } from '../policy.ts';

export const QUERY_LIFE_MAX_MS = 15 * MINUTE_MS;

/** @throws QflError `protocol`, `forbidden`, `expired` */
export const admitQuery = (
  payload: Uint8Array,
  asker: SiteId,
  clock: Clock,
  policy: Pick<PolicyBook, 'check'>,
): { sealed: SealedQuery; envelope: Envelope } => {
  const sealed = decodeSealedQuery(payload);
  const envelope = readEnvelope(sealed.header);
  if (envelope.sender !== asker)
    throw new QflError('forbidden', { detail: 'a site asks in its own name only' });
  if (sealed.wraps.length !== envelope.recipients.length)
    throw new QflError('protocol', { detail: 'one wrapped key per recipient' });
  const nowMs = clock.nowMs();
  const tooLong = envelope.expiresMs - envelope.createdMs > QUERY_LIFE_MAX_MS;
  if (tooLong || envelope.createdMs > nowMs + CLOCK_SKEW_MS || envelope.expiresMs < nowMs - CLOCK_SKEW_MS)
    throw new QflError('expired', {
      detail: 'the query is not of this time',
      next: 'Check the clocks of both machines.',
    });
  policy.check(envelope);
  return { sealed, envelope };
};
