/**
 * The closed, public list of clinical terms that questions over records are answered in. It is made from published code systems and
 * never from patient data, so naming a term says nothing about anybody. A question carries the list's version and hash, and a
 * site with another list refuses: two sites that add their counts count the same thing.
 */
import { toHex, utf8 } from '../../shared/bytes.ts';
import { hashOf } from '../../shared/crypto/hash.ts';
import { assert, QflError } from '../../shared/errors.ts';
import { type ConceptGroup, ConceptId, type ConceptListName } from '../../shared/wire/stats/ask.ts';
import { CONDITIONS } from './conditions.ts';
import { MEDICATIONS } from './medications.ts';
import { OBSERVATIONS } from './observations.ts';
import { PROCEDURES } from './procedures.ts';
import { UMBRELLAS } from './umbrellas.ts';

/** Prefix of a code in the tables → the URIs under which FHIR resources give that system. */
export const CODE_SYSTEMS = {
  sct: ['http://snomed.info/sct'],
  icd10: [
    'http://hl7.org/fhir/sid/icd-10',
    'http://hl7.org/fhir/sid/icd-10-cm',
    'http://fhir.de/CodeSystem/bfarm/icd-10-gm',
  ],
  rx: ['http://www.nlm.nih.gov/research/umls/rxnorm'],
  atc: ['http://www.whocc.no/atc', 'http://fhir.de/CodeSystem/bfarm/atc'],
  loinc: ['http://loinc.org'],
} as const satisfies Record<string, readonly string[]>;
type SystemPrefix = keyof typeof CODE_SYSTEMS;
export type CodeText = `${SystemPrefix}:${string}`;

/** Id, name, other names (as people write them), codes. */
export type ConceptRow = readonly [
  id: string,
  name: string,
  synonyms: readonly string[],
  codes: readonly CodeText[],
];
/** A word that stands for any of several concepts: "statin". */
export type UmbrellaRow = readonly [names: readonly string[], members: readonly string[]];

export interface ConceptCode {
  readonly systems: readonly string[];
  readonly code: string;
}

export interface Concept {
  readonly id: ConceptId;
  readonly group: ConceptGroup;
  readonly name: string;
  readonly synonyms: readonly string[];
  readonly codes: readonly ConceptCode[];
}

export interface Umbrella {
  readonly names: readonly string[];
  readonly members: readonly ConceptId[];
}

export interface ConceptList {
  readonly name: ConceptListName;
  readonly concepts: readonly Concept[];
  readonly umbrellas: readonly Umbrella[];
  byId(id: string): Concept | undefined;
  /** Of one kind, in list order. */
  ofGroup(group: ConceptGroup): readonly Concept[];
}

/** FHIR types whose codes make a patient have a concept of the group. */
export const TYPES_OF_GROUP: Readonly<Record<ConceptGroup, readonly string[]>> = {
  conditions: ['Condition'],
  medications: ['MedicationRequest', 'MedicationStatement', 'MedicationAdministration', 'MedicationDispense'],
  procedures: ['Procedure'],
  observations: ['Observation'],
};

const isPrefix = (text: string): text is SystemPrefix => Object.hasOwn(CODE_SYSTEMS, text);

const codeOf = (text: CodeText): ConceptCode => {
  const colon = text.indexOf(':');
  const prefix = text.slice(0, colon);
  assert(isPrefix(prefix), `a code system of the list is known: ${prefix}`);
  return { systems: CODE_SYSTEMS[prefix], code: text.slice(colon + 1) };
};

const conceptsOf = (group: ConceptGroup, rows: readonly ConceptRow[]): Concept[] =>
  rows.map(([id, name, synonyms, codes]) => ({
    id: ConceptId.parse(id),
    group,
    name,
    synonyms,
    codes: codes.map(codeOf),
  }));

/** Ids once, and each code once per group: two concepts that share a code could not be told apart. */
const checkRows = (concepts: readonly Concept[], umbrellas: readonly Umbrella[]): void => {
  const ids = new Set(concepts.map(({ id }) => id));
  assert(ids.size === concepts.length, 'each concept has an id of its own');
  const codes = concepts.flatMap(({ group, codes: own }) =>
    own.map(({ systems, code }) => `${group} ${systems[0]} ${code}`),
  );
  assert(new Set(codes).size === codes.length, 'each code belongs to one concept of its group');
  for (const { members } of umbrellas)
    for (const id of members) assert(ids.has(id), `an umbrella names concepts of the list: ${id}`);
};

export interface ConceptTables extends Readonly<Record<ConceptGroup, readonly ConceptRow[]>> {
  readonly umbrellas: readonly UmbrellaRow[];
}

/** @param version changes with every change of the tables; the hash proves it */
export const createConceptList = (version: string, tables: ConceptTables): ConceptList => {
  const concepts = (['conditions', 'medications', 'procedures', 'observations'] as const).flatMap((group) =>
    conceptsOf(group, tables[group]),
  );
  const umbrellas = tables.umbrellas.map(([names, members]) => ({
    names,
    members: members.map((id) => ConceptId.parse(id)),
  }));
  checkRows(concepts, umbrellas);
  const byId = new Map<string, Concept>(concepts.map((concept) => [concept.id, concept]));
  const hash = toHex(
    hashOf('qfl concept list', utf8(version), utf8(JSON.stringify({ concepts, umbrellas }))),
  );
  return {
    name: { version, hash },
    concepts,
    umbrellas,
    byId: (id) => byId.get(id),
    ofGroup: (group) => concepts.filter((concept) => concept.group === group),
  };
};

/** The list of this release. */
export const CONCEPTS: ConceptList = createConceptList('2025.1', {
  conditions: CONDITIONS,
  medications: MEDICATIONS,
  procedures: PROCEDURES,
  observations: OBSERVATIONS,
  umbrellas: UMBRELLAS,
});

/** @throws QflError `conflict` unless the question was asked with exactly this list */
export const requireSameList = (list: ConceptList, asked: ConceptListName): void => {
  if (asked.version === list.name.version && asked.hash === list.name.hash) return;
  throw new QflError('conflict', {
    detail: `this site has version ${list.name.version} of the list of clinical terms, the question was asked with ${asked.version}`,
    next: 'Counts only add up over one list: run the same release of this program at both sites.',
    facts: { here: list.name, asked },
  });
};

/** @throws QflError `invalid_request` for an id that the list does not have */
export const requireConcepts = (list: ConceptList, ids: readonly ConceptId[]): readonly Concept[] =>
  ids.map((id) => {
    const concept = list.byId(id);
    if (concept !== undefined) return concept;
    throw new QflError('invalid_request', {
      detail: 'the question names a term that is not in the list',
      next: 'Use the ids of the list: "qfl query ask --terms" prints them.',
    });
  });
