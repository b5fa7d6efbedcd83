/** Text → terms. The same rule for documents and questions. */

/** Words that carry no subject: articles, pronouns, auxiliaries, question words, and the politeness of a prompt. */
const STOP_WORDS = new Set(
  (
    'a about after all also am an and any are as at be because been before being but by can could did do does ' +
    'doing during each few for from further give had has have having he her here hers him his how i if in into is it ' +
    'its just let may me might more most must my no nor not now of off on once only or other our out over own please ' +
    'same say she should so some such tell than that the their them then there these they this those through to too ' +
    'under until up us very was we were what when where which while who whom why will with would you your ' +
    'explain describe show list know need want help hello hi thanks thank quickly soon often'
  ).split(' '),
);

const WORD = /\p{L}[\p{L}\p{M}\p{N}]*|\p{N}+(?:[.,]\p{N}+)*/gu;
const TERM_LENGTH_MAX = 64;

const withoutPlural = (word: string): string => {
  if (word.length > 4 && word.endsWith('ies') && !/[ae]ies$/.test(word)) return `${word.slice(0, -3)}y`;
  if (word.length > 4 && word.endsWith('es') && !/[aeo]es$/.test(word)) return word.slice(0, -1);
  if (word.length > 3 && word.endsWith('s') && !/[ius]s$/.test(word)) return word.slice(0, -1);
  return word;
};

/** measured, measuring, measure → measur; stopped → stop. A stem keeps a vowel and three letters. */
const withoutEnding = (word: string): string => {
  const base = word.replace(/(?:ing|ed)$/, '');
  const cut = base.length >= 3 && /[aeiouy]/.test(base) ? base : word;
  const single = cut !== word && /([bdfgmnprt])\1$/.test(cut) ? cut.slice(0, -1) : cut;
  return single.length > 3 && single.endsWith('e') ? single.slice(0, -1) : single;
};

/**
 * Light on purpose: plurals by Harman's S-stemmer (JASIS 42(1), 1991), then -ed, -ing and a last -e in the manner of
 * Porter's step 1b, so that a drug name is never cut to its neighbour's.
 */
const stem = (word: string): string => (/^\p{N}/u.test(word) ? word : withoutEnding(withoutPlural(word)));

const fold = (text: string): string => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();

/** Lower-case, without accents, stop words out, plurals folded; in order, repeats kept. */
export const termsOf = (text: string): readonly string[] =>
  (fold(text).match(WORD) ?? []).flatMap((word) =>
    STOP_WORDS.has(word) || word.length > TERM_LENGTH_MAX || (word.length === 1 && !/\p{N}/u.test(word))
      ? []
      : [stem(word)],
  );
