/** Terms of the list in a question: the longest match wins, left to right, so "heart failure" is never "heart" and "failure". */
import type { ConceptId } from '../../shared/wire/stats/ask.ts';
import type { ConceptList } from './list.ts';
import { keysOf, type Word } from './words.ts';

/** A place in the question that names a term, or several by a word that covers them. */
export interface TermMatch {
  /** First word and the word after the last. */
  readonly from: number;
  readonly to: number;
  /** The name it was matched under. */
  readonly name: string;
  /** Any of these is meant. */
  readonly ids: readonly ConceptId[];
}

interface Phrase {
  readonly keys: readonly string[];
  readonly name: string;
  readonly ids: readonly ConceptId[];
}

const phrasesOf = (list: ConceptList): readonly Phrase[] => [
  ...list.concepts.flatMap(({ id, name, synonyms }) =>
    [name, ...synonyms].map((text) => ({ keys: keysOf(text), name, ids: [id] })),
  ),
  ...list.umbrellas.flatMap(({ names, members }) =>
    names.map((text) => ({ keys: keysOf(text), name: names[0] ?? text, ids: members })),
  ),
];

export type FindTerms = (words: readonly Word[]) => readonly TermMatch[];

export const createTermFinder = (list: ConceptList): FindTerms => {
  const byFirst = new Map<string, Phrase[]>();
  for (const phrase of phrasesOf(list)) {
    const [first = ''] = phrase.keys;
    byFirst.set(first, [...(byFirst.get(first) ?? []), phrase]);
  }
  for (const phrases of byFirst.values()) phrases.sort((a, b) => b.keys.length - a.keys.length);

  const startingAt = (words: readonly Word[], from: number): Phrase | undefined =>
    byFirst
      .get(words[from]?.key ?? '')
      ?.find(({ keys }) => keys.every((key, offset) => words[from + offset]?.key === key));

  return (words) => {
    const found: TermMatch[] = [];
    for (let from = 0; from < words.length;) {
      const phrase = startingAt(words, from);
      if (phrase === undefined) from += 1;
      else {
        const to = from + phrase.keys.length;
        found.push({ from, to, name: phrase.name, ids: phrase.ids });
        from = to;
      }
    }
    return found;
  };
};
