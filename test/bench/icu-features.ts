/**
 * What the federation of intensive care units looks at. Nothing here was learnt from the stays: each measurement is described by the reference range of healthy
 * adults alone, as laboratories and textbooks print it, and one rule makes the rest of it, with the same two numbers for all measurements.
 *
 * - Usual value: the middle of the range. Usual spread: 2.5 widths of it, a number chosen on training folds as any option is.
 * - Bounds: eight widths to either side of the middle, cut at what can be.
 * - Death is likelier on both sides of what is healthy, so a measurement is cut in three at the ends of its range.
 */
import type { z } from 'zod';
import { type Feature, LearningData } from '../../shared/wire/learning.ts';
import { DEATH } from './icu-data.ts';

/**
 * Low and high end of the adult reference range, in the units of the set. Four are no laboratory's: GCS is that of a mild injury at worst (Teasdale, Jennett);
 * FiO2 from air to what lungs bear for long; Urine 800 to 2,000 ml a day, by the hour; Weight that of a body mass index of 18.5 to 25 at 1.7 m.
 */
const REFERENCE = {
  ALP: [44, 147],
  ALT: [7, 56],
  AST: [10, 40],
  Albumin: [3.5, 5],
  BUN: [7, 20],
  Bilirubin: [0.1, 1.2],
  Cholesterol: [125, 200],
  Creatinine: [0.6, 1.2],
  DiasABP: [60, 80],
  FiO2: [0.21, 0.5],
  GCS: [13, 15],
  Glucose: [70, 140],
  HCO3: [22, 28],
  HCT: [36, 50],
  HR: [60, 100],
  K: [3.5, 5],
  Lactate: [0.5, 2],
  MAP: [70, 100],
  Mg: [1.7, 2.2],
  NIDiasABP: [60, 80],
  NIMAP: [70, 100],
  NISysABP: [90, 120],
  Na: [135, 145],
  PaCO2: [35, 45],
  PaO2: [75, 100],
  Platelets: [150, 400],
  RespRate: [12, 20],
  SaO2: [95, 100],
  SysABP: [90, 120],
  Temp: [36.1, 37.2],
  TroponinI: [0, 0.4],
  TroponinT: [0, 0.1],
  Urine: [33, 83],
  WBC: [4.5, 11],
  Weight: [53, 72],
  pH: [7.35, 7.45],
} as const satisfies Record<string, readonly [number, number]>;
type Code = keyof typeof REFERENCE;
const CODES = Object.keys(REFERENCE).filter((code): code is Code => Object.hasOwn(REFERENCE, code));

/** What can be, where that is more than "not below 0". */
const POSSIBLE: Partial<Record<Code, readonly [number, number]>> = {
  FiO2: [0.21, 1],
  GCS: [3, 15],
  SaO2: [0, 100],
};
const WIDTHS_BOUND = 8;
const WIDTHS_SPREAD = 2.5;

const middleOf = ([low, high]: readonly [number, number]): number => (low + high) / 2;

export const boundsOf = (code: Code): [number, number] => {
  const range = REFERENCE[code];
  const [least, most] = POSSIBLE[code] ?? [0, Infinity];
  const reach = WIDTHS_BOUND * (range[1] - range[0]);
  return [Math.max(least, middleOf(range) - reach), Math.min(most, middleOf(range) + reach)];
};

type FeatureInput = z.input<typeof Feature>;

/** Below, within and above the range; what ends at a bound has no part beyond it. */
const partsOf = (code: Code): FeatureInput[] => {
  const range = REFERENCE[code];
  const usual = { value: middleOf(range), spread: WIDTHS_SPREAD * (range[1] - range[0]) };
  const [least, most] = boundsOf(code);
  const cuts = [least, ...range, most];
  return cuts.slice(1).flatMap((high, at): FeatureInput[] => {
    const low = cuts[at]!;
    return low < high ? [{ kind: 'observation', code, take: 'last', low, high, usual }] : [];
  });
};

/** Measured hourly or so, not daily. */
const VITAL: readonly Code[] = [
  'DiasABP',
  'FiO2',
  'GCS',
  'HR',
  'MAP',
  'NIDiasABP',
  'NIMAP',
  'NISysABP',
  'RespRate',
  'SaO2',
  'SysABP',
  'Temp',
  'Urine',
  'Weight',
];
const VITAL_COUNT_MAX = 72;
const LABORATORY_COUNT_MAX = 12;
const howOften = (code: Code): FeatureInput[] => [
  { kind: 'observation', code, take: 'known', low: 0, high: 1 },
  {
    kind: 'observation',
    code,
    take: 'count',
    low: 0,
    high: VITAL.includes(code) ? VITAL_COUNT_MAX : LABORATORY_COUNT_MAX,
  },
];

const PATIENT: FeatureInput[] = [
  { kind: 'age' },
  { kind: 'observation', code: 'MechVent', take: 'known', low: 0, high: 1 },
  ...[1, 2, 3, 4].map((value): FeatureInput => ({ kind: 'is', code: 'ICUType', value })),
];

/** The physiology of SAPS II but potassium, with lactate, platelets and breathing: with privacy no worse in the folds than all of SCORED. */
const FEW: readonly Code[] = [
  'GCS',
  'BUN',
  'Urine',
  'HCO3',
  'WBC',
  'Temp',
  'HR',
  'NISysABP',
  'PaO2',
  'FiO2',
  'Bilirubin',
  'Na',
  'Lactate',
  'Platelets',
  'RespRate',
];
/** And of APACHE II. */
const SCORED: readonly Code[] = [...FEW, 'K', 'Creatinine', 'pH', 'Albumin', 'MAP', 'PaCO2'];

export const ICU_FEW = LearningData.parse({
  target: DEATH,
  features: [...PATIENT, ...FEW.flatMap(partsOf)],
});
export const ICU_MANY = LearningData.parse({
  target: DEATH,
  features: [
    ...PATIENT,
    { kind: 'sex', is: 'male' },
    { kind: 'observation', code: 'MechVent', take: 'count', low: 0, high: 24 },
    ...CODES.flatMap(partsOf),
    ...CODES.filter((code) => code !== 'Weight').flatMap(howOften),
  ],
});
const SERIES = {
  channels: CODES.filter((code) => code !== 'Weight').map((code) => {
    const [low, high] = boundsOf(code);
    return { code, low, high };
  }),
  hours: 48,
  stepHours: 4,
  stepsMax: 48,
};
/** The course of 35 measurements, and what was measured last beside the state that follows it. */
export const ICU_COURSE = LearningData.parse({
  target: DEATH,
  features: [...PATIENT, ...SCORED.flatMap(partsOf)],
  series: SERIES,
});
/** The course, and of the rest only age, ventilation and the kind of unit. */
export const ICU_COURSE_ALONE = LearningData.parse({ target: DEATH, features: PATIENT, series: SERIES });
