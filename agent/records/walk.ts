/**
 * Visits every person of a cohort once, with the rows asked for. Sorted index streams are merged patient by patient, so memory does not grow
 * with the records; only linked patients are held (`persons.ts`). A person is all records linked to each other: together they
 * hold what any of them holds, count once, and give rows up to the declared number; a person of whom any record opted out
 * is not visited, nor is anybody whose Patient resource is not here (neither consent nor links would be known).
 *
 * What is said of one person depends on that person's records alone. That is what every sensitivity downstream rests on, and it
 * holds too while an import writes beside it, because every stream is a snapshot taken at the start.
 */
import type { Store } from '../../shared/store/port.ts';
import { onlyWholePersons, openBlockReader, type ReadsLinked } from './blocks.ts';
import type { Row } from './codec.ts';
import type { Cohort } from './cohort.ts';
import { type CohortTree, holds, leavesOf } from './cohort-tree.ts';
import { BLIND_LENGTH, prefixOf } from './keys.ts';
import { loadPersons, type Persons } from './persons.ts';
import {
  type CodeRef,
  type IndexRow,
  isOfPatient,
  listRows,
  matchingRows,
  patientHolds,
  patientOf,
  positionOf,
  rowsWithCode,
} from './rows.ts';
import type { Records } from './store.ts';
import { type Cursor, openCursor, seek, without } from './streams.ts';

/** Which of a person's rows are taken, at most this many, after `accepts`. */
export interface RowSource {
  readonly of: Cohort;
  readonly perPatientMax: number;
  readonly take: 'earliest' | 'latest' | 'blind';
  /** Codes to tell apart in each row. */
  readonly codes?: readonly CodeRef[];
  /** A public condition on the row alone. */
  accepts?(row: Row): boolean;
}

export interface TakenRow {
  /** Blinded; orders rows of equal date. */
  readonly ref: string;
  readonly row: Row;
  /** Position in `codes` of the first that the row carries. */
  readonly code: number | undefined;
}

export interface VisitedPerson {
  /** Blinded; the same at every visit while nobody links the person to others. */
  readonly key: string;
  /** The Patient row, of linked records the first in blinded order; undefined when nothing looks at patients. */
  readonly patient: Row | undefined;
  /** Per source. */
  readonly rows: readonly (readonly TakenRow[])[];
}

export interface Walk {
  readonly tree: CohortTree;
  readonly sources: readonly RowSource[];
  /** Somebody downstream looks at the Patient row. */
  readonly needsPatient: boolean;
  /** Only persons of these data blocks (`blocks.ts`); everybody where the site keeps none. */
  readonly blocks?: readonly string[] | undefined;
}

/** Seams for fault injection; production passes none. */
export interface WalkRules {
  readonly optedOut?: (store: Store) => AsyncIterable<string>;
  readonly persons?: (store: Store) => Promise<Persons>;
  readonly truncate?: (rows: readonly TakenRow[], source: RowSource) => readonly TakenRow[];
  readonly readsLinked?: ReadsLinked;
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

interface PresentPatient {
  readonly patient: string;
  readonly row: Row | undefined;
}

/** Every patient whose Patient resource is here; reading keys alone spares decrypting each. */
async function* presentPatients(store: Store, withRows: boolean): AsyncGenerator<PresentPatient> {
  const prefix = prefixOf.rows('Patient');
  if (withRows) {
    for await (const { position, row } of listRows(store, prefix))
      yield { patient: patientOf(position), row };
  } else {
    for await (const key of store.keys({ prefix }))
      yield { patient: patientOf(key.slice(prefix.length)), row: undefined };
  }
}

const LATEST = '9999-99-99';

/** Undated rows come last either way; equal dates go by the blinded ref. */
const before = (take: RowSource['take'], left: TakenRow, right: TakenRow): boolean => {
  const one = left.row.date;
  const other = right.row.date;
  if (take === 'blind' || one === other) return left.ref < right.ref;
  if (take === 'earliest') return (one ?? LATEST) < (other ?? LATEST);
  return (one ?? '') > (other ?? '');
};

/** The rows that the declared rule takes of one person. */
export const truncate = (
  rows: readonly TakenRow[],
  { take, perPatientMax }: RowSource,
): readonly TakenRow[] =>
  rows.toSorted((left, right) => (before(take, left, right) ? -1 : 1)).slice(0, perPatientMax);

/** Rows held of one patient before they are cut: one patient may have very many. */
const HELD_FACTOR = 8;

interface OpenSource {
  readonly source: RowSource;
  readonly rows: Cursor<IndexRow>;
  readonly codes: readonly Cursor<IndexRow>[];
}

interface OpenLeaf {
  readonly leaf: Cohort;
  readonly rows: Cursor<IndexRow>;
}

const patientConditionsHold = ({ where }: Cohort, patient: Row | undefined): boolean =>
  where.filter(isOfPatient).every((condition) => patient !== undefined && patientHolds(patient, condition));

/** Brings the cursor to the patient; true when it has a row of them. Leaves the cursor behind the patient's rows. */
const hasRow = async (rows: Cursor<IndexRow>, patient: string): Promise<boolean> => {
  let found = false;
  for (let item = rows.current(); item !== undefined; item = rows.current()) {
    const at = patientOf(item.position);
    if (at > patient) break;
    if (at === patient) found = true;
    await rows.advance();
  }
  return found;
};

const codeOf = async (codes: readonly Cursor<IndexRow>[], position: string): Promise<number | undefined> => {
  let first: number | undefined;
  for (const [at, cursor] of codes.entries()) {
    const found = await seek(cursor, positionOf, position);
    if (found !== undefined && first === undefined) first = at;
  }
  return first;
};

type Truncate = NonNullable<WalkRules['truncate']>;

const takeRows = async (
  { source, rows, codes }: OpenSource,
  { patient, row: patientRow }: PresentPatient,
  cut: Truncate,
): Promise<readonly TakenRow[]> => {
  let taken: TakenRow[] = [];
  const wanted = patientConditionsHold(source.of, patientRow);
  for (let item = rows.current(); item !== undefined; item = rows.current()) {
    const at = patientOf(item.position);
    if (at > patient) break;
    if (at === patient && wanted && (source.accepts?.(item.row) ?? true)) {
      taken.push({
        ref: item.position.slice(-BLIND_LENGTH),
        row: item.row,
        code: await codeOf(codes, item.position),
      });
      if (taken.length > source.perPatientMax * HELD_FACTOR) taken = [...cut(taken, source)];
    }
    await rows.advance();
  }
  return cut(taken, source);
};

interface Visit {
  readonly key: string;
  readonly leaves: boolean[];
  readonly patient: Row | undefined;
  readonly rows: (readonly TakenRow[])[];
}

/** Two records of one person: what either holds, and the rows of both, cut again. */
const joined = (left: Visit, right: Visit, sources: readonly RowSource[], cut: Truncate): Visit => ({
  key: left.key,
  leaves: left.leaves.map((value, at) => value || right.leaves[at] === true),
  patient: left.patient ?? right.patient,
  rows: sources.map((source, at) => cut([...(left.rows[at] ?? []), ...(right.rows[at] ?? [])], source)),
});

const looksAtPatients = ({ where }: Cohort): boolean => where.some(isOfPatient);

/** Persons of the cohort; a signal stops it between two patients. */
export async function* walkPersons(
  records: Records,
  { tree, sources, needsPatient, blocks }: Walk,
  {
    optedOut = optedOutPatients,
    persons: load = loadPersons,
    truncate: cut = truncate,
    readsLinked = onlyWholePersons,
  }: WalkRules = {},
  signal?: AbortSignal,
): AsyncGenerator<VisitedPerson> {
  const { store } = records;
  const leaves = leavesOf(tree);
  const persons = await load(store);
  const excluded = await optedOutPersons(optedOut(store), persons);
  const withRows = needsPatient || [...leaves, ...sources.map(({ of }) => of)].some(looksAtPatients);
  const block = await openBlockReader(records, blocks);
  const openLeaves: OpenLeaf[] = [];
  const openSources: OpenSource[] = [];
  try {
    for (const leaf of leaves) openLeaves.push({ leaf, rows: await openCursor(matchingRows(records, leaf)) });
    for (const source of sources) openSources.push(await openSource(records, source));
    const visitOne = async (present: PresentPatient): Promise<Visit> => {
      const held: boolean[] = [];
      for (const { leaf, rows } of openLeaves)
        held.push((await hasRow(rows, present.patient)) && patientConditionsHold(leaf, present.row));
      const taken: (readonly TakenRow[])[] = [];
      for (const open of openSources) taken.push(await takeRows(open, present, cut));
      const key = persons.personOf(present.patient) ?? present.patient;
      return { key, leaves: held, patient: present.row, rows: taken };
    };
    const linked = new Map<string, { visit: Visit | undefined; inside: number; outside: number }>();
    const present = without(presentPatients(store, withRows), ({ patient }) => patient, optedOut(store));
    for await (const one of present) {
      signal?.throwIfAborted();
      const person = persons.personOf(one.patient);
      if (person !== undefined && excluded.has(person)) continue;
      const standing = await block.of(one.patient);
      const visit = standing === 'inside' ? await visitOne(one) : undefined;
      if (person === undefined) {
        if (visit !== undefined && holds(tree, visit.leaves)) yield visit;
        continue;
      }
      const earlier = linked.get(person) ?? { visit: undefined, inside: 0, outside: 0 };
      linked.set(person, {
        visit:
          earlier.visit === undefined || visit === undefined
            ? (visit ?? earlier.visit)
            : joined(earlier.visit, visit, sources, cut),
        inside: earlier.inside + (standing === 'inside' ? 1 : 0),
        outside: earlier.outside + (standing === 'outside' ? 1 : 0),
      });
    }
    for (const { visit, inside, outside } of linked.values())
      if (visit !== undefined && readsLinked(inside, outside) && holds(tree, visit.leaves)) yield visit;
  } finally {
    await block.close();
    for (const { rows } of openLeaves) await rows.close();
    for (const { rows, codes } of openSources) for (const cursor of [rows, ...codes]) await cursor.close();
  }
}

const openSource = async (records: Records, source: RowSource): Promise<OpenSource> => {
  const rows = await openCursor(matchingRows(records, source.of));
  const codes: Cursor<IndexRow>[] = [];
  for (const ref of source.codes ?? [])
    codes.push(await openCursor(rowsWithCode(records, source.of.resource, ref)));
  return { source, rows, codes };
};
