/** Tables as hospitals write them: what is read of them, whatever pieces they come in, and what is refused, with its line. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { QflError } from '../../../shared/errors.ts';
import { createCsvRows } from '../../../shared/learning/csv-rows.ts';
import { createCsvPatients, type CsvPatient, mergedFacts } from '../../../shared/learning/csv.ts';
import { CsvSchema } from '../../../shared/wire/csv-schema.ts';

const rowsOf = (...pieces: readonly string[]) => {
  const rows = createCsvRows(',');
  return [...pieces.flatMap((piece) => rows.push(piece)), ...rows.end()];
};
const cellsOf = (...pieces: readonly string[]) => rowsOf(...pieces).map(({ cells }) => cells);
const patientsOf = (schema: object, text: string): CsvPatient[] => {
  const patients = createCsvPatients(CsvSchema.parse(schema));
  return [...patients.push(text), ...patients.end()];
};
const refusal = (act: () => unknown): QflError => {
  try {
    act();
  } catch (error) {
    if (error instanceof QflError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
};

describe('rows', () => {
  it('end in LF, CRLF or the end of the text; a byte order mark and empty lines are none', () => {
    expect(cellsOf('\uFEFFa,b\r\n1,\n\n,2')).toEqual([
      ['a', 'b'],
      ['1', ''],
      ['', '2'],
    ]);
  });

  it('hold separators, quotes and line breaks in quoted cells, and are counted by their first line', () => {
    expect(rowsOf('"a,b","say ""x"""\n"two\r\nlines",1\n"",""\n')).toEqual([
      { line: 1, cells: ['a,b', 'say "x"'] },
      { line: 2, cells: ['two\r\nlines', '1'] },
      { line: 4, cells: ['', ''] },
    ]);
  });

  it.each([
    ['a\nb"c', 2, /does not begin with one/],
    ['a\n"b"c', 2, /after the end of a quoted cell/],
    ['a\n\n"b', 3, /does not end/],
    ['a\nx,"b"" \n', 2, /does not end/],
  ])('%j is refused on its line', (text, line, what) => {
    const { detail, facts, next } = refusal(() => cellsOf(text));
    expect(detail).toMatch(what);
    expect(facts).toEqual({ line });
    expect(next).toMatch(/double quote/);
  });

  it('are not longer than a bound: a quote that is never closed is found before the table is in memory', () => {
    const rows = createCsvRows(',');
    const endless = (): void => {
      rows.push('"');
      for (let piece = 0; piece < 100; piece += 1) rows.push('x\n'.repeat(32_768));
    };
    expect(refusal(endless).detail).toMatch(/line 1: a row of more than/);
  });

  it('are the same whatever pieces the text comes in', () => {
    const cell = fc.string({ unit: fc.constantFrom('a', '1', ',', '"', '\n', '\r', ' ') });
    const table = fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(table, fc.array(fc.nat(60), { maxLength: 6 }), (rows, cuts) => {
        const quoted = rows.map((cells) => cells.map((one) => `"${one.replaceAll('"', '""')}"`).join(','));
        const text = quoted.join('\r\n');
        const ends = [...cuts.toSorted((one, other) => one - other), text.length];
        const pieces = ends.map((end, at) => text.slice(ends[at - 1] ?? 0, end));
        expect(cellsOf(...pieces)).toEqual(rows);
      }),
    );
  });
});

const WIDE = {
  missing: ['', '?'],
  columns: [
    { role: 'patient', column: 'id' },
    { role: 'age', column: 'age' },
    { role: 'sex', column: 'sex', female: ['0'], male: ['1'] },
    { role: 'measurement', column: 'bp', code: 'pressure', unit: 'mmHg' },
    { role: 'condition', column: 'ill', condition: 'disease', values: ['1', '2'] },
  ],
};
const WIDE_HEAD = 'id,age,sex,bp,ill\n';

describe('a wide table', () => {
  it('gives each row’s age, sex, conditions and measurements; what is missing is not known', () => {
    expect(patientsOf(WIDE, `${WIDE_HEAD}a,63.0,1.0,120,2.0\nb,?,0,,0\n`)).toEqual([
      {
        patient: 'a',
        facts: {
          age: 63,
          sex: 'male',
          conditions: new Set(['disease']),
          measurements: [{ code: 'pressure', units: ['mmHg'], hours: 0, value: 120 }],
        },
      },
      {
        patient: 'b',
        facts: { age: undefined, sex: 'female', conditions: new Set(), measurements: [] },
      },
    ]);
  });

  it('may be without a header and without patients’ names: each row is one, named by its line', () => {
    const schema = { header: false, columns: [{ role: 'measurement', column: 1, code: 'x' }] };
    const found = patientsOf(schema, '9,1\n9,2');
    expect(found.map(({ patient, facts }) => [patient, facts.measurements[0]!.value])).toEqual([
      ['1', 1],
      ['2', 2],
    ]);
  });

  it.each([
    ['a,x,1,2,1', /line 2: no number in column age/],
    ['a,1,1,2', /line 2: 4 cells, where the first row has 5/],
    [',1,1,2,1', /line 2: nothing that says which patient/],
    ['a,1,1,2,1\nb,1,1,2,1\na,1,1,2,1', /line 4: a patient whose rows do not lie together/],
  ])('with %j is refused, and nothing of the cell is told', (rows, what) => {
    const { detail, next } = refusal(() => patientsOf(WIDE, WIDE_HEAD + rows));
    expect(detail).toMatch(what);
    expect(next).toBeDefined();
  });

  it('without a declared column, or with two of one name, is refused before a patient is read', () => {
    expect(refusal(() => patientsOf(WIDE, 'id,age,sex,bp\n')).detail).toMatch(/no column ill/);
    expect(refusal(() => patientsOf(WIDE, 'id,id,sex,bp,ill\n')).detail).toMatch(/two columns of one name/);
  });
});

const long = (format: string) => ({
  missing: ['-1'],
  columns: [
    { role: 'patient', column: 'id' },
    { role: 'time', column: 'time', format },
  ],
  long: {
    code: 'code',
    value: 'value',
    codes: [
      { role: 'ignore', code: 'RecordID' },
      { role: 'age', code: 'Age' },
    ],
  },
});
const LONG_HEAD = 'id,time,code,value\n';
const hoursOf = (format: string, time: string): number =>
  patientsOf(long(format), `${LONG_HEAD}a,${time},hr,80`)[0]!.facts.measurements[0]!.hours;

describe('a long table', () => {
  it('gives a patient the measurements of all its rows in order of time', () => {
    const rows =
      'a,00:00,RecordID,7\na,00:00,Age,54\na,01:30,hr,80\na,00:30,hr,-1\na,00:15,hr,70\nb,48:00,no such code!,x\n';
    const [a, b] = patientsOf(long('clock'), LONG_HEAD + rows);
    expect(a!.facts.age).toBe(54);
    expect(a!.facts.measurements.map(({ hours, value }) => [hours, value])).toEqual([
      [0.25, 70],
      [1.5, 80],
    ]);
    expect(b!.facts.measurements).toEqual([]);
  });

  it('tells the time as a clock, as hours, or as a date', () => {
    expect(hoursOf('clock', '26:30:36')).toBeCloseTo(26.51, 9);
    expect(hoursOf('hours', '2.5')).toBe(2.5);
    const day = hoursOf('date', '2020-03-01');
    expect(hoursOf('date', '2020-03-01T06:00') - day).toBe(6);
    expect(hoursOf('date', '2020-03-01 06:00:00+02:00') - day).toBe(4);
  });

  it.each([
    ['clock', '1:75'],
    ['clock', 'noon'],
    ['hours', '1h'],
    ['date', '01.03.2020'],
    ['date', '2020-13-01'],
  ])('is refused for a time as %s that is %s', (format, time) => {
    expect(refusal(() => hoursOf(format, time)).detail).toMatch(/line 2: no /);
  });
});

it('a schema names one patient column and one time at most', () => {
  const twice = (role: string, rest = {}) =>
    CsvSchema.safeParse({ columns: [0, 1].map((column) => ({ role, column, ...rest })) }).success;
  expect([twice('patient'), twice('time', { format: 'hours' }), twice('age')]).toEqual([false, false, true]);
});

it('two tables say more of a patient than one', () => {
  const [one] = patientsOf(WIDE, `${WIDE_HEAD}a,63,?,120,0\n`);
  const [other] = patientsOf(WIDE, `${WIDE_HEAD}a,64,1,130,1\n`);
  const { age, sex, conditions, measurements } = mergedFacts(one!.facts, other!.facts);
  expect([age, sex, [...conditions], measurements.map(({ value }) => value)]).toEqual([
    63,
    'male',
    ['disease'],
    [120, 130],
  ]);
});
