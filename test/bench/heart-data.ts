/**
 * The heart disease set of four hospitals, as FLamby cuts it (shared/data/heart/README.md): ten of the fourteen columns, rows without a gap, chest pain and
 * resting electrocardiogram as categories without their first level.
 */
import { readFileSync } from 'node:fs';
import { QflError } from '../../shared/errors.ts';
import { createCsvPatients } from '../../shared/learning/csv.ts';
import type { PatientFacts } from '../../shared/learning/facts.ts';
import { CsvSchema } from '../../shared/wire/csv-schema.ts';
import { LearningData } from '../../shared/wire/learning.ts';
import { dataPath } from './learning-data.ts';

export const HEART_SITES = ['cleveland', 'hungarian', 'switzerland', 'va'] as const;
export type HeartSite = (typeof HEART_SITES)[number];

const measured = (column: number, code: string) => ({ role: 'measurement', column, code });

export const HEART_TABLE = CsvSchema.parse({
  header: false,
  missing: ['?'],
  columns: [
    { role: 'age', column: 0 },
    { role: 'sex', column: 1, female: ['0'], male: ['1'] },
    measured(2, 'chest-pain'),
    measured(3, 'resting-blood-pressure'),
    measured(4, 'cholesterol'),
    measured(5, 'fasting-glucose-high'),
    measured(6, 'resting-ecg'),
    measured(7, 'heart-rate-max'),
    measured(8, 'exercise-angina'),
    measured(9, 'st-depression'),
    { role: 'condition', column: 13, condition: 'heart-disease', values: ['1', '2', '3', '4'] },
  ],
});

const is = (code: string, value: number) => ({ kind: 'is', code, value });
/** Bounds are public: of medicine, not of these patients. */
const last = (code: string, low: number, high: number) => ({ kind: 'observation', code, low, high });

export const HEART_LEARNING = LearningData.parse({
  target: 'heart-disease',
  features: [
    { kind: 'age', scale: 100 },
    { kind: 'sex', is: 'male' },
    is('chest-pain', 2),
    is('chest-pain', 3),
    is('chest-pain', 4),
    last('resting-blood-pressure', 60, 220),
    last('cholesterol', 0, 600),
    is('fasting-glucose-high', 1),
    is('resting-ecg', 1),
    is('resting-ecg', 2),
    last('heart-rate-max', 50, 220),
    is('exercise-angina', 1),
    last('st-depression', -3, 7),
  ],
});

/** One hospital's patients: by the line of its table, from 0. */
export type HeartRows = ReadonlyMap<number, PatientFacts>;
export type HeartTables = Readonly<Record<HeartSite, HeartRows>>;

const readTable = (site: HeartSite): HeartRows => {
  const text = readFileSync(dataPath(`heart/processed.${site}.data`), 'utf8');
  const patients = createCsvPatients(HEART_TABLE);
  return new Map(
    [...patients.push(text), ...patients.end()].map(({ patient, facts }) => [Number(patient) - 1, facts]),
  );
};

export const loadHeart = (): HeartTables => ({
  cleveland: readTable('cleveland'),
  hungarian: readTable('hungarian'),
  switzerland: readTable('switzerland'),
  va: readTable('va'),
});

export interface HeartPatients {
  readonly site: HeartSite;
  readonly train: readonly PatientFacts[];
  readonly test: readonly PatientFacts[];
}

const SPLIT_ROW = /^(cleveland|hungarian|switzerland|va),(\d{1,4}),(train|test)$/;

/** `site,row,split` a line, in any order. @throws QflError `invalid_request` for another layout */
export const splitHeart = (tables: HeartTables, text: string): readonly HeartPatients[] => {
  const chosen = HEART_SITES.map((site) => ({
    site,
    train: [] as PatientFacts[],
    test: [] as PatientFacts[],
  }));
  for (const [at, line] of text.trim().split(/\r?\n/).entries()) {
    if (at === 0 && line === 'site,row,split') continue;
    const [, name, row, split] = SPLIT_ROW.exec(line) ?? [];
    const site = chosen.find((one) => one.site === name);
    const facts = site === undefined ? undefined : tables[site.site].get(Number(row));
    if (site === undefined || facts === undefined)
      throw new QflError('invalid_request', {
        detail: `line ${at + 1} of the split is no site,row,split of the set`,
        next: 'Give a file in the layout of flamby-split.csv.',
      });
    (split === 'train' ? site.train : site.test).push(facts);
  }
  return chosen;
};

export const flambySplit = (): string => readFileSync(dataPath('heart/flamby-split.csv'), 'utf8');
