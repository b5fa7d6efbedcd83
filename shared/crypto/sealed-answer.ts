/**
 * `fed-e2e/1`, answers: a stream sealed to the reply key of one query. The first chunk proves which site answers, the last one
 * its count and hash; without the last one an answer is `cut`, never complete. Every chunk is padded, because
 * token lengths leak text.
 *
 *     first = ciphertext(1120) ‖ stream header(24) ‖ sealed AnswerStart      then sealed tokens      last = sealed AnswerEnd (final tag)
 */
import { concat, equalConstantTime, framed, fromBase64, fromUtf8, toBase64, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import type { QueryId, SiteId } from '../ids.ts';
import { AnswerEnd, AnswerStart } from '../wire/envelope.ts';
import { deriveKey, hashOf } from './hash.ts';
import { pad, unpad } from './padding.ts';
import { openPullStream, openPushStream, type PullStream, STREAM_HEADER_BYTES } from './secretstream.ts';
import { type Identity, type IdentityPublic, verifySignature } from './signature.ts';
import { decapsulate, encapsulate, type Hedge, XWING_CIPHERTEXT_BYTES } from './xwing.ts';

const START_LABEL = 'fed-e2e/1 answer start';
const END_LABEL = 'fed-e2e/1 answer end';

export interface AnswerFacts {
  readonly queryId: QueryId;
  /** 32 bytes of `queryHash`. */
  readonly queryHash: Uint8Array;
  readonly site: SiteId;
  readonly asker: SiteId;
  readonly model: string | null;
  readonly policyVersion: number;
  /** Integer of 2^-40 nat. */
  readonly spend: bigint;
  readonly ledgerHash: string | null;
}

const streamKey = (secret: Uint8Array, queryHash: Uint8Array, site: SiteId, asker: SiteId): Uint8Array =>
  deriveKey(secret, framed(queryHash, utf8(site), utf8(asker)), 'fed-e2e/1 answer');

const startMessage = (
  queryHash: Uint8Array,
  ciphertext: Uint8Array,
  start: Omit<AnswerStart, 'signature'>,
): Uint8Array =>
  framed(
    queryHash,
    ciphertext,
    utf8(
      JSON.stringify([
        start.queryId,
        start.site,
        start.model,
        start.policyVersion,
        start.spend,
        start.ledgerHash,
      ]),
    ),
  );
const endMessage = (queryHash: Uint8Array, chunks: number, hash: Uint8Array, spend: string): Uint8Array =>
  framed(queryHash, utf8(String(chunks)), hash, utf8(spend));

export interface AnswerSealer {
  readonly first: Uint8Array;
  chunk(text: Uint8Array): Uint8Array;
  /** Seals the end and forgets the key. */
  end(): Uint8Array;
  /** Forgets the key without an end: the asker will see `cut`. */
  abandon(): void;
}

export const sealAnswer = (
  facts: AnswerFacts,
  replyKey: Uint8Array,
  identity: Identity,
  hedge: Hedge,
): AnswerSealer => {
  const { ciphertext, secret } = encapsulate(replyKey, hedge, 'answer', facts.queryHash);
  const stream = openPushStream(streamKey(secret, facts.queryHash, facts.site, facts.asker));
  const { queryId, site, model, policyVersion, ledgerHash } = facts;
  const spend = facts.spend.toString();
  const start = { queryId, site, model, policyVersion, spend, ledgerHash };
  const signature = toBase64(identity.sign(START_LABEL, startMessage(facts.queryHash, ciphertext, start)));
  const opening = stream.push(pad(utf8(JSON.stringify({ ...start, signature }))), 'message', null);
  let running = hashOf('fed-e2e/1 answer hash', facts.queryHash);
  let chunks = 0;
  return {
    first: concat(ciphertext, stream.header, opening),
    chunk(text) {
      running = hashOf('fed-e2e/1 answer hash', running, text);
      chunks += 1;
      return stream.push(pad(text), 'message', null);
    },
    end() {
      const signed = identity.sign(END_LABEL, endMessage(facts.queryHash, chunks, running, spend));
      const end: AnswerEnd = { chunks, hash: toBase64(running), signature: toBase64(signed) };
      const sealed = stream.push(pad(utf8(JSON.stringify(end))), 'final', null);
      stream.close();
      return sealed;
    },
    abandon: () => stream.close(),
  };
};

export type AnswerPart =
  | { readonly kind: 'start'; readonly start: AnswerStart }
  | { readonly kind: 'chunk'; readonly text: Uint8Array }
  | { readonly kind: 'end' };

export interface AnswerOpener {
  /** Opens the next piece. @throws QflError `cut` (changed, missing or out of order), `bad_signature` */
  open(sealed: Uint8Array): AnswerPart;
  close(): void;
}

const cut = (detail: string): QflError => new QflError('cut', { detail });
const parseJson = <T>(schema: { parse(value: unknown): T }, bytes: Uint8Array): T => {
  try {
    return schema.parse(JSON.parse(fromUtf8(bytes)));
  } catch (cause) {
    throw new QflError('protocol', { detail: 'a sealed answer part is not valid', cause });
  }
};

export interface AnswerOpening {
  readonly queryId: QueryId;
  readonly queryHash: Uint8Array;
  readonly asker: SiteId;
  /** The site the relay says is answering; the first chunk must prove it. */
  readonly site: SiteId;
  readonly replySeed: Uint8Array;
  /** Whose signature counts now: the site's identity, and for a while the one that it replaced. */
  identities(): readonly IdentityPublic[];
}

const signedByOne = (
  opening: AnswerOpening,
  label: string,
  message: Uint8Array,
  signature: string,
): boolean =>
  opening.identities().some((identity) => verifySignature(identity, label, message, fromBase64(signature)));

const readStart = (
  sealed: Uint8Array,
  opening: AnswerOpening,
): { stream: PullStream; start: AnswerStart } => {
  if (sealed.byteLength < XWING_CIPHERTEXT_BYTES + STREAM_HEADER_BYTES)
    throw cut('the first piece is too short');
  const ciphertext = sealed.subarray(0, XWING_CIPHERTEXT_BYTES);
  const header = sealed.subarray(XWING_CIPHERTEXT_BYTES, XWING_CIPHERTEXT_BYTES + STREAM_HEADER_BYTES);
  const secret = decapsulate(opening.replySeed, ciphertext);
  const stream = openPullStream(streamKey(secret, opening.queryHash, opening.site, opening.asker), header);
  const pulled = stream.pull(sealed.subarray(XWING_CIPHERTEXT_BYTES + STREAM_HEADER_BYTES), null);
  if (pulled === undefined) {
    stream.close();
    throw cut('the first piece does not open');
  }
  const start = parseJson(AnswerStart, unpad(pulled.message));
  const message = startMessage(opening.queryHash, ciphertext, start);
  const proven = start.queryId === opening.queryId && start.site === opening.site;
  if (!proven || !signedByOne(opening, START_LABEL, message, start.signature)) {
    stream.close();
    throw new QflError('bad_signature', { detail: `the answer is not signed by ${opening.site}` });
  }
  return { stream, start };
};

/** Reads an answer piece by piece; nothing of it is shown before its first piece is proven. */
export const openAnswer = (opening: AnswerOpening): AnswerOpener => {
  let stream: PullStream | undefined;
  let start: AnswerStart | undefined;
  let running = hashOf('fed-e2e/1 answer hash', opening.queryHash);
  let chunks = 0;
  const checkEnd = (message: Uint8Array): AnswerPart => {
    const end = parseJson(AnswerEnd, unpad(message));
    const whole = end.chunks === chunks && equalConstantTime(fromBase64(end.hash), running);
    if (!whole) throw cut('the end does not fit what came before it');
    const signed = endMessage(opening.queryHash, chunks, running, start?.spend ?? '');
    if (!signedByOne(opening, END_LABEL, signed, end.signature)) {
      throw new QflError('bad_signature', { detail: 'the end of the answer is not signed' });
    }
    stream?.close();
    return { kind: 'end' };
  };
  return {
    open(sealed) {
      if (stream === undefined) {
        ({ stream, start } = readStart(sealed, opening));
        return { kind: 'start', start };
      }
      const pulled = stream.pull(sealed, null);
      if (pulled === undefined) throw cut('a piece was changed, lost or reordered');
      if (pulled.tag === 'final') return checkEnd(pulled.message);
      const text = unpad(pulled.message);
      running = hashOf('fed-e2e/1 answer hash', running, text);
      chunks += 1;
      return { kind: 'chunk', text };
    },
    close: () => stream?.close(),
  };
};

const RECEIPT_LABEL = 'fed-e2e/1 receipt';
/** What a receipt's signature covers; one place for signer and verifier. */
export const receiptMessage = (receipt: {
  queryId: string;
  queryHash: string;
  site: string;
  outcome: string;
  reason: string | null;
  answerHash: string | null;
  spend: string;
  atMs: number;
}): Uint8Array =>
  utf8(
    JSON.stringify([
      receipt.queryId,
      receipt.queryHash,
      receipt.site,
      receipt.outcome,
      receipt.reason,
      receipt.answerHash,
      receipt.spend,
      receipt.atMs,
    ]),
  );
export const signReceipt = (identity: Identity, message: Uint8Array): Uint8Array =>
  identity.sign(RECEIPT_LABEL, message);
export const verifyReceipt = (
  identity: IdentityPublic,
  message: Uint8Array,
  signature: Uint8Array,
): boolean => verifySignature(identity, RECEIPT_LABEL, message, signature);
