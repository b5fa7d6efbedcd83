/** The index rows that a public condition selects, as sorted streams: one element in memory per stream. */
import type { Store } from '../../shared/store/port.ts';
import { decodeRow, type Row } from './codec.ts';
import type { Cohort, CohortCondition } from './cohort.ts';
import { compareDecimals } from './decimals.ts';
import { BLIND_LENGTH, prefixOf } from './keys.ts';
import type { Records } from './store.ts';
import { innerJoin, mergeUnique } from './streams.ts';

export interface IndexRow {
  /** `patient/ref`: sorts by patient. */
  readonly position: string;
  readonly row: Row;
}

export interface CodeRef {
  readonly system?: string | undefined;
  readonly code: string;
}

export const patientOf = (position: string): string => position.slice(0, BLIND_LENGTH);
export const positionOf = (item: IndexRow): string => item.position;

export async function* listRows(store: Store, prefix: string): AsyncGenerator<IndexRow> {
  for await (const { key, value } of store.list({ prefix })) {
    yield { position: key.slice(prefix.length), row: decodeRow(value) };
  }
}

const inInterval = (
  day: string | undefined,
  { from, before }: { from?: string | undefined; before?: string | undefined },
) => day !== undefined && (from === undefined || day >= from) && (before === undefined || day < before);

type ValueCondition = Extract<CohortCondition, { field: 'value' }>;

/** The number of a row in this unit; undefined when it has none, or in another unit. */
export const numberIn = ({ value }: Row, unit: string): string | undefined =>
  value?.units.includes(unit) === true ? value.number : undefined;

const valueHolds = (row: Row, { unit, gt, ge, lt, le }: ValueCondition): boolean => {
  const number = numberIn(row, unit);
  if (number === undefined) return false;
  /** Undefined for what is no number: then no bound holds. */
  const against = (bound: string | undefined, fits: (order: number) => boolean): boolean => {
    if (bound === undefined) return true;
    const order = compareDecimals(number, bound);
    return order !== undefined && fits(order);
  };
  return (
    against(gt, (order) => order > 0) &&
    against(ge, (order) => order >= 0) &&
    against(lt, (order) => order < 0) &&
    against(le, (order) => order <= 0)
  );
};

/** The conditions on the row's own attributes; codes are settled by the index, the rest by the patient. */
export const rowHolds = (row: Row, condition: CohortCondition): boolean => {
  if (condition.field === 'status') return row.status === condition.value;
  if (condition.field === 'value') return valueHolds(row, condition);
  return condition.field !== 'date' || inInterval(row.date, condition);
};

export const isOfPatient = ({ field }: CohortCondition): boolean =>
  field === 'gender' || field === 'birthdate';

export const patientHolds = (row: Row, condition: CohortCondition): boolean => {
  if (condition.field === 'gender') return row.gender === condition.value;
  return condition.field !== 'birthdate' || inInterval(row.birthDate, condition);
};

/** Counted rows that carry this code. */
export async function* rowsWithCode(
  records: Records,
  resource: string,
  { code, system }: CodeRef,
): AsyncGenerator<IndexRow> {
  const prefix = prefixOf.coded(records.keys.term(resource, code));
  for await (const item of listRows(records.store, prefix)) {
    if (system === undefined || item.row.systems?.includes(system) === true) yield item;
  }
}

async function* firstOfPairs<Item>(pairs: AsyncIterable<readonly [Item, Item]>): AsyncGenerator<Item> {
  for await (const [item] of pairs) yield item;
}

/** Rows that carry every code asked for, of several alternatives one. */
const candidateRows = (records: Records, { resource, where }: Cohort): AsyncIterable<IndexRow> => {
  const [first, ...others] = where.flatMap((condition): AsyncIterable<IndexRow>[] => {
    if (condition.field === 'code') return [rowsWithCode(records, resource, condition)];
    if (condition.field !== 'codes') return [];
    return [
      mergeUnique(
        condition.of.map((ref) => rowsWithCode(records, resource, ref)),
        positionOf,
      ),
    ];
  });
  if (first === undefined) return listRows(records.store, prefixOf.rows(resource));
  return others.reduce((rows, next) => firstOfPairs(innerJoin(rows, positionOf, next, positionOf)), first);
};

/** Counted rows for which all conditions on the row hold, in patient order; conditions on the patient are not looked at. */
export async function* matchingRows(records: Records, cohort: Cohort): AsyncGenerator<IndexRow> {
  for await (const item of candidateRows(records, cohort)) {
    if (item.row.counted && cohort.where.every((condition) => rowHolds(item.row, condition))) yield item;
  }
}
