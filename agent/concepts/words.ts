/** Questions and terms as words: one rule for both, so that what is written in the list is found in a question. */
import { termsOf } from '../retrieval/text.ts';

export interface Word {
  /** As it stands in the question. */
  readonly text: string;
  /** Lower-case, without accents and a possessive ending; stop words keep this form. */
  readonly plain: string;
  /** The stem of a word that carries a subject. */
  readonly key: string;
  /** Position of its first character. */
  readonly at: number;
}

const WORD = /[\p{L}\p{N}]+(?:['’][\p{L}]+)*/gu;
const POSSESSIVE = /['’]s?$/u;

const plainOf = (text: string): string =>
  text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().replaceAll('’', "'").replace(POSSESSIVE, '');

export const wordsOf = (text: string): readonly Word[] =>
  [...text.matchAll(WORD)].map(({ 0: found, index }) => {
    const plain = plainOf(found);
    return { text: found, plain, key: termsOf(plain)[0] ?? plain, at: index };
  });

/** Words of a term as they are compared. */
export const keysOf = (text: string): readonly string[] => wordsOf(text).map(({ key }) => key);
