/**
 * Counts distinct persons of a cohort. Sorted index streams are merged patient by patient, so memory does not grow
 * with the records; only linked patients are held (`persons.ts`). Each person adds 0 or 1 whatever they have in the
 * records, so adding or removing one person moves the count by at most one: the sensitivity the noise is made for.
 * That holds too while an import writes beside it, because every stream is a snapshot and presence is tested last.
 */
import type { Store } from '../../shared/store/port.ts';
import { decodeRow, type Row } from './codec.ts';
import type { Cohort, CohortCondition } from './cohort.ts';
import { BLIND_LENGTH, prefixOf } from './keys.ts';
import { loadPersons, type Persons } from './persons.ts';
import type { Records } from './store.ts';
import { distinct, innerJoin, without } from './streams.ts';

interface IndexRow {
  /** `patient/ref`: sorts by patient. */
  readonly position: string;
  readonly row: Row;
}

type CodeCondition = Extract<CohortCondition, { field: 'code' }>;

const patientOf = (position: string): string => position.slice(0, BLIND_LENGTH);

async function* listRows(store: Store, prefix: string): AsyncGenerator<IndexRow> {
  for await (const { key, value } of store.list({ prefix })) {
    yield { position: key.slice(prefix.length), row: decodeRow(value) };
  }
}

const inInterval = (
  day: string | undefined,
  { from, before }: { from?: string | undefined; before?: string | undefined },
) => day !== undefined && (from === undefined || day >= from) && (before === undefined || day < before);

/** The conditions on the row's own attributes; codes are settled by the index, the rest by the patient. */
const rowHolds = (row: Row, condition: CohortCondition): boolean => {
  if (condition.field === 'status') return row.status === condition.value;
  return condition.field !== 'date' || inInterval(row.date, condition);
};

const patientHolds = (row: Row, condition: CohortCondition): boolean => {
  if (condition.field === 'gender') return row.gender === condition.value;
  return condition.field !== 'birthdate' || inInterval(row.birthDate, condition);
};

async function* rowsWithCode(
  records: Records,
  resource: string,
  condition: CodeCondition,
): AsyncGenerator<IndexRow> {
  const prefix = prefixOf.coded(records.keys.term(resource, condition.code));
  for await (const item of listRows(records.store, prefix)) {
    if (condition.system === undefined || item.row.systems?.includes(condition.system) === true) yield item;
  }
}

async function* firstOfPairs<Item>(pairs: AsyncIterable<readonly [Item, Item]>): AsyncGenerator<Item> {
  for await (const [item] of pairs) yield item;
}

const position = (item: IndexRow): string => item.position;

/** Rows that carry every code asked for. */
const candidateRows = (records: Records, { resource, where }: Cohort): AsyncIterable<IndexRow> => {
  const [first, ...others] = where
    .filter((condition) => condition.field === 'code')
    .map((condition) => rowsWithCode(records, resource, condition));
  if (first === undefined) return listRows(records.store, prefixOf.rows(resource));
  return others.reduce((rows, next) => firstOfPairs(innerJoin(rows, position, next, position)), first);
};

async function* matchingRows(records: Records, cohort: Cohort): AsyncGenerator<IndexRow> {
  for await (const item of candidateRows(records, cohort)) {
    if (item.row.counted && cohort.where.every((condition) => rowHolds(item.row, condition))) yield item;
  }
}

interface PresentPatient {
  readonly patient: string;
  /** Only read when a condition looks at it. */
  readonly row: Row | undefined;
}

/** Every patient whose Patient resource is here; reading keys alone spares decrypting each. */
async function* presentPatients(store: Store, withRows: boolean): AsyncGenerator<PresentPatient> {
  const prefix = prefixOf.rows('Patient');
  if (withRows) {
    for await (const { position: at, row } of listRows(store, prefix)) yield { patient: patientOf(at), row };
  } else {
    for await (const key of store.keys({ prefix })) {
      yield { patient: patientOf(key.slice(prefix.length)), row: undefined };
    }
  }
}

/** Matching patients whose Patient resource is here: without it neither consent nor links are known. */
async function* matchingPatients(
  records: Records,
  cohort: Cohort,
  onePerPatient: typeof distinct,
): AsyncGenerator<string> {
  const candidates = onePerPatient(matchingRows(records, cohort), (item) => patientOf(item.position));
  const conditions = cohort.where.filter(({ field }) => field === 'gender' || field === 'birthdate');
  const present = presentPatients(records.store, conditions.length > 0);
  const joined = innerJoin(
    candidates,
    (patient) => patient,
    present,
    ({ patient }) => patient,
  );
  for await (const [patient, { row }] of joined) {
    if (conditions.every((condition) => row !== undefined && patientHolds(row, condition))) yield patient;
  }
}

async function* optedOutPatients(store: Store): AsyncGenerator<string> {
  const prefix = prefixOf.optOuts;
  for await (const key of store.keys({ prefix }))
    yield key.slice(prefix.length, prefix.length + BLIND_LENGTH);
}

/** Persons of whom any record opted out. */
const optedOutPersons = async (
  optedOut: AsyncIterable<string>,
  persons: Persons,
): Promise<ReadonlySet<string>> => {
  const found = new Set<string>();
  for await (const patient of optedOut) {
    const person = persons.personOf(patient);
    if (person !== undefined) found.add(person);
  }
  return found;
};

/** Seams for fault injection; production passes none. */
export interface CountRules {
  readonly optedOut?: (store: Store) => AsyncIterable<string>;
  readonly persons?: (store: Store) => Promise<Persons>;
  readonly distinct?: typeof distinct;
}

/**
 * Distinct persons with at least one matching row: linked records count once, and a person of whom any record opted
 * out not at all.
 */
export const countDistinctPatients = async (
  records: Records,
  cohort: Cohort,
  { optedOut = optedOutPatients, persons: load = loadPersons, distinct: one = distinct }: CountRules = {},
): Promise<bigint> => {
  const { store } = records;
  const persons = await load(store);
  const excluded = await optedOutPersons(optedOut(store), persons);
  const seen = new Set<string>();
  let alone = 0n;
  const patients = matchingPatients(records, cohort, one);
  for await (const patient of without(patients, (id) => id, optedOut(store))) {
    const person = persons.personOf(patient);
    if (person === undefined) alone += 1n;
    else if (!excluded.has(person)) seen.add(person);
  }
  return alone + BigInt(seen.size);
};
