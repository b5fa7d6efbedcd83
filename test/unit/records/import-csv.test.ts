/** A table with a declared schema as records: what comes of it, again, and what is refused with its line. */
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { importCsv } from '../../../agent/records/import-csv.ts';
import { walkFacts } from '../../../agent/training/facts.ts';
import type { Records } from '../../../agent/records/store.ts';
import { CsvSchema } from '../../../shared/wire/csv-schema.ts';
import { LearningData } from '../../../shared/wire/learning.ts';
import { importResources, memoryRecords, patient, temporaryFolder } from '../../fixtures/fhir.ts';

const TODAY = '2026-01-15';
const WIDE = CsvSchema.parse({
  missing: ['', '?'],
  columns: [
    { role: 'patient', column: 'id' },
    { role: 'age', column: 'age' },
    { role: 'sex', column: 'sex', female: ['0'], male: ['1'] },
    { role: 'condition', column: 'sick', condition: 'heart', values: ['1'] },
    { role: 'measurement', column: 'chol', code: 'chol', unit: 'mg/dL' },
  ],
});
const TABLE = 'id,age,sex,sick,chol\np1,63,1,1,233\np2,67,0,0,?\n';
const DATA = LearningData.parse({
  target: 'heart',
  features: [{ kind: 'age' }, { kind: 'observation', code: 'chol', unit: 'mg/dL', low: 0, high: 600 }],
});

const importText = async (records: Records, text: string | Uint8Array, schema = WIDE, name = 'heart.csv') => {
  await using folder = await temporaryFolder({ [name]: text });
  return await importCsv(records, { file: join(folder.path, name), schema, today: TODAY });
};
const factsOf = async (records: Records) => {
  const found = [];
  const around = { today: TODAY, blocks: undefined };
  for await (const { facts } of walkFacts(records, DATA, around, new AbortController().signal))
    found.push(facts);
  return found.toSorted((one, other) => (one.age ?? 0) - (other.age ?? 0));
};

describe('a wide table', () => {
  it('becomes patients, conditions and measurements, once however often it is imported', async () => {
    const records = memoryRecords();
    for (let time = 0; time < 2; time += 1) {
      const { counts, rejected } = await importText(records, TABLE);
      expect([counts, rejected]).toEqual([{ Patient: 2, Condition: 1, Observation: 1 }, 0]);
    }
    expect(await records.countResources()).toEqual({ Patient: 2, Condition: 1, Observation: 1 });
    const [first, second] = await factsOf(records);
    expect([first!.age, first!.sex, [...first!.conditions]]).toEqual([63, 'male', ['heart']]);
    expect(first!.measurements.map(({ value, units }) => [value, units])).toEqual([[233, ['mg/dL']]]);
    expect([second!.age, second!.sex, second!.conditions.size, second!.measurements]).toEqual([
      67,
      'female',
      0,
      [],
    ]);
  });

  it('may be packed, and adds to patients who are here without wiping what is known of them', async () => {
    const records = memoryRecords();
    await importResources(records, [patient('p1', { birthDate: '1990-01-01' })]);
    const schema = { ...WIDE, columns: WIDE.columns.filter(({ role }) => role !== 'age' && role !== 'sex') };
    await importText(records, gzipSync(TABLE), schema, 'heart.csv.gz');
    expect(await records.countResources()).toMatchObject({ Patient: 2 });
    expect((await factsOf(records)).map(({ age }) => age)).toEqual([undefined, 36]);
  });

  it('without a patient column is a patient a row', async () => {
    const records = memoryRecords();
    const schema = { ...WIDE, columns: WIDE.columns.filter(({ role }) => role !== 'patient') };
    await importText(records, 'age,sex,sick,chol\n63,1,1,233\n63,1,1,233\n', schema);
    expect(await records.countResources()).toMatchObject({ Patient: 2 });
  });

  it.each([
    ['a word for a number', 'id,age,sex,sick,chol\np1,old,1,1,233\n', /line 2/],
    ['a row too short', 'id,age,sex,sick,chol\np1,63,1\n', /line 2/],
    ['a column that is not there', 'id,age,sex,sick\np1,63,1,1\n', /chol/],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x41]), /not UTF-8/],
  ])('with %s is refused, and says where', async (_, text, detail) => {
    await expect(importText(memoryRecords(), text)).rejects.toMatchObject({
      code: 'invalid_request',
      detail: expect.stringMatching(detail) as string,
    });
  });
});

describe('a long table', () => {
  it('keeps when each was measured', async () => {
    const schema = CsvSchema.parse({
      columns: [
        { role: 'patient', column: 'RecordID' },
        { role: 'time', column: 'Time', format: 'clock' },
      ],
      long: { code: 'Parameter', value: 'Value', codes: [{ role: 'age', code: 'Age' }] },
    });
    const rows = ['7,00:00,Age,54', '7,26:30,chol,120', '7,01:15,chol,110'];
    const records = memoryRecords();
    await importText(records, `RecordID,Time,Parameter,Value\n${rows.join('\n')}\n`, schema);
    const [only] = await factsOf(records);
    const [one, other] = only!.measurements;
    expect([only!.age, one!.value, other!.value]).toEqual([54, 110, 120]);
    expect(other!.hours - one!.hours).toBe(25.25);
  });
});
