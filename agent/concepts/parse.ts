/**
 * A question → whom it is about and what is counted, by fixed rules over the public list alone. Which words are terms, how long the
 * question is, whether it parses: all of it is the asker's own text, so none of it tells anything about records.
 *
 * 1. Terms are found by the longest match; ages and sexes by their own rules (`ages.ts`, `grammar.ts`).
 * 2. A kind of term with "which", "what", "list", "most common" asks for a list; its terms all describe the patients.
 * 3. Else a number or yes/no is asked. With "among", "in", "of" or "for" behind a term, what stands before is counted and what
 *    stands after describes the patients; otherwise the first verb that is not behind "who" divides the two; otherwise every term
 *    is counted.
 * 4. "X or Y" means any of them, other terms must all be there; "without X" excludes.
 * 5. A word that no rule knows makes it a free question, with the word named.
 */
import type { ConceptCells, ConceptCohort, ConceptGroup, ConceptId } from '../../shared/wire/stats/ask.ts';
import { type AgeRange, ageText, birthBounds, findAges, narrowed } from './ages.ts';
import {
  AMOUNT,
  COUNTING,
  FILLERS,
  groupOf,
  LISTING,
  MARKERS,
  NEGATIONS,
  POPULATION,
  RELATIVES,
  sexOf,
  VERBS,
  YES_NO,
} from './grammar.ts';
import type { FindTerms, TermMatch } from './match.ts';
import { type Word, wordsOf } from './words.ts';

export interface TermQuestion {
  readonly kind: 'terms';
  /** `usual`: yes or no by whether most have it. */
  readonly form: 'list' | 'share' | 'usual' | 'count';
  readonly cohort: ConceptCohort;
  readonly cells: ConceptCells;
  /** In words: what was understood. */
  readonly who: string;
  readonly what: string;
}

export interface FreeQuestion {
  readonly kind: 'free';
  /** Words without a meaning here; empty when the form was not understood. */
  readonly unknown: readonly string[];
  readonly group: ConceptGroup | undefined;
  readonly yesNo: boolean;
}

export type ParsedQuestion = TermQuestion | FreeQuestion;

export interface ParseOptions {
  readonly find: FindTerms;
  /** Day of asking, `YYYY-MM-DD`: ages become days of birth with it. */
  readonly asOf: string;
  /** Terms per patient in a list. */
  readonly k: number;
}

/** A term, or several joined by "or". */
interface Meant {
  readonly from: number;
  readonly to: number;
  readonly names: readonly string[];
  readonly ids: readonly ConceptId[];
  readonly negated: boolean;
}

interface Reading {
  readonly words: readonly Word[];
  readonly text: string;
  readonly meant: readonly Meant[];
  readonly ages: AgeRange;
  /** Words that the age rules took. */
  readonly ageWords: ReadonlySet<number>;
  readonly sexes: ReadonlySet<'female' | 'male'>;
  readonly group: ConceptGroup | undefined;
}

const isNegated = (words: readonly Word[], from: number): boolean => {
  for (let at = from - 1; at >= 0; at -= 1) {
    const plain = words[at]?.plain ?? '';
    if (NEGATIONS.has(plain)) return true;
    // "not taking X", "without any X": small words may stand between.
    if (!['a', 'an', 'any', 'the', 'taking', 'on', 'using', 'take', 'have', 'history', 'of'].includes(plain))
      return false;
  }
  return false;
};

/** Joins "X or Y" and marks what is negated. */
const joinTerms = (words: readonly Word[], matches: readonly TermMatch[]): readonly Meant[] => {
  const meant: Meant[] = [];
  for (const { from, to, name, ids } of matches) {
    const last = meant.at(-1);
    if (last !== undefined && from === last.to + 1 && words[last.to]?.plain === 'or')
      meant[meant.length - 1] = {
        ...last,
        to,
        names: [...last.names, name],
        ids: [...new Set([...last.ids, ...ids])],
      };
    else meant.push({ from, to, names: [name], ids, negated: isNegated(words, from) });
  }
  return meant;
};

const read = (question: string, find: FindTerms): Reading => {
  const words = wordsOf(question.replaceAll(/(\d{1,3})\s*\+/g, '$1 and over '));
  const ages = findAges(words);
  const meant = joinTerms(words, find(words));
  const inTerm = (at: number): boolean => meant.some(({ from, to }) => at >= from && at < to);
  const loose = words.filter((_, at) => !inTerm(at));
  return {
    words,
    text: words.map(({ plain }) => plain).join(' '),
    meant,
    ages: narrowed(ages),
    ageWords: new Set(ages.flatMap((age) => age.words)),
    sexes: new Set(loose.flatMap(({ plain }) => sexOf(plain) ?? [])),
    group: loose.map(({ plain }) => groupOf(plain)).find((group) => group !== undefined),
  };
};

const inMeant = ({ meant }: Reading, at: number): boolean =>
  meant.some(({ from, to }) => at >= from && at < to);

const isPeople = ({ words, ageWords }: Reading, at: number): boolean => {
  const plain = words[at]?.plain ?? '';
  return POPULATION.has(plain) || sexOf(plain) !== undefined || ageWords.has(at);
};

const unknownWords = (reading: Reading): readonly string[] =>
  reading.words.flatMap(({ plain, text }, at) => {
    const known =
      inMeant(reading, at) ||
      isPeople(reading, at) ||
      FILLERS.has(plain) ||
      VERBS.has(plain) ||
      MARKERS.has(plain) ||
      RELATIVES.has(plain) ||
      NEGATIONS.has(plain) ||
      groupOf(plain) !== undefined;
    return known ? [] : [text];
  });

/** A negation that no term follows would be lost. */
const hasLooseNegation = (reading: Reading): boolean => {
  const negations = reading.words.filter(({ plain }, at) => NEGATIONS.has(plain) && !inMeant(reading, at));
  return negations.length > reading.meant.filter(({ negated }) => negated).length;
};

/** "… in women", "… among patients with X": a marker behind a term, and people or a term next to it. */
const markerAt = (reading: Reading): number | undefined => {
  const [first] = reading.meant;
  if (first === undefined) return undefined;
  const at = reading.words.findIndex((word, position) => {
    if (position < first.to || inMeant(reading, position) || !MARKERS.has(word.plain)) return false;
    const next = reading.words.findIndex(
      ({ plain }, after) =>
        after > position && (inMeant(reading, after) || isPeople(reading, after) || !FILLERS.has(plain)),
    );
    return next !== -1 && (inMeant(reading, next) || isPeople(reading, next));
  });
  return at === -1 ? undefined : at;
};

/** The first verb behind the people (or the first term) that does not describe them. */
const verbAt = (reading: Reading): number | undefined => {
  const { words } = reading;
  const subject = words.findIndex((_, at) => isPeople(reading, at) || inMeant(reading, at));
  const at = words.findIndex(
    ({ plain }, position) =>
      position > subject &&
      !inMeant(reading, position) &&
      !reading.ageWords.has(position) &&
      VERBS.has(plain) &&
      !RELATIVES.has(words[position - 1]?.plain ?? '') &&
      !['not', 'are'].includes(words[position - 1]?.plain ?? ''),
  );
  return subject === -1 || at === -1 ? undefined : at;
};

/** A verb before a later marker wins: "do patients with X take Y in …" is about those who take. */
const split = (reading: Reading): { readonly who: readonly Meant[]; readonly what: readonly Meant[] } => {
  const verb = verbAt(reading);
  const marker = markerAt(reading);
  const { meant } = reading;
  if (marker !== undefined && (verb === undefined || marker < verb || !meant.some(({ from }) => from < verb)))
    return {
      what: meant.filter(({ from }) => from < marker),
      who: meant.filter(({ from }) => from > marker),
    };
  if (verb !== undefined && meant.some(({ from }) => from > verb))
    return { who: meant.filter(({ from }) => from < verb), what: meant.filter(({ from }) => from > verb) };
  return { who: [], what: meant };
};

const nameOf = ({ names }: Meant): string => names.join(' or ');

const whoText = (reading: Reading, who: readonly Meant[]): string => {
  const [sex] = reading.sexes;
  const people = reading.sexes.size === 1 ? (sex === 'female' ? 'women' : 'men') : 'patients';
  const positive = who.filter(({ negated }) => !negated).map(nameOf);
  const negative = who.filter(({ negated }) => negated).map(nameOf);
  return [
    people,
    ageText(reading.ages),
    positive.length === 0 ? '' : `with ${positive.join(' and ')}`,
    negative.length === 0 ? '' : `without ${negative.join(' or ')}`,
  ]
    .filter((part) => part !== '')
    .join(' ');
};

const cohortOf = (reading: Reading, who: readonly Meant[], asOf: string): ConceptCohort => {
  const [sex] = reading.sexes;
  return {
    all: who.filter(({ negated }) => !negated).map(({ ids }) => [...ids]),
    none: who.filter(({ negated }) => negated).flatMap(({ ids }) => [...ids]),
    sex: reading.sexes.size === 1 ? (sex ?? null) : null,
    ...birthBounds(reading.ages, asOf),
  };
};

export const parseQuestion = (question: string, { find, asOf, k }: ParseOptions): ParsedQuestion => {
  const reading = read(question, find);
  const { text, meant, group } = reading;
  const asksAmount = AMOUNT.test(text);
  const yesNo = !asksAmount && YES_NO.has(reading.words[0]?.plain ?? '');
  const free = (unknown: readonly string[]): FreeQuestion => ({ kind: 'free', unknown, group, yesNo });
  const unknown = unknownWords(reading);
  if (unknown.length > 0 || hasLooseNegation(reading)) return free(unknown);
  if (group !== undefined && !asksAmount && !yesNo && LISTING.test(text))
    return {
      kind: 'terms',
      form: 'list',
      cohort: cohortOf(reading, meant, asOf),
      cells: { count: 'terms', group, k },
      who: whoText(reading, meant),
      what: group,
    };
  const { who, what } = split(reading);
  if (what.length === 0 || what.some(({ negated }) => negated) || (!asksAmount && !yesNo)) return free([]);
  return {
    kind: 'terms',
    form: yesNo ? 'usual' : COUNTING.test(text) ? 'count' : 'share',
    cohort: cohortOf(reading, who, asOf),
    cells: { count: 'share', of: what.map(({ ids }) => [...ids]) },
    who: whoText(reading, who),
    what: what.map(nameOf).join(' and '),
  };
};
