/** What a table with a declared schema says of each patient. Pure, and in pieces: no more than one patient's rows are held at a time. */
import type { QflError } from '../errors.ts';
import { Code } from '../wire/learning.ts';
import type { Column, CsvSchema, LongCode, TableColumn } from '../wire/csv-schema.ts';
import { createCsvRows, type CsvRow, refuseLine } from './csv-rows.ts';
import type { Measurement, PatientFacts } from './facts.ts';

/** More than anybody has: a table whose rows are all of one patient is one whose patient column was declared wrong. */
const MEASUREMENTS_MAX = 1_000_000;
const PATIENTS_MAX = 10_000_000;

export interface CsvPatient {
  /** As the table names the patient; the number of its line where it names none. */
  readonly patient: string;
  readonly facts: PatientFacts;
}

interface Draft {
  readonly patient: string;
  age: number | undefined;
  sex: string | undefined;
  readonly conditions: Set<string>;
  readonly measurements: Measurement[];
}

const draftOf = (patient: string): Draft => ({
  patient,
  age: undefined,
  sex: undefined,
  conditions: new Set(),
  measurements: [],
});

const finished = ({ patient, measurements, ...rest }: Draft): CsvPatient => ({
  patient,
  facts: { ...rest, measurements: measurements.toSorted((one, other) => one.hours - other.hours) },
});

/** A cell with where it stands, for what is said of it. */
interface Cell {
  readonly text: string;
  readonly line: number;
  readonly column: Column;
}

/** Says where, and not what: the cell may be a patient's. */
const refuseCell = ({ line, column }: Cell, what: string): QflError =>
  refuseLine(
    line,
    `${what} in column ${column}`,
    'Mend the cell; or declare what is written there as missing; then import the table again.',
  );

const numberOf = (cell: Cell): number => {
  const value = Number(cell.text);
  if (!Number.isFinite(value)) throw refuseCell(cell, 'no number');
  return value;
};

const CLOCK = /^(\d{1,5}):([0-5]\d)(?::([0-5]\d))?$/;
const DATE = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?$/;
const HOUR_MS = 3_600_000;

const clockHours = (cell: Cell): number => {
  const found = CLOCK.exec(cell.text);
  if (found === null) throw refuseCell(cell, 'no time as HH:MM');
  const [, hours, minutes, seconds = '0'] = found;
  return Number(hours) + Number(minutes) / 60 + Number(seconds) / 3_600;
};

/** Where no zone is named, that of Greenwich: only differences count. */
const dateHours = (cell: Cell): number => {
  const found = DATE.exec(cell.text);
  const hasTime = cell.text.length > 'YYYY-MM-DD'.length;
  const text = hasTime && found?.[1] === undefined ? `${cell.text}Z` : cell.text;
  const ms = found === null ? Number.NaN : Date.parse(text.replace(' ', 'T'));
  if (Number.isNaN(ms)) throw refuseCell(cell, 'no date as YYYY-MM-DD or YYYY-MM-DDTHH:MM');
  return ms / HOUR_MS;
};

const TIMES = { clock: clockHours, hours: numberOf, date: dateHours };

/** 1 and 1.0 are one value. */
const plain = (text: string): string => {
  const number = Number(text);
  return text.trim() === '' || Number.isNaN(number) ? text : String(number);
};
const isOneOf = (values: readonly string[], text: string): boolean =>
  values.some((value) => plain(value) === plain(text));

type Meaning = Extract<LongCode, { role: 'age' | 'sex' | 'condition' }>;

/** What a value that is no measurement says of the patient. */
const note = (draft: Draft, meaning: Meaning | Extract<TableColumn, Pick<Meaning, 'role'>>, cell: Cell) => {
  if (meaning.role === 'age') draft.age = numberOf(cell);
  else if (meaning.role === 'condition') {
    if (isOneOf(meaning.values, cell.text)) draft.conditions.add(meaning.condition);
  } else if (isOneOf(meaning.female, cell.text)) draft.sex = 'female';
  else if (isOneOf(meaning.male, cell.text)) draft.sex = 'male';
};

/** The number of each column of a table. @throws QflError `invalid_request` for one that is not there */
const placesOf = (first: CsvRow, { header }: CsvSchema): ((column: Column) => number) => {
  const places = new Map(first.cells.map((name, at) => [name.trim(), at]));
  if (header && places.size < first.cells.length)
    throw refuseLine(first.line, 'two columns of one name', 'Name each column once.');
  return (column) => {
    const at = header && typeof column === 'string' ? places.get(column) : Number(column);
    if (at !== undefined && Number.isInteger(at) && at < first.cells.length) return at;
    throw refuseLine(
      first.line,
      `no column ${column}`,
      header
        ? `Declare columns that are there: ${[...places.keys()].join(', ').slice(0, 1_000)}.`
        : `Declare columns by their numbers, 0 to ${first.cells.length - 1}.`,
    );
  };
};

interface RowReader {
  /** undefined: the row stands for a patient of its own. */
  readonly patient: ((row: CsvRow) => string) | undefined;
  readonly read: (row: CsvRow, draft: Draft) => void;
}

const rowReader = (first: CsvRow, schema: CsvSchema): RowReader => {
  const placeOf = placesOf(first, schema);
  const missing = new Set(schema.missing);
  const cellOf = (column: Column): ((row: CsvRow) => Cell | undefined) => {
    const at = placeOf(column);
    return ({ line, cells }) => {
      const text = (cells[at] ?? '').trim();
      return missing.has(text) ? undefined : { text, line, column };
    };
  };
  const patientColumn = schema.columns.find(({ role }) => role === 'patient');
  const timeColumn = schema.columns.find(({ role }) => role === 'time');
  const columns = schema.columns
    .filter(({ role }) => role !== 'patient' && role !== 'time')
    .map((column) => ({ column, cell: cellOf(column.column) }));
  const hours = hoursOf(timeColumn, cellOf);
  const long = schema.long === undefined ? undefined : longReader(schema.long, cellOf);
  return {
    patient: patientColumn === undefined ? undefined : required(cellOf(patientColumn.column), patientColumn),
    read(row, draft) {
      const at = hours(row);
      for (const { column, cell } of columns) {
        const found = cell(row);
        if (found === undefined) continue;
        if (column.role === 'measurement') {
          const units = column.unit === undefined ? [] : [column.unit];
          draft.measurements.push({ code: column.code, units, hours: at, value: numberOf(found) });
        } else if (column.role !== 'patient' && column.role !== 'time') note(draft, column, found);
      }
      long?.(row, draft, at);
    },
  };
};

type CellOf = (column: Column) => (row: CsvRow) => Cell | undefined;

const required =
  (cell: (row: CsvRow) => Cell | undefined, { column }: { readonly column: Column }) =>
  (row: CsvRow): string => {
    const found = cell(row);
    if (found !== undefined) return found.text;
    throw refuseCell({ text: '', line: row.line, column }, 'nothing that says which patient or when');
  };

/** Without a time, all was measured at one time. */
const hoursOf = (time: TableColumn | undefined, cellOf: CellOf): ((row: CsvRow) => number) => {
  if (time?.role !== 'time') return () => 0;
  const text = required(cellOf(time.column), time);
  const { column, format } = time;
  return (row) => TIMES[format]({ text: text(row), line: row.line, column });
};

const NO_UNITS: readonly string[] = [];

const longReader = ({ code, value, unit, codes }: NonNullable<CsvSchema['long']>, cellOf: CellOf) => {
  const [codeCell, valueCell] = [cellOf(code), cellOf(value)];
  const unitCell = unit === undefined ? () => undefined : cellOf(unit);
  const meanings = new Map(codes.map((meaning) => [meaning.code, meaning]));
  const nameable = new Map<string, boolean>();
  const isNameable = (name: string): boolean => {
    const known = nameable.get(name) ?? Code.safeParse(name).success;
    if (nameable.size < MEASUREMENTS_MAX) nameable.set(name, known);
    return known;
  };
  return (row: CsvRow, draft: Draft, hours: number): void => {
    const [name, found] = [codeCell(row)?.text, valueCell(row)];
    if (name === undefined || found === undefined) return;
    const meaning = meanings.get(name);
    if (meaning?.role === 'ignore') return;
    if (meaning !== undefined) note(draft, meaning, found);
    else if (isNameable(name)) {
      const unitText = unitCell(row)?.text;
      const units = unitText === undefined ? NO_UNITS : [unitText];
      draft.measurements.push({ code: name, units, hours, value: numberOf(found) });
    }
  };
};

export interface CsvPatients {
  /** The patients whose rows this piece completes. @throws QflError `invalid_request`, with the line and what to do */
  push(piece: string): CsvPatient[];
  /** The last patient. @throws QflError `invalid_request` */
  end(): CsvPatient[];
}

export const createCsvPatients = (schema: CsvSchema): CsvPatients => {
  const rows = createCsvRows(schema.separator);
  const before = new Set<string>();
  let reader: RowReader | undefined;
  let cells = 0;
  let draft: Draft | undefined;

  const begin = (row: CsvRow): RowReader => {
    cells = row.cells.length;
    return rowReader(row, schema);
  };
  const checkRow = ({ line, cells: found }: CsvRow): void => {
    if (found.length !== cells)
      throw refuseLine(
        line,
        `${found.length} cells, where the first row has ${cells}`,
        'Mend the row: a cell that holds the separator stands in double quotes.',
      );
    if ((draft?.measurements.length ?? 0) > MEASUREMENTS_MAX)
      throw refuseLine(
        line,
        `more than ${MEASUREMENTS_MAX} measurements of one patient`,
        'Check which column says whose row it is.',
      );
  };
  const checkNew = (patient: string, line: number): void => {
    if (before.has(patient))
      throw refuseLine(
        line,
        'a patient whose rows do not lie together',
        'Sort the table by its patient column.',
      );
    if (before.size >= PATIENTS_MAX)
      throw refuseLine(line, `more than ${PATIENTS_MAX} patients`, 'Split the table.');
    before.add(patient);
  };
  const take = (row: CsvRow): CsvPatient[] => {
    const isFirst = reader === undefined;
    reader ??= begin(row);
    if (isFirst && schema.header) return [];
    checkRow(row);
    const patient = reader.patient?.(row) ?? String(row.line);
    const done = draft === undefined || draft.patient === patient ? [] : [finished(draft)];
    if (draft?.patient !== patient) {
      checkNew(patient, row.line);
      draft = draftOf(patient);
    }
    reader.read(row, draft);
    return done;
  };
  return {
    push: (piece) => rows.push(piece).flatMap(take),
    end() {
      const done = rows.end().flatMap(take);
      if (draft !== undefined) done.push(finished(draft));
      draft = undefined;
      return done;
    },
  };
};

/** What two tables say of one patient: the first that knows an age or a sex is right. */
export const mergedFacts = (one: PatientFacts, other: PatientFacts): PatientFacts => ({
  age: one.age ?? other.age,
  sex: one.sex ?? other.sex,
  conditions: new Set([...one.conditions, ...other.conditions]),
  measurements: [...one.measurements, ...other.measurements].toSorted(
    (first, second) => first.hours - second.hours,
  ),
});
