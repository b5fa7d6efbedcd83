import { describe, expect, test } from 'vitest';
import { canonicalTree, parseCohortTree } from '../../../agent/records/cohort-tree.ts';
import { parseCohort } from '../../../agent/records/cohort.ts';
import { countDistinctPatients } from '../../../agent/records/count.ts';
import { ageOn, bornBetween } from '../../../agent/records/dates.ts';
import { resolveTerm, TERMS } from '../../../agent/records/terms.ts';
import {
  condition,
  DIABETES,
  HYPERTENSION,
  importResources,
  memoryRecords,
  patient,
} from '../../fixtures/fhir.ts';
import { HBA1C, observation } from '../../fixtures/stats.ts';

const TODAY = '2025-06-30';
const tree = (input: unknown) => parseCohortTree(input, TODAY);

const records = memoryRecords();
await importResources(records, [
  patient('both', { birthDate: '1950-01-01' }),
  condition('c1', 'both'),
  condition('c2', 'both', HYPERTENSION),
  observation('o1', 'both', { valueQuantity: { value: 9.5, unit: '%' } }),
  patient('sweet', { birthDate: '1990-06-30', gender: 'male' }),
  condition('c3', 'sweet'),
  observation('o2', 'sweet', { valueQuantity: { value: 6.5, unit: '%' } }),
  observation('o3', 'sweet', { valueQuantity: { value: 80, unit: 'mmol/mol' } }),
  patient('tense', { birthDate: '1990-07-01' }),
  condition('c4', 'tense', HYPERTENSION),
  patient('well', { gender: undefined, birthDate: undefined }),
]);
const count = (input: unknown): Promise<bigint> => countDistinctPatients(records, tree(input));
const D = `Condition?code=${DIABETES}`;
const H = `Condition?code=${HYPERTENSION}`;

describe('and, or, not', () => {
  test.each([
    ['Patient', 4n],
    [`${D} and ${H}`, 1n],
    [`${D} or ${H}`, 3n],
    [`not ${D}`, 2n],
    [`not (${D} or ${H})`, 1n],
    [`${D} and not ${H}`, 1n],
    [`${D} or ${H} and Patient?gender=male`, 2n],
    [`(${D} or ${H}) and Patient?gender=male`, 1n],
    [`NOT not ${D}`, 2n],
    ['Condition?term=Diabetes mellitus type 2 (disorder) and Patient', 2n],
    ['Condition?term=diabetes MELLITUS type 2', 2n],
    ['Patient?age=ge35', 2n],
    ['Patient?age=34', 1n],
    ['Patient?age=lt35', 1n],
    ['not Patient?age=ge0', 1n],
    [`Observation?code=${HBA1C}&value=ge6.5 %`, 2n],
    [`Observation?code=${HBA1C}&value=gt6.5|lt10 %`, 1n],
    ['Observation?value=le80 mmol/mol', 1n],
    ['Observation?value=ge0 kg', 0n],
    [
      {
        any: [
          {
            resource: 'Condition',
            where: [{ field: 'codes', of: [{ code: DIABETES }, { code: HYPERTENSION }] }],
          },
        ],
      },
      3n,
    ],
    [{ all: [D, { not: H }] }, 1n],
    [{ resource: 'Patient', where: [{ field: 'age', from: 18, below: 35 }] }, 1n],
  ])('%j is %s patients', async (input, expected) => {
    expect(await count(input)).toBe(expected);
  });

  test('the canonical text reads back, and fixes the day of an age', () => {
    const one = tree(`${D} and not (Patient?age=ge35 or ${H})`);
    const text = canonicalTree(one);
    expect(text).toContain('"before":"1990-07-01"');
    expect(canonicalTree(parseCohortTree(JSON.parse(text), '2099-01-01'))).toBe(text);
    expect(canonicalTree(tree(`not (${H} or Patient?age=ge35) and ${D}`))).not.toBe('');
    expect(canonicalTree(tree({ all: [H, D] }))).toBe(canonicalTree(tree({ all: [D, H, D] })));
  });

  test.each([
    `${D} and`,
    `(${D}`,
    `${D})`,
    'and',
    '',
    'not',
    { all: [] },
    { all: [D], any: [H] },
    'Condition?value=ge1 %',
    'Observation?value=ge1',
    'Observation?value=about1 %',
    'Patient?age=old',
    'Patient?term=Asthma',
    `${'not '.repeat(9)}${D}`,
    Array.from({ length: 17 }, () => D).join(' or '),
  ])('%j is refused', (input) => {
    expect(() => tree(input)).toThrowError(expect.objectContaining({ code: 'invalid_request' }) as Error);
  });

  test.each([
    [{ resource: 'Condition', where: [], limit: 5 }, 'limit'],
    [{ join: [D, H] }, 'join'],
    [{ resource: 'Condition', where: [], orderBy: 'date' }, 'orderBy'],
    [{ resource: 'Condition', where: [], groupBy: 'patient' }, 'groupBy'],
    [{ not: { resource: 'Condition', where: [], dedupe: true } }, 'dedupe'],
    ['Condition?_sort=date', '_sort'],
    ['Condition?_include=Condition:subject', '_include'],
  ])('%j has no bound and is refused with the reason', (input, operation) => {
    try {
      tree(input);
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: 'invalid_request', facts: { operation, stability: 'unbounded' } });
    }
  });
});

describe('ages', () => {
  test('an age that names no day, where nobody says which day it is, is refused', () => {
    expect(() => parseCohortTree('Patient?age=ge65')).toThrowError('name the day');
    expect(
      parseCohortTree({ resource: 'Patient', where: [{ field: 'age', at: '2020-01-01', from: 65 }] }),
    ).toMatchObject({ rows: { where: [{ field: 'birthdate', before: '1955-01-02' }] } });
  });

  test('days of birth mean what the age means, leap days too', () => {
    for (const day of ['2024-02-29', '2025-02-28', '2025-03-01', '2025-06-30'])
      for (const birth of ['1960-02-28', '1960-02-29', '1960-03-01', '1961-02-28', '1959-12-31', day])
        for (const years of [0, 1, 63, 64, 65, 66]) {
          const age = ageOn(day, birth)!;
          const { before } = bornBetween(day, years, undefined);
          const { from } = bornBetween(day, undefined, years);
          expect({ day, birth, years, least: birth < before! }).toEqual({
            day,
            birth,
            years,
            least: age >= years,
          });
          expect({ day, birth, years, below: birth >= from! }).toEqual({
            day,
            birth,
            years,
            below: age < years,
          });
        }
  });

  test('who is not born yet has no age', () => {
    expect(ageOn('2025-01-01', '2025-01-02')).toBeUndefined();
    expect(ageOn('2025-01-01', undefined)).toBeUndefined();
  });
});

describe('terms', () => {
  test('each has codes, is found by its own text, and is offered when the text is close', () => {
    for (const { text, codes } of TERMS) {
      expect(codes.length).toBeGreaterThan(0);
      expect(resolveTerm(text)).toEqual(expect.arrayContaining([...codes]));
    }
    expect(() => resolveTerm('diabetes')).toThrowError('public list');
  });

  test('a term becomes its codes in the question', () => {
    expect(parseCohort('Condition?term=asthma').where).toEqual([
      { field: 'codes', of: [{ system: 'http://snomed.info/sct', code: '195967001' }] },
    ]);
  });
});
