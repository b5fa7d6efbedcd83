/**
 * The embedded answerer `extractive-local`: no model, no weights. It ranks the sentences of the site's internal
 * documents against the last user message and answers with quotations and where they stand, or says that nothing
 * matches. The same messages over the same documents give the same answer. It never sees patient records.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { QflError } from '../../shared/errors.ts';
import type { Documents, Hit } from '../retrieval/documents.ts';
import { termsOf } from '../retrieval/text.ts';
import { countTokens, tokensOf } from './extractive/tokens.ts';

export const EXTRACTIVE_MODEL = 'extractive-local';

export interface ExtractiveMessage {
  readonly role: 'system' | 'developer' | 'user' | 'assistant' | 'tool';
  readonly content: string;
}

export interface ExtractiveRequest {
  readonly messages: readonly ExtractiveMessage[];
  /** Tokens of the answer, at least 1; by the rule of `extractive/tokens.ts`. */
  readonly tokensMax?: number;
  readonly signal?: AbortSignal;
}

/** Pieces of text, then exactly one end. */
export type ExtractiveEvent =
  | { readonly type: 'text'; readonly text: string }
  | {
      readonly type: 'end';
      readonly finishReason: 'stop' | 'length';
      readonly promptTokens: number;
      readonly completionTokens: number;
    };

export interface ExtractiveAnswerer {
  readonly model: typeof EXTRACTIVE_MODEL;
  /**
   * One token per event.
   * @throws QflError `cancelled` when the signal fires, `invalid_request` without a user message
   */
  answer(request: ExtractiveRequest): AsyncIterable<ExtractiveEvent>;
}

export interface MatchRule {
  /**
   * Share of the question's idf mass a sentence must contain. Coverage does not grow with the collection as a BM25
   * score does. Below 0.4 most of what was asked is absent: with three equally rare words, one of them (0.33) is not
   * enough and two (0.67) are; with two words, one own word (0.5) would be, which is what `termsMin` is against.
   */
  readonly coverageMin: number;
  /** Different terms in common, unless the question has fewer: one shared word is a coincidence. */
  readonly termsMin: number;
  /** Quotations below this share of the best score are left out. */
  readonly scoreShareMin: number;
  readonly quotationsMax: number;
}

export const MATCH_RULE: MatchRule = { coverageMin: 0.4, termsMin: 2, scoreShareMin: 0.5, quotationsMax: 4 };

export const NOTHING_MATCHES =
  "Nothing in this site's internal documents matches the question, and this answerer only quotes what stands there. " +
  'Rephrase it with the words a guideline would use, or ask a site that runs a language model.';

const INTRODUCTION = "From this site's internal documents (quoted, no language model):";
const CANDIDATES = 64;
const QUESTION_LENGTH_MAX = 20_000;
const TOKENS_PER_TURN = 16;

const questionOf = (messages: readonly ExtractiveMessage[]): string => {
  const last = messages.findLast(({ role }) => role === 'user');
  if (last !== undefined) return last.content.slice(0, QUESTION_LENGTH_MAX);
  throw new QflError('invalid_request', {
    detail: 'the messages hold no user message',
    next: 'Send at least one message with the role "user".',
  });
};

const place = ({ title, section, line }: Hit): string =>
  section === '' ? `[${title}, line ${line}]` : `[${title}, ${section}, line ${line}]`;

/** Sentences that pass the rule, best first, each text once. */
const select = (hits: readonly Hit[], questionTerms: number, rule: MatchRule): readonly Hit[] => {
  const termsNeeded = Math.min(rule.termsMin, questionTerms);
  const passing = hits.filter(
    // A sentence that shares no word itself only stands near the answer.
    (hit) => hit.coverage >= rule.coverageMin && hit.termsMatched >= termsNeeded && hit.ownTermsMatched >= 1,
  );
  const best = passing[0]?.score ?? 0;
  const seen = new Set<string>();
  return passing
    .filter((hit) => {
      const repeated = seen.has(hit.text);
      seen.add(hit.text);
      return !repeated && hit.score >= best * rule.scoreShareMin;
    })
    .slice(0, rule.quotationsMax);
};

const compose = (hits: readonly Hit[]): string =>
  hits.length === 0
    ? NOTHING_MATCHES
    : [INTRODUCTION, ...hits.map((hit) => `"${hit.text}" ${place(hit)}`)].join('\n\n');

const throwIfCancelled = (signal: AbortSignal | undefined): void => {
  if (signal?.aborted === true) throw new QflError('cancelled', { detail: 'the answer was stopped' });
};

const checkTokensMax = (tokensMax: number): number => {
  if (Number.isInteger(tokensMax) && tokensMax >= 1) return tokensMax;
  throw new QflError('invalid_request', {
    detail: 'the maximum of tokens must be a whole number from 1',
    next: 'Leave it out, or give a positive whole number.',
  });
};

export const createExtractiveAnswerer = (
  documents: Pick<Documents, 'search'>,
  rule: MatchRule = MATCH_RULE,
): ExtractiveAnswerer => ({
  model: EXTRACTIVE_MODEL,
  async *answer({ messages, tokensMax = Number.MAX_SAFE_INTEGER, signal }) {
    const limit = checkTokensMax(tokensMax);
    throwIfCancelled(signal);
    const question = questionOf(messages);
    const terms = new Set(termsOf(question)).size;
    const hits = terms === 0 ? [] : await documents.search(question, CANDIDATES);
    const tokens = tokensOf(compose(select(hits, terms, rule)));
    let sent = 0;
    for (const text of tokens.slice(0, limit)) {
      // Without a turn of the event loop a cancel could not arrive before the last token.
      if (sent % TOKENS_PER_TURN === 0) await nextTurn();
      throwIfCancelled(signal);
      sent += 1;
      yield { type: 'text', text };
    }
    yield {
      type: 'end',
      finishReason: sent < tokens.length ? 'length' : 'stop',
      promptTokens: messages.reduce((sum, { content }) => sum + countTokens(content), 0),
      completionTokens: sent,
    };
  },
});
