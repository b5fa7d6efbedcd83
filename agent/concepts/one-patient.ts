/**
 * Questions about one patient. Differential privacy hides every single patient on purpose, so such a question could only be answered
 * with noise; and whether somebody may see one patient's record is a matter of access control, which the hospital's own record
 * system has. They are told apart by fixed, public rules over the words of the question, before anything is charged or logged:
 *
 * - `reference`: `Patient/…`, "patient 123", "bed 4"
 * - `identifier`: MRN, NHS and social security numbers, case numbers, long digit strings that are no code of the list
 * - `date_of_birth`: "DOB", or "born" with a day
 * - `title`: Mr, Mrs, Ms, Miss and their like before a name
 * - `name`: a given name; two capitalised words that are no terms; one where only a person can stand ("does Kowalska take …")
 * - `this_patient`: "this patient", "my patient", "my mother"
 *
 * Eponyms ("Parkinson's disease") are terms, not people. The rules are a signpost, not a guard: what they miss is still answered
 * with noise that hides every single patient.
 */
import { QflError } from '../../shared/errors.ts';
import { wordsOf, type Word } from './words.ts';
import { CAPITALISED, EPONYM_NOUNS, EPONYMS, GIVEN_NAMES } from './person-words.ts';

export type OnePatientSign = 'reference' | 'identifier' | 'date_of_birth' | 'title' | 'name' | 'this_patient';

const REFERENCE =
  /\bpatient\/[A-Za-z0-9.-]{1,64}|\bpatient(?:\s+(?:id|no\.?|nr\.?|number|#))\s*[:#]?\s*[A-Za-z]{0,6}-?\d|\bpatient\s+#?\d+\b(?!\s*(?:years?|y\/?o|or|and|to|-)\b)|\b(?:bed|room)\s+(?:no\.?\s*)?\d+/i;
const IDENTIFIER_WORD =
  /\b(?:mrn|medical record (?:number|no)|hospital (?:number|no)|case (?:number|no)|nhs (?:number|no)|chi number|ssn|social security (?:number|no)|insurance (?:number|no)|versichertennummer|pesel)\b/i;
const IDENTIFIER_SHAPE =
  /\bMRN-?\d+|\b\d{3}-\d{2}-\d{4}\b|\b\d{3}[ -]\d{3}[ -]\d{4}\b|\b[A-Z]{1,4}-?\d{5,}\b|[\w.+-]+@[\w-]+\.\w+/;
/** A long number is somebody's, unless a code system is named before it. */
const LONG_NUMBER = /\b\d{6,}\b/;
const CODED_NUMBER =
  /\b(?:snomed(?:[ -]?ct)?|sct|rxnorm|loinc|icd(?:-?10)?|atc|code)\W{1,3}(?:codes?\W{1,3})?[A-Z0-9.-]+/gi;
const BIRTH_DAY =
  /\bdob\b|\bdate of birth\b|\bborn\b[^.?!]*?(?:\b\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b|\b\d{1,2}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\s+\d{1,2}(?!\d))/i;
/** "MS" is multiple sclerosis: the name behind a title is not all capitals. */
const TITLE =
  /\b(?:Mr|Mrs|Ms|Miss|Mister|Mme|Mlle|Monsieur|Madame|Herr|Frau|Señora?|Senora?|Sra|Pan|Pani)\.?\s+(?:[A-Z]\.\s*)?\p{Lu}\p{Ll}|\b(?:mr|mrs)\.?\s+\p{Ll}+/u;
const THIS_PATIENT =
  /\b(?:this|my|that)\s+(?:\w+\s+)?(?:patient|mother|father|wife|husband|son|daughter|brother|sister|colleague|neighbou?r)\b|\bthe patient (?:in|called|named)\b|\b(?:called|named)\s+\p{Lu}\p{Ll}/u;

/** After one of these a single capitalised word is somebody. */
const BEFORE_SOMEBODY = new Set(['does', 'did', 'is', 'was', 'has', 'about', 'can', 'should', 'will']);

export interface KnownWords {
  /** Is this word (as in `Word.key`) part of a public term, or of the grammar of questions? */
  isKnown(word: Word): boolean;
}

const isCapitalised = ({ text }: Word): boolean => /^\p{Lu}[\p{Ll}'’]/u.test(text);

/** A capitalised word that no public vocabulary explains. */
const isStrange = (word: Word, known: KnownWords): boolean =>
  isCapitalised(word) && !CAPITALISED.has(word.plain) && !EPONYMS.has(word.plain) && !known.isKnown(word);

/** Headlines capitalise everything; capitals then say nothing. */
const isHeadline = (words: readonly Word[]): boolean => {
  const long = words.filter(({ text }) => text.length > 3);
  return long.length >= 4 && long.filter(isCapitalised).length > long.length * 0.6;
};

const isPossessive = ({ text }: Word): boolean => /['’]s?$/u.test(text);

const namesSomebody = (question: string, words: readonly Word[], known: KnownWords): boolean => {
  const headline = isHeadline(words);
  const strange = words.map((word) => !headline && isStrange(word, known));
  return words.some((word, at) => {
    const next = words[at + 1];
    const eponym = EPONYMS.has(word.plain) && next !== undefined && EPONYM_NOUNS.has(next.plain);
    if (GIVEN_NAMES.has(word.plain) && !known.isKnown(word) && !eponym) return true;
    if (strange[at] !== true) return false;
    // The first word is capitalised anyway; it is somebody when the possessive or a second name says so.
    const sentenceStart = at === 0 || /[.?!]\s*$/.test(question.slice(0, word.at));
    if (isPossessive(word)) return next === undefined || !EPONYM_NOUNS.has(next.plain);
    if (strange[at + 1] === true && !sentenceStart) return true;
    return !sentenceStart && BEFORE_SOMEBODY.has(words[at - 1]?.plain ?? '');
  });
};

/** Why the question is about one patient; undefined when nothing says so. */
export const onePatientSign = (question: string, known: KnownWords): OnePatientSign | undefined => {
  const text = question.normalize('NFC');
  if (REFERENCE.test(text)) return 'reference';
  const withoutCodes = text.replaceAll(CODED_NUMBER, ' ');
  if (IDENTIFIER_WORD.test(text) || IDENTIFIER_SHAPE.test(withoutCodes) || LONG_NUMBER.test(withoutCodes))
    return 'identifier';
  if (BIRTH_DAY.test(text)) return 'date_of_birth';
  if (TITLE.test(text)) return 'title';
  if (THIS_PATIENT.test(text)) return 'this_patient';
  return namesSomebody(text, wordsOf(text), known) ? 'name' : undefined;
};

const SIGN_TEXT: Readonly<Record<OnePatientSign, string>> = {
  reference: 'it refers to a patient, bed or room by number',
  identifier: "it holds a number that looks like a patient's",
  date_of_birth: 'it gives a date of birth',
  title: 'it names a person with a title',
  name: 'it seems to name a person',
  this_patient: 'it is about a particular patient',
};

/** The refusal; it repeats no word of the question. */
export const onePatientRefusal = (sign: OnePatientSign): QflError =>
  new QflError('one_patient', {
    detail:
      `this question is about one patient (${SIGN_TEXT[sign]}); answers here count many patients and hide each of them on purpose. ` +
      'Whether you may see one patient is decided by access control, not by differential privacy, and the record never leaves its hospital. Nothing was asked and nothing was charged',
    next: "Open the patient in your hospital's own record system, or ask its records office for a chart review; there your access is checked and logged. Here, ask about a group, such as “which medications do patients with diabetes take?”. If no patient was meant, write the question without names and numbers.",
    facts: { sign },
  });
