/** What stands outside a site's disk: its identity, a coordinator that countersigns, and receipts that askers keep. */
import { makeReceipt } from '../../../agent/answer/receipts.ts';
import type { Ledger } from '../../../agent/budget/ledger.ts';
import { fromHex, toHex } from '../../../shared/bytes.ts';
import { createIdentity } from '../../../shared/crypto/signature.ts';
import type { Receipt } from '../../../shared/wire/envelope.ts';
import { countersign, type CountersignedHead, signHead } from '../../../shared/wire/ledger-head.ts';
import { request, SITE, START_MS } from './fixture.ts';

export const IDENTITY = createIdentity(new Uint8Array(32).fill(1));
export const COORDINATOR = createIdentity(new Uint8Array(32).fill(2));

/** The head as it is now, countersigned. */
export const countersigned = (ledger: Ledger, atMs = START_MS, logIndex = 7): CountersignedHead => {
  const { epoch, lifetimeUnits, lifetimeDeltaUnits, head } = ledger.status();
  const signed = signHead(IDENTITY, {
    site: SITE,
    epoch,
    counter: head.counter,
    hash: toHex(head.hash),
    units: String(lifetimeUnits),
    ...(lifetimeDeltaUnits === 0n ? {} : { delta: String(lifetimeDeltaUnits) }),
    atMs,
  });
  return countersign(COORDINATOR, { signed, logIndex, atMs });
};

/** The receipt that the asker of `query` holds. */
export const receiptOf = (query: number, spend: bigint, atMs = START_MS + 1): Receipt => {
  const { queryId, envelopeHash } = request({ query });
  return makeReceipt(
    {
      queryId,
      queryHash: fromHex(envelopeHash),
      site: SITE,
      outcome: 'answered',
      reason: null,
      answerHash: new Uint8Array(32),
      spend,
      atMs,
    },
    IDENTITY,
  );
};
