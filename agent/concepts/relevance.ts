/**
 * How well a patient's own lines answer a question: the share of the question's weight that they contain, against a public threshold.
 * A word's weight is public too (words of the list of terms count double): an idf over records would let one patient's notes
 * decide about another's, and would not be a function of one patient.
 */
import { termsOf } from '../retrieval/text.ts';
import type { ConceptList } from './list.ts';
import { groupOf, POPULATION, VERBS } from './grammar.ts';
import { keysOf } from './words.ts';

/** A patient with less of the question than this takes no part. */
export const RELEVANCE_MIN = 0.4;
const TERM_WEIGHT = 2;
const WORD_WEIGHT = 1;

/** Word → weight, from public facts alone. */
export type QuestionWeights = ReadonlyMap<string, number>;

export const createWeights = (list: ConceptList): ((question: string) => QuestionWeights) => {
  const ofTerms = new Set([
    ...list.concepts.flatMap(({ name, synonyms }) => [name, ...synonyms].flatMap(keysOf)),
    ...list.umbrellas.flatMap(({ names }) => names.flatMap(keysOf)),
  ]);
  const empty = new Set([...POPULATION, ...VERBS].flatMap((word) => termsOf(word)));
  return (question) => {
    const terms = termsOf(question).filter((term) => !empty.has(term) && groupOf(term) === undefined);
    const weights = new Map(terms.map((term) => [term, ofTerms.has(term) ? TERM_WEIGHT : WORD_WEIGHT]));
    return new Map([...weights].filter(([term]) => groupOf(`${term}s`) === undefined));
  };
};

/** Of one patient: which lines share a word with the question, and how much of it they hold together, 0 to 1. */
export const relevanceOf = (
  lines: readonly string[],
  weights: QuestionWeights,
): { readonly coverage: number; readonly matching: readonly boolean[] } => {
  const found = new Set<string>();
  const matching = lines.map((line) => {
    const shared = termsOf(line).filter((term) => weights.has(term));
    for (const term of shared) found.add(term);
    return shared.length > 0;
  });
  const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0);
  const held = [...found].reduce((sum, term) => sum + (weights.get(term) ?? 0), 0);
  return { coverage: total === 0 ? 0 : held / total, matching };
};
