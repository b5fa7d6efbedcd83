/**
 * Every person of the records with the terms they have, one after the other. Codes are read from the blinded index in patient order and
 * merged, so memory does not grow with the records; only linked patients are held until the end. What is said of a person is a
 * function of that person's rows alone: opted-out persons and patients without a Patient resource are not there at all.
 */
import type { Store } from '../../shared/store/port.ts';
import { onlyWholePersons, openBlockReader, type ReadsLinked } from '../records/blocks.ts';
import { decodeRow, type Row } from '../records/codec.ts';
import { BLIND_LENGTH, prefixOf } from '../records/keys.ts';
import { loadPersons, type Persons } from '../records/persons.ts';
import type { Records } from '../records/store.ts';
import { type Cursor, openCursor } from '../records/streams.ts';
import { type Concept, TYPES_OF_GROUP } from './list.ts';

/** What a Patient resource says that cohorts look at. */
export interface Demographics {
  readonly gender: string | undefined;
  readonly birthDate: string | undefined;
}

export interface PersonConcepts {
  /** Blinded name, the same in every question. */
  readonly person: string;
  /** The person's patient records, blinded; more than one when they are linked. */
  readonly patients: readonly string[];
  /** Positions in the list of concepts asked for. */
  readonly has: ReadonlySet<number>;
  /** One per Patient resource of the person. */
  readonly demographics: readonly Demographics[];
}

interface TermRow {
  readonly patient: string;
  readonly concept: number;
}

const patientOf = (position: string): string => position.slice(0, BLIND_LENGTH);
const isCounted = (row: Row, systems: readonly string[]): boolean =>
  row.counted && (row.systems?.some((system) => systems.includes(system)) ?? false);

async function* rowsOfTerm(
  { store }: Records,
  term: string,
  concept: number,
  systems: readonly string[],
): AsyncGenerator<TermRow> {
  const prefix = prefixOf.coded(term);
  for await (const { key, value } of store.list({ prefix }))
    if (isCounted(decodeRow(value), systems)) yield { patient: patientOf(key.slice(prefix.length)), concept };
}

/** One cursor per code that occurs at all: most of a list does not occur at one site. */
const openTerms = async (records: Records, concepts: readonly Concept[]): Promise<Cursor<TermRow>[]> => {
  const open: Cursor<TermRow>[] = [];
  for (const [concept, { group, codes }] of concepts.entries())
    for (const type of TYPES_OF_GROUP[group])
      for (const { code, systems } of codes) {
        const cursor = await openCursor(rowsOfTerm(records, records.keys.term(type, code), concept, systems));
        if (cursor.current() === undefined) await cursor.close();
        else open.push(cursor);
      }
  return open;
};

/** Takes from every cursor what belongs to `patient` or to a patient before. */
const takeTerms = async (cursors: readonly Cursor<TermRow>[], patient: string): Promise<Set<number>> => {
  const has = new Set<number>();
  for (const cursor of cursors)
    for (let row = cursor.current(); row !== undefined && row.patient <= patient; row = cursor.current()) {
      if (row.patient === patient) has.add(row.concept);
      await cursor.advance();
    }
  return has;
};

interface Patient {
  readonly patient: string;
  readonly row: Row;
}

async function* presentPatients(store: Store): AsyncGenerator<Patient> {
  const prefix = prefixOf.rows('Patient');
  for await (const { key, value } of store.list({ prefix }))
    yield { patient: patientOf(key.slice(prefix.length)), row: decodeRow(value) };
}

const optedOutPatients = async (store: Store): Promise<ReadonlySet<string>> => {
  const found = new Set<string>();
  for await (const key of store.keys({ prefix: prefixOf.optOuts }))
    found.add(patientOf(key.slice(prefixOf.optOuts.length)));
  return found;
};

/** Linked patients become one person: what any of their records says. */
class Linked {
  readonly #persons = new Map<string, PersonConcepts>();
  /** Records of a person in other data blocks than are asked for. */
  readonly #outside = new Map<string, number>();
  readonly #reads: ReadsLinked;

  constructor(reads: ReadsLinked) {
    this.#reads = reads;
  }

  standsOutside(person: string): void {
    this.#outside.set(person, (this.#outside.get(person) ?? 0) + 1);
  }

  add(person: string, part: PersonConcepts): void {
    const known = this.#persons.get(person);
    this.#persons.set(person, {
      person,
      patients: [...(known?.patients ?? []), ...part.patients],
      has: new Set([...(known?.has ?? []), ...part.has]),
      demographics: [...(known?.demographics ?? []), ...part.demographics],
    });
  }

  all(): Iterable<PersonConcepts> {
    return [...this.#persons.values()].filter(({ person, patients }) =>
      this.#reads(patients.length, this.#outside.get(person) ?? 0),
    );
  }
}

const excludedPersons = (optedOut: ReadonlySet<string>, persons: Persons): ReadonlySet<string> =>
  new Set([...optedOut].flatMap((patient) => persons.personOf(patient) ?? []));

/** Seams for fault injection; production passes none. */
export interface PersonRules {
  readonly optedOut?: (store: Store) => Promise<ReadonlySet<string>>;
  readonly persons?: (store: Store) => Promise<Persons>;
  readonly readsLinked?: ReadsLinked;
}

/**
 * @param concepts whose positions `has` holds
 * @param blocks only persons of these data blocks (`records/blocks.ts`); everybody where the site keeps none
 * @throws QflError `too_large` when too many patients are linked
 */
export async function* personsWithConcepts(
  records: Records,
  concepts: readonly Concept[],
  {
    optedOut = optedOutPatients,
    persons: load = loadPersons,
    readsLinked = onlyWholePersons,
  }: PersonRules = {},
  blocks?: readonly string[],
): AsyncGenerator<PersonConcepts> {
  const { store } = records;
  const persons = await load(store);
  const out = await optedOut(store);
  const excluded = excludedPersons(out, persons);
  const linked = new Linked(readsLinked);
  const block = await openBlockReader(records, blocks);
  const cursors = await openTerms(records, concepts);
  try {
    for await (const { patient, row } of presentPatients(store)) {
      const has = await takeTerms(cursors, patient);
      if (out.has(patient)) continue;
      const standing = await block.of(patient);
      const person = persons.personOf(patient);
      if (person !== undefined && standing === 'outside') linked.standsOutside(person);
      if (standing !== 'inside') continue;
      const demographics = [{ gender: row.gender, birthDate: row.birthDate }];
      if (person === undefined) yield { person: patient, patients: [patient], has, demographics };
      else if (!excluded.has(person)) linked.add(person, { person, patients: [patient], has, demographics });
    }
  } finally {
    for (const cursor of cursors) await cursor.close();
    await block.close();
  }
  yield* linked.all();
}
