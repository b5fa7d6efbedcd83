/** What was asked, as it is kept with its answer: enough to compose the same words again. */
import { z } from 'zod';
import { QflError } from '../../../shared/errors.ts';
import { microEpsilon } from '../../../shared/privacy/epsilon.ts';
import type { AskAnswered, AskMethod } from '../../../shared/wire/ask.ts';
import { ConceptsQuery, QUESTION_LENGTH_MAX, TallyQuery } from '../../../shared/wire/stats/ask.ts';
import type { ConceptList } from '../../concepts/list.ts';
import type { FreeQuestion, ParsedQuestion, TermQuestion } from '../../concepts/parse.ts';

/** Terms a patient counts for in a list: more of each patient, or less noise for each term. */
export const K_DEFAULT = 4;
/** The parts into which every site divides its patients for choice A; fixed, so that the same patients always stay together. */
export const SHARDS = 128;
const TALLY_K_DEFAULT = 1;

export const AskedQuestion = z.strictObject({
  version: z.literal(1),
  question: z.string().max(QUESTION_LENGTH_MAX),
  form: z.enum(['list', 'share', 'usual', 'count', 'yes_no']),
  understood: z.strictObject({ who: z.string(), what: z.string() }).nullable(),
  query: z.discriminatedUnion('kind', [ConceptsQuery, TallyQuery]),
});
export type AskedQuestion = z.infer<typeof AskedQuestion>;
export type AskQuery = AskedQuestion['query'];

export const methodOf = ({ query }: AskedQuestion): AskAnswered['method'] =>
  query.kind === 'concepts' ? 'concepts' : 'shards';

/** @throws QflError `not_found` when the text is not that of a question of this kind */
export const askedOfText = (text: string): AskedQuestion => {
  const notOurs = (): QflError =>
    new QflError('not_found', {
      detail: 'that was not asked with "ask"',
      next: 'Fetch it with "GET /v1/stats/ID".',
    });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw notOurs();
  }
  const parsed = AskedQuestion.safeParse(value);
  if (!parsed.success) throw notOurs();
  return parsed.data;
};

export interface Choice {
  readonly question: string;
  readonly method: AskMethod;
  readonly k: number | undefined;
  readonly micro: number;
  readonly list: ConceptList;
}

const concepts = (parsed: TermQuestion, { question, micro, list }: Choice): AskedQuestion => ({
  version: 1,
  question,
  form: parsed.form,
  understood: { who: parsed.who, what: parsed.what },
  query: {
    kind: 'concepts',
    list: list.name,
    cohort: parsed.cohort,
    cells: parsed.cells,
    microEpsilon: microEpsilon(micro),
  },
});

const NEXT_TERMS =
  'Ask "which medications do patients with diabetes take?" or "how common is hypertension among women over 60 with heart failure?"; "GET /v1/ask/terms" lists the terms.';

const notTerms = ({ unknown }: FreeQuestion): QflError =>
  new QflError('invalid_request', {
    detail:
      unknown.length === 0
        ? 'the question has no form that can be counted over listed terms'
        : `not in the list of terms: ${unknown.map((word) => `“${word}”`).join(', ')}`,
    next: NEXT_TERMS,
    facts: { unknown },
  });

const tally = (
  answers: Extract<AskedQuestion['query'], { kind: 'tally' }>['answers'],
  { question, micro, list }: Choice,
): AskedQuestion => ({
  version: 1,
  question,
  form: answers.form === 'terms' ? 'list' : 'yes_no',
  understood: null,
  query: {
    kind: 'tally',
    list: list.name,
    question,
    answers,
    shards: SHARDS,
    microEpsilon: microEpsilon(micro),
  },
});

const answersOf = (parsed: ParsedQuestion, k: number | undefined) => {
  const group =
    parsed.kind === 'free' ? parsed.group : parsed.cells.count === 'terms' ? parsed.cells.group : undefined;
  const yesNo = parsed.kind === 'free' ? parsed.yesNo : parsed.form === 'usual';
  if (yesNo) return { form: 'yes_no' as const };
  return group === undefined ? undefined : { form: 'terms' as const, group, k: k ?? TALLY_K_DEFAULT };
};

/**
 * Choice C answers what is about terms; choice A what is not, when there are models to ask.
 * @param modelsThere is there a site with records and a model of its own?
 * @throws QflError `invalid_request` with the words that were not understood
 */
export const chooseQuestion = (
  parsed: ParsedQuestion,
  choice: Choice,
  modelsThere: boolean,
): AskedQuestion => {
  if (choice.method !== 'shards' && parsed.kind === 'terms') return concepts(parsed, choice);
  if (parsed.kind === 'free' && (choice.method === 'concepts' || !modelsThere)) throw notTerms(parsed);
  if (!modelsThere)
    throw new QflError('site_unavailable', {
      detail: 'no site with records runs a language model of its own',
      next: 'Ask with the method "concepts", which needs none.',
    });
  const answers = answersOf(parsed, choice.k);
  if (answers !== undefined) return tally(answers, choice);
  throw new QflError('invalid_request', {
    detail: 'shards can name medications, conditions, procedures or observations, or say yes or no',
    next: 'Ask "which medications …", "which conditions …", or a question that yes or no answers.',
  });
};
