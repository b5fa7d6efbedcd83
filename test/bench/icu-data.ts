/**
 * Stays of intensive care with their outcome, from a folder in the layout of shared/data/icu-physionet2012/README.md: set-*.csv.gz beside Outcomes-*.csv. The four
 * types of unit are the four sites; of the outcomes only death in hospital is read, since the others leak it.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { QflError } from '../../shared/errors.ts';
import { createCsvPatients, type CsvPatient, mergedFacts } from '../../shared/learning/csv.ts';
import type { PatientFacts } from '../../shared/learning/facts.ts';
import { CsvSchema } from '../../shared/wire/csv-schema.ts';
import { dataPath } from './learning-data.ts';

export const ICU_SITES = ['coronary-care', 'cardiac-surgery', 'medical', 'surgical'] as const;
export const DEATH = 'death-in-hospital';

export const ICU_TABLE = CsvSchema.parse({
  missing: ['', '-1'],
  columns: [
    { role: 'patient', column: 'RecordID' },
    { role: 'time', column: 'Time', format: 'clock' },
  ],
  long: {
    code: 'Parameter',
    value: 'Value',
    codes: [
      { role: 'ignore', code: 'RecordID' },
      { role: 'age', code: 'Age' },
      { role: 'sex', code: 'Gender', female: ['0'], male: ['1'] },
    ],
  },
});

export const OUTCOME_TABLE = CsvSchema.parse({
  columns: [
    { role: 'patient', column: 'RecordID' },
    { role: 'condition', column: 'In-hospital_death', condition: DEATH, values: ['1'] },
  ],
});

export interface Stay {
  readonly record: string;
  /** Number of its site. */
  readonly site: number;
  readonly facts: PatientFacts;
}

const PIECE_CHARS = 65_536;

const patientsOf = function* (schema: CsvSchema, text: string): Generator<CsvPatient> {
  const patients = createCsvPatients(schema);
  for (let at = 0; at < text.length; at += PIECE_CHARS)
    yield* patients.push(text.slice(at, at + PIECE_CHARS));
  yield* patients.end();
};

const fileOf = (folder: string, pattern: RegExp): string => {
  const [file, ...others] = readdirSync(folder).filter((name) => pattern.test(name));
  if (file !== undefined && others.length === 0) return path.join(folder, file);
  throw new QflError('invalid_request', {
    detail: `not one file ${String(pattern)} in the folder of stays`,
    next: 'Name a folder with one set-*.csv.gz and its Outcomes-*.csv.',
  });
};

const siteOf = ({ measurements }: PatientFacts): number | undefined => {
  const type = measurements.find(({ code }) => code === 'ICUType')?.value;
  return type === undefined || ICU_SITES[type - 1] === undefined ? undefined : type - 1;
};

const readStays = (folder: string): Stay[] => {
  const text = readFileSync(fileOf(folder, /^Outcomes-[a-z]\.csv$/), 'utf8');
  const outcomes = new Map([...patientsOf(OUTCOME_TABLE, text)].map((one) => [one.patient, one.facts]));
  const table = gunzipSync(readFileSync(fileOf(folder, /^set-[a-z]\.csv\.gz$/))).toString('latin1');
  const stays: Stay[] = [];
  for (const { patient: record, facts } of patientsOf(ICU_TABLE, table)) {
    const [site, outcome] = [siteOf(facts), outcomes.get(record)];
    if (site !== undefined && outcome !== undefined)
      stays.push({ record, site, facts: mergedFacts(facts, outcome) });
  }
  return stays;
};

const loaded = new Map<string, readonly Stay[]>();
/** Kept in memory only: reading them takes seconds. */
export const loadStays = (folder: string = dataPath('icu-physionet2012')): readonly Stay[] => {
  const stays = loaded.get(folder) ?? readStays(folder);
  loaded.set(folder, stays);
  return stays;
};

/** The suggested split: one stay in five is for tests. */
export const isTestStay = ({ record }: Stay): boolean =>
  BigInt(`0x${createHash('sha256').update(record).digest('hex')}`) % 5n === 0n;
