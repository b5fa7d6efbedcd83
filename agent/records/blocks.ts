/**
 * Who stands in which data block. Each patient record gets one block once: at the end of the first import that knows an admission of the
 * person, the month of the earliest admission known then. Nothing that comes later changes it, a deletion neither: queries over that
 * block were charged for this patient.
 *
 * The rule for linked records. Records that are linked when one of them is first assigned share a block. Where a link arrives after both had
 * blocks of their own, the person is read by a query only when it is charged on all blocks of their records. So before the link each record
 * costs its person what its own block was charged, and after it the person costs no more than the least of the blocks is charged: in all,
 * never more than the budgets of the blocks in which the person's records stand, and one budget for everybody whose links were known in
 * time. A link that is withdrawn leaves two persons, each with their own block, and the same bound.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import type { StoreOperation } from '../../shared/store/port.ts';
import { Block } from '../budget/blocks.ts';
import { BLIND_LENGTH, keyOf, prefixOf } from './keys.ts';
import { loadPersons } from './persons.ts';
import { type IndexRow, listRows, patientOf } from './rows.ts';
import type { Records } from './store.ts';
import { type Cursor, openCursor, seek } from './streams.ts';

const BATCH = 1_000;

/** For whoever runs the site; of the last import. Exact, so it never leaves the site. */
export const BlockCounts = z.strictObject({
  /** Patient records in a block. */
  assigned: z.int().nonnegative(),
  /** Without a known admission: not read while data blocks are on. */
  withoutBlock: z.int().nonnegative(),
  /** Persons whose records stand in several blocks, because a link arrived late. */
  personsInSeveral: z.int().nonnegative(),
  /** The most blocks of one person: their loss is at most so many budgets of a block. */
  blocksPerPersonMost: z.int().nonnegative(),
});
export type BlockCounts = z.infer<typeof BlockCounts>;

interface Assigned {
  readonly patient: string;
  /** Blinded month. */
  readonly month: string;
}

async function* assignments({ store }: Records): AsyncGenerator<Assigned> {
  for await (const key of store.keys({ prefix: prefixOf.blocks })) {
    const position = key.slice(prefixOf.blocks.length);
    yield { patient: patientOf(position), month: position.slice(BLIND_LENGTH + 1) };
  }
}
const assignedPatient = ({ patient }: Assigned): string => patient;

/** Month of the earliest counted admission of this patient; a date that is no month of a block is none. Leaves the cursor behind the patient's rows. */
const earliestMonth = async (rows: Cursor<IndexRow>, patient: string): Promise<Block | undefined> => {
  let first: Block | undefined;
  for (let item = rows.current(); item !== undefined; item = rows.current()) {
    const at = patientOf(item.position);
    if (at > patient) break;
    const { counted, date = '' } = item.row;
    const month = at === patient && counted ? Block.safeParse(date.slice(0, 7)).data : undefined;
    if (month !== undefined && (first === undefined || month < first)) first = month;
    await rows.advance();
  }
  return first;
};

/** The linked records of one person as they are met. */
interface Group {
  readonly waiting: string[];
  /** Months that members have already, and of admissions of those that have none. */
  readonly assigned: Set<string>;
  earliest: string | undefined;
}

/** Gathers writes; one batch is one atomic write. */
const createBatch = ({ store, keys }: Records) => {
  let operations: StoreOperation[] = [];
  const flush = async (): Promise<void> => {
    if (operations.length > 0) await store.write(operations);
    operations = [];
  };
  return {
    flush,
    async put(patient: string, month: string): Promise<void> {
      operations.push({ type: 'put', key: keyOf.block(patient, keys.month(month)), value: utf8(month) });
      if (operations.length >= BATCH) await flush();
    },
  };
};

const least = (months: Iterable<string>): string | undefined => [...months].toSorted()[0];

/**
 * Gives a block to every patient record that has none and can have one. Idempotent; one that was cut off is done again. Streams in patient
 * order; only linked patients are held. Run it exclusively: two at once could give one patient two blocks.
 */
export const assignBlocks = async (records: Records): Promise<BlockCounts> => {
  const { store } = records;
  const persons = await loadPersons(store);
  const groups = new Map<string, Group>();
  const groupOf = (person: string): Group => {
    const known = groups.get(person) ?? { waiting: [], assigned: new Set<string>(), earliest: undefined };
    groups.set(person, known);
    return known;
  };
  const counts = { assigned: 0, withoutBlock: 0, personsInSeveral: 0, blocksPerPersonMost: 0 };
  const batch = createBatch(records);
  const known = await openCursor(assignments(records));
  const admissions = await openCursor(listRows(store, prefixOf.rows('Encounter')));
  try {
    const prefix = prefixOf.rows('Patient');
    for await (const key of store.keys({ prefix })) {
      const patient = patientOf(key.slice(prefix.length));
      const has = await seek(known, assignedPatient, patient);
      const month = await earliestMonth(admissions, patient);
      const person = persons.personOf(patient);
      if (has !== undefined) counts.assigned += 1;
      if (person === undefined) {
        if (has === undefined && month !== undefined) await batch.put(patient, month);
        if (has === undefined) counts[month === undefined ? 'withoutBlock' : 'assigned'] += 1;
        continue;
      }
      const group = groupOf(person);
      if (has === undefined) {
        group.waiting.push(patient);
        group.earliest = least([group.earliest, month].filter((one) => one !== undefined));
      } else {
        const value = await store.get(keyOf.block(patient, has.month));
        if (value !== undefined) group.assigned.add(fromUtf8(value));
      }
    }
  } finally {
    await known.close();
    await admissions.close();
  }
  for (const { waiting, assigned, earliest } of groups.values()) {
    const month = least(assigned) ?? earliest;
    for (const patient of waiting) if (month !== undefined) await batch.put(patient, month);
    counts[month === undefined ? 'withoutBlock' : 'assigned'] += waiting.length;
    if (assigned.size > 1) counts.personsInSeveral += 1;
    counts.blocksPerPersonMost = Math.max(counts.blocksPerPersonMost, assigned.size);
  }
  await batch.flush();
  if (counts.assigned > 0) counts.blocksPerPersonMost = Math.max(counts.blocksPerPersonMost, 1);
  const isEmpty = counts.assigned + counts.withoutBlock === 0;
  await store.write([
    isEmpty
      ? { type: 'del', key: keyOf.blockCounts }
      : { type: 'put', key: keyOf.blockCounts, value: utf8(JSON.stringify(counts)) },
  ]);
  return counts;
};

/** Of the last import; undefined before the first one that assigns blocks. */
export const blockCounts = async ({ store }: Records): Promise<BlockCounts | undefined> => {
  const value = await store.get(keyOf.blockCounts);
  return value === undefined ? undefined : BlockCounts.parse(JSON.parse(fromUtf8(value)));
};

/**
 * Records of an earlier version of this program have no blocks yet: every question would be answered as if nobody were there.
 * @throws QflError `not_ready`
 */
export const requireBlocks = async (
  records: Records,
  blocks: readonly string[] | undefined,
): Promise<void> => {
  if (blocks === undefined || (await blockCounts(records)) !== undefined) return;
  for await (const _ of records.store.keys({ prefix: prefixOf.rows('Patient'), limit: 1 }))
    throw new QflError('not_ready', {
      detail: 'the records of this site were imported before data blocks were kept',
      next: 'Import them again with "qfl agent import DIR": every patient then gets the month of the earliest admission.',
    });
};

/** Is a patient record in one of the blocks asked for, in another, or in none? Only the first may be read. */
export type Standing = 'inside' | 'outside' | 'none';

export interface BlockReader {
  /** Patients in store order. */
  of(patient: string): Promise<Standing>;
  close(): Promise<void>;
}

/** @param blocks undefined where the site keeps none: then everybody is inside */
export const openBlockReader = async (
  records: Records,
  blocks: readonly string[] | undefined,
): Promise<BlockReader> => {
  if (blocks === undefined) return { of: () => Promise.resolve('inside'), close: () => Promise.resolve() };
  const wanted = new Set(blocks.map((block) => records.keys.month(block)));
  const cursor = await openCursor(assignments(records));
  return {
    async of(patient) {
      const found = await seek(cursor, assignedPatient, patient);
      if (found === undefined) return 'none';
      return wanted.has(found.month) ? 'inside' : 'outside';
    },
    close: () => cursor.close(),
  };
};

/** May a person of several records be read, of whom so many stand inside the blocks asked for, and so many outside? */
export type ReadsLinked = (inside: number, outside: number) => boolean;
export const onlyWholePersons: ReadsLinked = (inside, outside) => inside > 0 && outside === 0;
