/** The words that the public list and the grammar of questions use: what is among them is not taken for somebody's name. */
import { termsOf } from '../retrieval/text.ts';
import { FILLERS, groupOf, MARKERS, NEGATIONS, POPULATION, RELATIVES, sexOf, VERBS } from './grammar.ts';
import type { ConceptList } from './list.ts';
import type { KnownWords } from './one-patient.ts';
import { keysOf } from './words.ts';

const GRAMMAR = [FILLERS, VERBS, MARKERS, RELATIVES, NEGATIONS, POPULATION];

export const createKnownWords = (list: ConceptList): KnownWords => {
  const names = [
    ...list.concepts.flatMap(({ name, synonyms }) => [name, ...synonyms]),
    ...list.umbrellas.flatMap((umbrella) => umbrella.names),
  ];
  const keys = new Set(names.flatMap(keysOf));
  return {
    isKnown: ({ plain, key }) =>
      keys.has(key) ||
      GRAMMAR.some((words) => words.has(plain)) ||
      groupOf(plain) !== undefined ||
      sexOf(plain) !== undefined ||
      // Stop words have no terms.
      termsOf(plain).length === 0,
  };
};
