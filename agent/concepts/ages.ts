/** Ages in a question, as bounds on the day of birth; and whom they are said of. */
import type { Word } from './words.ts';

/** Whole years on the day of asking; both ends included. */
export interface AgeRange {
  readonly from: number | null;
  readonly to: number | null;
}

export interface AgeMatch extends AgeRange {
  /** Words taken. */
  readonly words: readonly number[];
}

const N = String.raw`(\d{1,3})`;
const YEARS = '(?: years?)?(?: old| of age)?';
const THE_AGE_OF = '(?: the)?(?: ages?)?(?: of)?';

interface Rule {
  readonly form: RegExp;
  readonly range: (first: number, second: number) => AgeRange;
}

/** In this order; what one takes, the next does not see. "Over 60" means 60 and over, and the answer says so. */
const RULES: readonly Rule[] = [
  {
    form: new RegExp(
      `\\b(?:between|aged|ages?|from)${THE_AGE_OF} ${N} (?:and |to |until )?${N}${YEARS}(?= |$)`,
    ),
    range: (first, second) => ({ from: Math.min(first, second), to: Math.max(first, second) }),
  },
  {
    form: new RegExp(`\\b(?:aged? )?${N}${YEARS} (?:and|or) (?:over|older|above|more)\\b`),
    range: (first) => ({ from: first, to: null }),
  },
  {
    form: new RegExp(`\\b(?:aged? )?${N}${YEARS} (?:and|or) (?:under|younger|below|less)\\b`),
    range: (first) => ({ from: null, to: first }),
  },
  {
    form: new RegExp(
      `\\b(?:aged? )?(?:over|above|older than|more than|at least)${THE_AGE_OF} ${N}${YEARS}(?= |$)`,
    ),
    range: (first) => ({ from: first, to: null }),
  },
  {
    form: new RegExp(`\\b(?:aged? )?(?:under|below|younger than|less than)${THE_AGE_OF} ${N}${YEARS}(?= |$)`),
    range: (first) => ({ from: null, to: first - 1 }),
  },
  { form: /\b(?:elderly|seniors?)\b/, range: () => ({ from: 65, to: null }) },
  { form: /\badults?\b/, range: () => ({ from: 18, to: null }) },
  { form: /\b(?:children|child|minors?)\b/, range: () => ({ from: null, to: 17 }) },
];

/** Positions of the words that stand at [start, end) of the joined text. */
const wordsAt = (words: readonly Word[], start: number, end: number): number[] => {
  let offset = 0;
  return words.flatMap(({ plain }, at) => {
    const here = offset;
    offset += plain.length + 1;
    return here >= start && here < end ? [at] : [];
  });
};

export const findAges = (words: readonly Word[]): readonly AgeMatch[] => {
  let text = words.map(({ plain }) => plain).join(' ');
  return RULES.flatMap(({ form, range }) => {
    const match = form.exec(text);
    if (match === null) return [];
    const end = match.index + match[0].length;
    text = text.slice(0, match.index) + '_'.repeat(match[0].length) + text.slice(end);
    return [{ ...range(Number(match[1]), Number(match[2])), words: wordsAt(words, match.index, end) }];
  });
};

export const narrowed = (ages: readonly AgeRange[]): AgeRange => {
  const from = ages.flatMap((age) => age.from ?? []);
  const to = ages.flatMap((age) => age.to ?? []);
  return { from: from.length === 0 ? null : Math.max(...from), to: to.length === 0 ? null : Math.min(...to) };
};

/** The day after the one that lies `years` before `day`: born before it means `years` or older on `day`. */
const dayAfterYearsBefore = (day: string, years: number): string => {
  const [year = 0, month = 1, date = 1] = day.split('-').map(Number);
  const moved = new Date(0);
  moved.setUTCFullYear(year - years, month - 1, date + 1);
  return moved.toISOString().slice(0, 10);
};

/** @param asOf day of asking, `YYYY-MM-DD` */
export const birthBounds = (
  { from, to }: AgeRange,
  asOf: string,
): { readonly bornFrom: string | null; readonly bornBefore: string | null } => ({
  bornBefore: from === null ? null : dayAfterYearsBefore(asOf, from),
  bornFrom: to === null ? null : dayAfterYearsBefore(asOf, to + 1),
});

export const ageText = ({ from, to }: AgeRange): string => {
  if (from !== null && to !== null) return `aged ${from} to ${to}`;
  if (from !== null) return `aged ${from} or over`;
  return to === null ? '' : `aged ${to} or under`;
};
