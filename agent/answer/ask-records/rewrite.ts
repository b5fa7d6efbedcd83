/**
 * One rewrite of an answer by this site's own model, from the question, the noisy facts and internal documents: post-processing, so it
 * costs nothing. The model's words replace the template's only when they say nothing that was not given: no listed term and no
 * number that is not in the facts, the question or the passages.
 */
import { z } from 'zod';
import { toQflError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import type { AskAnswered } from '../../../shared/wire/ask.ts';
import type { FindTerms } from '../../concepts/match.ts';
import { wordsOf } from '../../concepts/words.ts';
import type { Models } from '../../llm/models.ts';
import type { Documents } from '../../retrieval/documents.ts';

export type Rewrite = (question: string, answer: AskAnswered) => Promise<AskAnswered>;

export const REWRITE_TIMEOUT_MS = 30_000;
const REWRITE_TOKENS_MAX = 400;
const REWRITE_LENGTH_MAX = 4_000;
const PASSAGES = 3;
const PRIORITY = 5;

const Completion = z.looseObject({
  choices: z.array(z.looseObject({ message: z.looseObject({ content: z.string().nullish() }) })).min(1),
});

/** Digits with their decimals; "1,234" is 1234. */
const NUMBER = /\d+(?:[.,]\d+)*/g;
/** Numbers in words that a model likes to make up. */
const NUMBER_WORDS =
  /\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundreds?|thousands?|millions?|half|thirds?|quarters?|majority|minority|double|twice)\b/gi;

const numbersOf = (text: string): readonly string[] =>
  (text.match(NUMBER) ?? []).map((number) => number.replaceAll(/,(?=\d{3}\b)/g, ''));
const numberWordsOf = (text: string): readonly string[] =>
  (text.match(NUMBER_WORDS) ?? []).map((word) => word.toLowerCase());

/** Says the text only what was given? Terms are those of the public list; numbers are compared as they are written. */
export const saysOnlyGiven = (text: string, given: string, find: FindTerms): boolean => {
  const terms = new Set(find(wordsOf(given)).flatMap(({ ids }) => ids));
  const numbers = new Set([...numbersOf(given), ...numberWordsOf(given)]);
  return (
    find(wordsOf(text)).every(({ ids }) => ids.every((id) => terms.has(id))) &&
    [...numbersOf(text), ...numberWordsOf(text)].every((number) => numbers.has(number))
  );
};

const INSTRUCTIONS =
  'You word answers about groups of hospital patients. Use only the facts given; every number in them is noisy, so say "about". ' +
  'Name nothing and no number that is not in the facts. Answer in at most five plain sentences, without a list. ' +
  'What is not in the facts may still exist: never say that something does not occur.';

export interface RewriteOptions {
  readonly models: Pick<Models, 'chat'>;
  readonly documents: Pick<Documents, 'search'>;
  readonly find: FindTerms;
  readonly logger: Logger;
  /** The model to use; undefined when this site has none. */
  readonly model: () => Promise<string | undefined>;
  readonly timeoutMs?: number;
}

export const createRewrite = (options: RewriteOptions): Rewrite => {
  const { models, documents, find, logger, timeoutMs = REWRITE_TIMEOUT_MS } = options;

  const complete = async (model: string, user: string): Promise<string> => {
    let text = '';
    const request = {
      model,
      max_tokens: REWRITE_TOKENS_MAX,
      temperature: 0,
      messages: [
        { role: 'system' as const, content: INSTRUCTIONS },
        { role: 'user' as const, content: user },
      ],
    };
    for await (const piece of models.chat(request, PRIORITY, AbortSignal.timeout(timeoutMs))) text += piece;
    return Completion.parse(JSON.parse(text)).choices[0]?.message.content?.trim() ?? '';
  };

  const tryRewrite = async (
    model: string,
    question: string,
    answer: AskAnswered,
  ): Promise<string | undefined> => {
    const passages = (await documents.search(question, PASSAGES)).map(
      ({ title, text }) => `${title}: ${text}`,
    );
    const facts = `Facts (${answer.visibility.unit} counted with noise): ${answer.facts} ${answer.explanation}`;
    const documentsText =
      passages.length === 0 ? '' : `\nFrom this hospital's own documents:\n${passages.join('\n')}`;
    const text = await complete(model, `Question: ${question}\n${facts}${documentsText}`);
    // The question's own terms may be repeated; they tell nothing.
    const given = [question, facts, ...passages].join('\n');
    return text !== '' && text.length <= REWRITE_LENGTH_MAX && saysOnlyGiven(text, given, find)
      ? text
      : undefined;
  };

  return async (question, answer) => {
    const model = await options.model();
    if (model === undefined) return answer;
    try {
      const text = await tryRewrite(model, question, answer);
      if (text !== undefined) return { ...answer, answer: text, rewritten: true };
      logger.warn({ model }, 'the rewrite of an answer named what was not given; the template stands');
    } catch (error) {
      // Its words may repeat the question's.
      logger.warn(
        { code: toQflError(error).code, model },
        'an answer could not be rewritten; the template stands',
      );
    }
    return answer;
  };
};
