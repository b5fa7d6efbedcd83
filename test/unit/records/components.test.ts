/** `Observation.component`: rows of their own code, gone with the observation that held them. */
import { describe, expect, test } from 'vitest';
import { evaluateMeasures } from '../../../agent/answer/stats/plan.ts';
import { upgradeRows } from '../../../agent/records/upgrade.ts';
import type { Records } from '../../../agent/records/store.ts';
import { MeasuresQuery } from '../../../shared/wire/stats.ts';
import {
  deletionBundle,
  importResources,
  memoryRecords,
  patient,
  type Resource,
} from '../../fixtures/fhir.ts';

const LOINC = 'http://loinc.org';
const SYSTOLIC = '8480-6';
const DIASTOLIC = '8462-4';
const pressure = (code: string, value: number): Resource => ({
  code: { coding: [{ system: LOINC, code }] },
  valueQuantity: { value, unit: 'mmHg', code: 'mm[Hg]' },
});
const panel = (
  id: string,
  of: string,
  date: string,
  values: readonly [number, number],
  more: Resource = {},
) => ({
  resourceType: 'Observation',
  id,
  status: 'final',
  code: { coding: [{ system: LOINC, code: '85354-9' }] },
  subject: { reference: `Patient/${of}` },
  effectiveDateTime: date,
  component: [pressure(SYSTOLIC, values[0]), pressure(DIASTOLIC, values[1])],
  ...more,
});

const rows = (code: string, perPatientMax = 1) => ({
  of: `Observation?code=${code}`,
  perPatientMax,
  take: 'latest',
});
const of = { variable: 'value', unit: 'mm[Hg]', low: '0', high: '300', granularity: '1' };

const exact = async (records: Records, measure: unknown, cohort = 'Patient') =>
  (
    await evaluateMeasures(
      records,
      MeasuresQuery.parse({ kind: 'measures', cohort, measures: [measure], microEpsilon: 1 }),
    )
  )[0];

const hospital = async (records = memoryRecords()): Promise<Records> => {
  await importResources(records, [
    patient('p'),
    panel('p1', 'p', '2024-01-01', [120, 80]),
    panel('p2', 'p', '2025-01-01', [140, 90]),
    patient('q'),
    panel('q1', 'q', '2024-06-01', [160, 100]),
    patient('r'),
  ]);
  return records;
};

describe('components of observations', () => {
  test('are measured under their own codes, cut per patient like other rows', async () => {
    const records = await hospital();
    expect(await exact(records, { measure: 'sum', of, rows: rows(SYSTOLIC) })).toEqual([300n]);
    expect(await exact(records, { measure: 'sum', of, rows: rows(SYSTOLIC, 5) })).toEqual([420n]);
    expect(await exact(records, { measure: 'sum', of, rows: rows(DIASTOLIC) })).toEqual([190n]);
    expect(await exact(records, { measure: 'count', rows: rows(SYSTOLIC, 5) })).toEqual([3n]);
  });

  test('choose cohorts by their values', async () => {
    const records = await hospital();
    const over = (limit: number) =>
      exact(records, { measure: 'count' }, `Observation?code=${SYSTOLIC}&value=ge${limit} mm[Hg]`);
    expect([await over(130), await over(150), await over(170)]).toEqual([[2n], [1n], [0n]]);
    expect(await exact(records, { measure: 'count' }, 'Observation?code=85354-9')).toEqual([2n]);
  });

  test('go when the observation changes or is deleted, and with their patient', async () => {
    const records = await hospital();
    await importResources(records, [
      panel('p2', 'p', '2025-01-01', [150, 95], { component: [pressure(SYSTOLIC, 150)] }),
    ]);
    expect(await exact(records, { measure: 'sum', of, rows: rows(SYSTOLIC) })).toEqual([310n]);
    expect(await exact(records, { measure: 'sum', of, rows: rows(DIASTOLIC) })).toEqual([180n]);
    await importResources(records, [deletionBundle('Observation/p2')]);
    expect(await exact(records, { measure: 'sum', of, rows: rows(SYSTOLIC) })).toEqual([280n]);
    await importResources(records, [deletionBundle('Patient/p', 'Patient/q')]);
    for await (const key of records.store.keys({ prefix: 'records/a/Observation/' }))
      expect(key).toBe('no row');
    for await (const key of records.store.keys({ prefix: 'records/i/' })) expect(key).toBe('no row');
  });

  test('entered in error are not measured', async () => {
    const records = await hospital();
    await importResources(records, [
      panel('q1', 'q', '2024-06-01', [160, 100], { status: 'entered-in-error' }),
    ]);
    expect(await exact(records, { measure: 'sum', of, rows: rows(SYSTOLIC) })).toEqual([140n]);
  });

  test('without a code, or with a comparator, hold nothing to measure', async () => {
    const records = memoryRecords();
    await importResources(records, [
      patient('p'),
      panel('p1', 'p', '2024-01-01', [0, 0], {
        component: [
          { valueQuantity: { value: 500, unit: 'mm[Hg]' } },
          { ...pressure(SYSTOLIC, 90), valueQuantity: { value: 90, unit: 'mm[Hg]', comparator: '<' } },
          { ...pressure(DIASTOLIC, 60), valueQuantity: { value: 'x' } },
        ],
      }),
    ]);
    expect(await exact(records, { measure: 'count', rows: rows(SYSTOLIC, 9) })).toEqual([1n]);
    expect(await exact(records, { measure: 'sum', of, rows: rows(SYSTOLIC, 9) })).toEqual([0n]);
    expect(
      await exact(records, { measure: 'sum', of, rows: { ...rows(SYSTOLIC, 9), of: 'Observation' } }),
    ).toEqual([0n]);
  });

  test('of a wrong shape refuse the observation and say so', async () => {
    const result = await importResources(memoryRecords(), [
      patient('p'),
      panel('p1', 'p', '2024-01-01', [1, 2], { component: 'none' }),
      panel('p2', 'p', '2024-01-01', [1, 2], {
        component: Array.from({ length: 257 }, () => pressure('x', 1)),
      }),
    ]);
    expect(result.rejected).toBe(2);
    expect(result.problems[0]?.reason).toContain('component');
  });

  test('of records that an earlier version imported become rows with the next import', async () => {
    const records = await hospital();
    const before = await exact(records, { measure: 'sum', of, rows: rows(SYSTOLIC) });
    // As the version before left it: other rows, and its marker.
    for (const prefix of ['records/a/Observation/', 'records/i/'])
      for await (const key of records.store.keys({ prefix }))
        await records.store.write([{ type: 'del', key }]);
    expect(await exact(records, { measure: 'sum', of, rows: rows(SYSTOLIC) })).toEqual([0n]);
    await records.store.write([{ type: 'put', key: 'records/t/Observation', value: Buffer.from('2') }]);
    expect(await records.keepsValues('Observation')).toBe(false);
    await upgradeRows(records);
    expect(await records.keepsValues('Observation')).toBe(true);
    expect(await exact(records, { measure: 'sum', of, rows: rows(SYSTOLIC) })).toEqual(before);
  });
});
