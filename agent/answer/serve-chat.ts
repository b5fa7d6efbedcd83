/** A chat for another site: the back end's pieces, gathered, sealed to the asker's reply key, ended with a signed receipt. */
import type { Clock } from '../../shared/clock.ts';
import { hashOf } from '../../shared/crypto/hash.ts';
import { type AnswerSealer, sealAnswer } from '../../shared/crypto/sealed-answer.ts';
import type { Identity } from '../../shared/crypto/signature.ts';
import type { OpenedQuery } from '../../shared/crypto/sealed-query.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Vault } from '../../shared/keys/vault.ts';
import { ChatRequest } from '../../shared/wire/chat.ts';
import type { Reply } from '../../shared/wire/peer.ts';
import type { ServedPart } from '../../shared/wire/session.ts';
import type { Models } from '../llm/models.ts';
import { gatherLines } from './lines.ts';
import { makeReceipt } from './receipts.ts';

/** Tokens that come within this of one another share a sealed piece. */
const GATHER_WINDOW_MS = 10;
/** Questions whose ids are remembered, so that a replay runs nothing; older ones have expired by then. */
const SEEN_MAX = 100_000;
export const CHAT_POLICY_VERSION = 1;

export interface ServeChatOptions {
  readonly self: SiteId;
  readonly vault: Vault;
  readonly models: Models;
  readonly clock: Clock;
}

const parseRequest = (query: unknown): ChatRequest => {
  const parsed = ChatRequest.safeParse(query);
  if (!parsed.success)
    throw new QflError('invalid_request', { detail: 'the sealed question is not a chat request' });
  return parsed.data;
};

/** Remembers what was seen, the oldest forgotten first. */
const createSeen = (max: number): ((name: string) => boolean) => {
  const seen = new Set<string>();
  return (name) => {
    if (seen.has(name)) return true;
    seen.add(name);
    const [oldest] = seen;
    if (seen.size > max && oldest !== undefined) seen.delete(oldest);
    return false;
  };
};

export const createServeChat = ({ self, vault, models, clock }: ServeChatOptions) => {
  const seenBefore = createSeen(SEEN_MAX);

  const sealerFor = ({ envelope, replyKey, hash }: OpenedQuery, identity: Identity): AnswerSealer => {
    const facts = {
      queryId: envelope.queryId,
      queryHash: hash,
      site: self,
      asker: envelope.sender,
      model: envelope.model,
      policyVersion: CHAT_POLICY_VERSION,
      spend: 0n,
      ledgerHash: null,
    };
    return sealAnswer(facts, replyKey, identity, vault.hedge);
  };

  return async function* serveChat(opened: OpenedQuery, signal: AbortSignal): AsyncGenerator<Reply> {
    const { envelope, content, hash } = opened;
    const request = parseRequest(content.query);
    if (request.model !== envelope.model)
      throw new QflError('protocol', { detail: 'the sealed question names another model than its envelope' });
    if (seenBefore(`${envelope.sender} ${envelope.queryId} ${Buffer.from(hash).toString('hex')}`))
      throw new QflError('conflict', { detail: 'this question has been answered; it is not run twice' });
    const pieces = gatherLines(models.chat(request, envelope.priority, signal), GATHER_WINDOW_MS);
    // Sealing its start while the back end thinks: the first token then waits for one seal only.
    const first = pieces.next();
    first.catch(() => undefined);
    // One identity for the whole answer, should the keys rotate meanwhile.
    const identity = vault.identityNow();
    const sealer = sealerFor(opened, identity);
    let answerHash = hashOf('fed-e2e/1 receipt answer', hash);
    const counted = (sealed: Uint8Array): Uint8Array => {
      answerHash = hashOf('fed-e2e/1 receipt answer', answerHash, sealed);
      return sealed;
    };
    try {
      let result = await first;
      yield { payload: counted(sealer.first) };
      for (; result.done !== true; result = await pieces.next())
        yield { payload: counted(sealer.chunk(result.value)) };
      const end = counted(sealer.end());
      const receipt = makeReceipt(
        {
          queryId: envelope.queryId,
          queryHash: hash,
          site: self,
          outcome: 'answered',
          reason: null,
          answerHash,
          spend: 0n,
          atMs: clock.nowMs(),
        },
        identity,
      );
      yield { header: { receipt } satisfies ServedPart, payload: end };
    } finally {
      sealer.abandon();
      await pieces.return(undefined);
    }
  };
};
