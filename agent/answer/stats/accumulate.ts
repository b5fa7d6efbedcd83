/**
 * A measure's exact vector, summed person by person in BigInt. What one person adds is decided by that person alone and bounded as
 * `layout.ts` declares: by the clamp, by the rows taken, and by counting a person once in a cell.
 */
import { assert, QflError } from '../../../shared/errors.ts';
import {
  type BinnedVariable,
  type KeyVariable,
  type Measure,
  type NumericVariable,
} from '../../../shared/wire/stats.ts';
import type { Row } from '../../records/codec.ts';
import { parseCohort } from '../../records/cohort.ts';
import { ageOn } from '../../records/dates.ts';
import { numberIn } from '../../records/rows.ts';
import type { RowSource, TakenRow, VisitedPerson } from '../../records/walk.ts';
import type { ExactVector } from '../measurement.ts';
import { binOf, decimalOf, edgesOf, type Grid, gridOf, isBelow } from './grid.ts';
import { candidatesOf, cellsOf, dimensionOf, GENDERS, isOfRow, quantileOf } from './layout.ts';

/** One thing to be measured: a row of a person, or the person. */
interface Item {
  readonly patient: Row | undefined;
  readonly row: TakenRow | undefined;
}

export interface Accumulator {
  /** Rows that the measure needs of each person; undefined when it looks at the person alone. */
  readonly source: RowSource | undefined;
  readonly needsPatient: boolean;
  /** @param rows those of `source` */
  add(person: VisitedPerson, rows: readonly TakenRow[]): void;
  /** One exact vector per release, as `vectorsOf` lays them out. */
  vectors(): readonly ExactVector[];
}

type Code = { readonly system?: string; readonly code: string };

const codeOfText = (text: string): Code => {
  const bar = text.lastIndexOf('|');
  return bar < 0 ? { code: text } : { system: text.slice(0, bar), code: text.slice(bar + 1) };
};

/** The text of the number that a variable reads; undefined when there is none in this unit. */
const textOf = (of: NumericVariable | BinnedVariable, { patient, row }: Item): string | undefined => {
  if (of.variable === 'value') return row === undefined ? undefined : numberIn(row.row, of.unit);
  if (of.variable !== 'age') return undefined;
  const age = ageOn(of.at, patient?.birthDate);
  return age === undefined ? undefined : String(age);
};

/** Units on the grid; a missing, non-finite or otherwise wrong value becomes the public default, or leaves the item out. */
const unitsOf = (of: NumericVariable, grid: Grid): ((item: Item) => bigint | undefined) => {
  const fallback = grid.unitsOf(of.otherwise);
  return (item) => grid.unitsOf(textOf(of, item)) ?? fallback;
};

type Binning = (item: Item) => number | undefined;

const numericBinning = (by: Extract<BinnedVariable, { variable: 'value' | 'age' }>): Binning => {
  const edges = edgesOf(by.edges);
  const binOfText = (text: string | undefined): number | undefined => {
    const value = text === undefined ? undefined : decimalOf(text);
    return value === undefined ? undefined : binOf(value, edges, isBelow);
  };
  const fallback = binOfText(by.otherwise);
  return (item) => binOfText(textOf(by, item)) ?? fallback;
};

const dateBinning = (edges: readonly string[]): Binning => {
  const rising = edges.every((edge, at) => at === 0 || edges[at - 1]! < edge);
  if (!rising)
    throw new QflError('invalid_request', {
      detail: 'the days between bins must rise',
      next: 'Write them in order, each once, such as 2020-01-01 2021-01-01 2022-01-01.',
    });
  return ({ row }) => {
    const day = row?.row.date;
    return day === undefined ? undefined : binOf(day, edges, (left, right) => left < right);
  };
};

/** Undefined where the item has nothing to bin: it is left out. */
const binningOf = (by: BinnedVariable): Binning => {
  switch (by.variable) {
    case 'gender':
      return ({ patient }) => {
        const at = GENDERS.findIndex((gender) => gender === patient?.gender);
        return at < 0 ? GENDERS.length - 1 : at;
      };
    case 'status':
      return ({ row }) => {
        const at = by.values.indexOf(row?.row.status ?? '');
        return at < 0 ? by.values.length : at;
      };
    case 'code':
      return ({ row }) => row?.code ?? by.values.length;
    case 'date':
      return dateBinning(by.edges);
    case 'value':
    case 'age':
      break;
  }
  return numericBinning(by);
};

export const needRows = (): QflError =>
  new QflError('invalid_request', {
    detail: 'this figure looks at rows, and the question does not say at which',
    next: 'Name the rows and how many per patient, as in "rows": {"of": "Observation?code=4548-4", "perPatientMax": 1, "take": "latest"}.',
  });

const codesOf = (by: readonly BinnedVariable[]): readonly Code[] | undefined => {
  const lists = by.filter((one) => one.variable === 'code');
  if (lists.length > 1)
    throw new QflError('invalid_request', {
      detail: 'a table has one list of codes at most',
      next: 'Ask for two tables, or use conditions on the rows.',
    });
  return lists[0]?.values.map(codeOfText);
};

const sourceOf = (
  measure: Measure,
  looksAtRows: boolean,
  accepts: (row: Row) => boolean,
  codes?: readonly Code[],
): RowSource | undefined => {
  if (measure.rows === undefined) {
    if (looksAtRows) throw needRows();
    return undefined;
  }
  const { of, perPatientMax, take } = measure.rows;
  return { of: parseCohort(of), perPatientMax, take, accepts, ...(codes === undefined ? {} : { codes }) };
};

const itemsOf = (
  source: RowSource | undefined,
  { patient }: VisitedPerson,
  rows: readonly TakenRow[],
): readonly Item[] =>
  source === undefined ? [{ patient, row: undefined }] : rows.map((row) => ({ patient, row }));

const rowItem = (row: Row): Item => ({ patient: undefined, row: { ref: '', row, code: undefined } });

/** Sums over the numbers of a variable. */
const numeric = (
  measure: Extract<Measure, { of: NumericVariable }>,
  take: (units: bigint) => void,
): Pick<Accumulator, 'source' | 'needsPatient' | 'add'> & { readonly grid: Grid } => {
  const grid = gridOf(measure.of);
  const units = unitsOf(measure.of, grid);
  const ofRow = isOfRow(measure.of);
  // A row without a number takes nobody's place among the rows that are cut to the declared number.
  const source = sourceOf(measure, ofRow, (row) => !ofRow || units(rowItem(row)) !== undefined);
  return {
    grid,
    source,
    needsPatient: !ofRow,
    add(person, rows) {
      for (const item of itemsOf(source, person, rows)) {
        const value = units(item);
        if (value !== undefined) take(value);
      }
    },
  };
};

const countOf = (measure: Extract<Measure, { measure: 'count' }>): Accumulator => {
  const source = sourceOf(measure, false, () => true);
  let count = 0n;
  return {
    source,
    needsPatient: false,
    add: (_, rows) => void (count += source === undefined ? 1n : BigInt(rows.length)),
    vectors: () => [[count]],
  };
};

const sumOf = (measure: Extract<Measure, { measure: 'sum' }>): Accumulator => {
  let sum = 0n;
  const parts = numeric(measure, (units) => void (sum += units));
  return { ...parts, vectors: () => [[sum]] };
};

const meanOf = (measure: Extract<Measure, { measure: 'mean' }>): Accumulator => {
  let sum = 0n;
  let count = 0n;
  const { low, high } = gridOf(measure.of);
  const parts = numeric(measure, (units) => {
    sum += 2n * units - (low + high);
    count += 1n;
  });
  return { ...parts, vectors: () => [[sum], [count]] };
};

/**
 * −(distance of a·n from the ranks that a candidate covers), times the denominator: rows below it times b, up to rows not above it. A row
 * more or less moves each of the two differences by at most max(a, b − a), and so their maximum with 0.
 */
const utilities = (histogram: readonly bigint[], text: string): readonly bigint[] => {
  const { numerator: a, denominator: b } = quantileOf(text);
  const total = histogram.reduce((sum, value) => sum + value, 0n);
  let below = 0n;
  return histogram.map((here) => {
    const over = b * below - a * total;
    below += here;
    const under = a * total - b * below;
    const gap = over > under ? over : under;
    return gap > 0n ? -gap : 0n;
  });
};

const quantilesOf = (measure: Extract<Measure, { measure: 'quantiles' }>): Accumulator => {
  const { grid, count } = candidatesOf(measure.of);
  const bins = Array.from({ length: count }, () => 0n);
  const parts = numeric(measure, (units) => {
    const at = Number(units - grid.low);
    bins[at] = bins[at]! + 1n;
  });
  return {
    ...parts,
    vectors: () =>
      measure.method === 'histogram' ? [bins] : measure.quantiles.map((text) => utilities(bins, text)),
  };
};

const tableOf = (measure: Extract<Measure, { measure: 'table' }>): Accumulator => {
  const dimensions = measure.by.map(dimensionOf);
  const binnings = measure.by.map(binningOf);
  const ofRow = measure.by.map(isOfRow);
  const cells = cellsOf(dimensions).map(() => 0n);
  // A row with nothing to bin takes nobody's place; what is binned by the patient is looked at later.
  const hasBins = (row: Row): boolean =>
    binnings.every((binning, at) => ofRow[at] !== true || binning(rowItem(row)) !== undefined);
  const source = sourceOf(measure, ofRow.includes(true), hasBins, codesOf(measure.by));
  const cellOf = (item: Item): number | undefined =>
    binnings.reduce<number | undefined>((cell, binning, at) => {
      const bin = binning(item);
      return cell === undefined || bin === undefined ? undefined : cell * dimensions[at]!.bins.length + bin;
    }, 0);
  return {
    source,
    needsPatient: ofRow.includes(false),
    add(person, rows) {
      const touched = new Set(itemsOf(source, person, rows).map(cellOf));
      for (const cell of touched) if (cell !== undefined) cells[cell] = cells[cell]! + 1n;
    },
    vectors: () => [cells],
  };
};

/** The bin of an item under a variable of unknown keys; undefined where it has none. */
const keyOf = (by: KeyVariable): ((item: Item) => string | undefined) => {
  if (by.variable === 'code') return ({ row }) => row?.row.name;
  if (by.variable === 'status') return ({ row }) => row?.row.status;
  const { bins } = dimensionOf(by);
  const binning = binningOf(by);
  return (item) => {
    const at = binning(item);
    return at === undefined ? undefined : bins[at];
  };
};

/** So that all keys of a question fit into one sealed answer, whatever they are. */
const KEY_BYTES_MAX = 400;

/** As it travels: a JSON list of the bins. Too long a one is as good as none, by itself alone. */
const keyText = (parts: readonly (string | undefined)[]): string | undefined => {
  if (parts.includes(undefined)) return undefined;
  const text = JSON.stringify(parts);
  return Buffer.byteLength(JSON.stringify(text)) > KEY_BYTES_MAX ? undefined : text;
};

const keyedTableOf = (measure: Extract<Measure, { measure: 'keyed_table' }>): Accumulator => {
  if (!measure.by.some(({ variable }) => variable === 'code' || variable === 'status'))
    throw new QflError('invalid_request', {
      detail: 'every variable of this table has public bins, so its keys are known',
      next: 'Ask for a plain table: it charges no delta and hides nothing.',
    });
  const keys = measure.by.map(keyOf);
  const ofRow = measure.by.map(isOfRow);
  const counts = new Map<string, bigint>();
  const hasKeys = (row: Row): boolean =>
    keyText(keys.map((key, at) => (ofRow[at] === true ? key(rowItem(row)) : ''))) !== undefined;
  const source = sourceOf(measure, true, hasKeys);
  return {
    source,
    needsPatient: ofRow.includes(false),
    add(person, rows) {
      const touched = new Set(
        itemsOf(source, person, rows).map((item) => keyText(keys.map((key) => key(item)))),
      );
      for (const key of touched) if (key !== undefined) counts.set(key, (counts.get(key) ?? 0n) + 1n);
    },
    vectors: () => [counts],
  };
};

/** @throws QflError `invalid_request` for a measure that cannot be asked */
export const accumulatorOf = (measure: Measure): Accumulator => {
  switch (measure.measure) {
    case 'count':
      return countOf(measure);
    case 'sum':
      return sumOf(measure);
    case 'mean':
      return meanOf(measure);
    case 'quantiles':
      return quantilesOf(measure);
    case 'keyed_table':
      return keyedTableOf(measure);
    case 'table':
      break;
  }
  return tableOf(measure);
};

/** Gives every accumulator its part of a person. */
export const addPerson = (accumulators: readonly Accumulator[], person: VisitedPerson): void => {
  let at = 0;
  for (const accumulator of accumulators) {
    const rows = accumulator.source === undefined ? [] : person.rows[at++];
    assert(rows !== undefined, 'rows of every source were visited');
    accumulator.add(person, rows);
  }
};
