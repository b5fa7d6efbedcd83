/** A site's signed word on what became of a query: made by the serving site, checked by the asking one. */
import { fromBase64, toBase64, toHex } from '../../shared/bytes.ts';
import { receiptMessage, signReceipt, verifyReceipt } from '../../shared/crypto/sealed-answer.ts';
import type { IdentitiesAt, Identity } from '../../shared/crypto/signature.ts';
import { QflError } from '../../shared/errors.ts';
import type { QueryId, SiteId } from '../../shared/ids.ts';
import { Receipt } from '../../shared/wire/envelope.ts';

export interface ReceiptFacts {
  readonly queryId: QueryId;
  readonly queryHash: Uint8Array;
  readonly site: SiteId;
  readonly outcome: Receipt['outcome'];
  readonly reason: string | null;
  /** Hash over the sealed pieces; null for a refusal. */
  readonly answerHash: Uint8Array | null;
  /** Integer of 2^-40 nat. */
  readonly spend: bigint;
  readonly atMs: number;
}

export const makeReceipt = (facts: ReceiptFacts, identity: Identity): Receipt => {
  const unsigned = {
    queryId: facts.queryId,
    queryHash: toHex(facts.queryHash),
    site: facts.site,
    outcome: facts.outcome,
    reason: facts.reason,
    answerHash: facts.answerHash === null ? null : toHex(facts.answerHash),
    spend: facts.spend.toString(),
    atMs: Math.trunc(facts.atMs),
  };
  return { ...unsigned, signature: toBase64(signReceipt(identity, receiptMessage(unsigned))) };
};

/** @throws QflError `bad_signature`, `protocol` */
export const checkReceipt = (
  value: unknown,
  expected: { queryId: QueryId; queryHash: Uint8Array; site: SiteId; identities: IdentitiesAt },
): Receipt => {
  const parsed = Receipt.safeParse(value);
  if (!parsed.success) throw new QflError('protocol', { detail: 'a receipt is not valid' });
  const receipt = parsed.data;
  const fits =
    receipt.queryId === expected.queryId &&
    receipt.queryHash === toHex(expected.queryHash) &&
    receipt.site === expected.site;
  const message = receiptMessage(receipt);
  const signed = expected
    .identities(receipt.atMs)
    .some((identity) => verifyReceipt(identity, message, fromBase64(receipt.signature)));
  if (!fits || !signed)
    throw new QflError('bad_signature', { detail: `the receipt is not ${expected.site}'s for this query` });
  return receipt;
};
