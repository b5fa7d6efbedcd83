/**
 * The public list of terms: what a concept is called, and the codes it stands for. Public and part of the program, so that a term in a
 * question says nothing about any record; what is not on the list is asked by its code.
 */
import { QflError } from '../../shared/errors.ts';
import { DISEASES, VITALS } from './sample/catalogue.ts';

export interface TermCode {
  readonly system: string;
  readonly code: string;
}
export interface Term {
  readonly text: string;
  /** The FHIR type whose `code` holds it. */
  readonly resource: 'Condition' | 'Observation' | 'MedicationRequest';
  readonly codes: readonly TermCode[];
}

export const SNOMED = 'http://snomed.info/sct';
export const LOINC = 'http://loinc.org';
export const RXNORM = 'http://www.nlm.nih.gov/research/umls/rxnorm';

/** "Asthma (disorder)" is asked for as "asthma". */
const plainText = (text: string): string =>
  text
    .replace(/\s*\([^)]*\)$/, '')
    .trim()
    .toLowerCase();

const term = (resource: Term['resource'], text: string, system: string, code: string): Term => ({
  text,
  resource,
  codes: [{ system, code }],
});

/** One entry per text; codes of equal texts together. */
const merged = (terms: readonly Term[]): readonly Term[] => {
  const known = new Map<string, Term>();
  for (const one of terms) {
    const name = `${one.resource} ${plainText(one.text)}`;
    const codes = [...(known.get(name)?.codes ?? []), ...one.codes];
    const unique = [...new Map(codes.map((code) => [`${code.system}|${code.code}`, code])).values()];
    known.set(name, { ...one, codes: unique });
  }
  return [...known.values()];
};

export const TERMS: readonly Term[] = merged([
  ...DISEASES.map(({ display, snomed }) => term('Condition', display, SNOMED, snomed)),
  ...[...VITALS, ...DISEASES.flatMap(({ measurements }) => measurements)].map(({ display, loinc }) =>
    term('Observation', display, LOINC, loinc),
  ),
  ...DISEASES.flatMap(({ medications }) => medications).map(({ display, rxnorm }) =>
    term('MedicationRequest', display, RXNORM, rxnorm),
  ),
]);

const SUGGESTIONS_MAX = 5;

const suggestions = (text: string): string => {
  const words = plainText(text).split(/\s+/);
  const close = TERMS.filter(({ text: known }) => words.some((word) => plainText(known).includes(word)));
  return close
    .slice(0, SUGGESTIONS_MAX)
    .map(({ text: known }) => `"${known}"`)
    .join(', ');
};

/**
 * The codes of a term, whatever its case and with or without the kind in parentheses.
 * @throws QflError `invalid_request` for a text that is not on the list
 */
export const resolveTerm = (text: string): readonly TermCode[] => {
  const found = TERMS.filter(({ text: known }) => plainText(known) === plainText(text));
  if (found.length > 0) return found.flatMap(({ codes }) => codes);
  const near = suggestions(text);
  throw new QflError('invalid_request', {
    detail: `"${text}" is not on the public list of terms`,
    next:
      near === ''
        ? 'Ask by code, as in code=http://snomed.info/sct|44054006.'
        : `Ask by code, or for one of these terms: ${near}.`,
  });
};
