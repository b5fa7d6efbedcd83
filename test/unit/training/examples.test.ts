/** From FHIR records to examples: what is looked at, when it was measured, who is not in it, and what stays in memory. */
import { describe, expect, it } from 'vitest';
import { createExamples, type SitePatient } from '../../../agent/training/examples.ts';
import { walkFacts } from '../../../agent/training/facts.ts';
import type { Records } from '../../../agent/records/store.ts';
import { LearningData } from '../../../shared/wire/learning.ts';
import {
  condition,
  consentDeny,
  DIABETES,
  importResources,
  memoryRecords,
  patient,
} from '../../fixtures/fhir.ts';
import { HBA1C, observation } from '../../fixtures/stats.ts';

const TODAY = '2025-06-30';
const signal = new AbortController().signal;
const at = (time: string, value: number, id: string, owner = 'anna', code = HBA1C) =>
  observation(id, owner, {
    effectiveDateTime: time,
    valueQuantity: { value, unit: '%', code: '%' },
    code: { coding: [{ system: 'http://loinc.org', code }] },
  });

const DATA = LearningData.parse({
  target: DIABETES,
  features: [
    { kind: 'age' },
    { kind: 'sex', is: 'female' },
    { kind: 'condition', code: '38341003' },
    { kind: 'observation', code: HBA1C, unit: '%', take: 'first', low: 3, high: 15 },
    { kind: 'observation', code: HBA1C, unit: '%', take: 'last', low: 3, high: 15 },
    { kind: 'observation', code: HBA1C, unit: 'mmol/mol', low: 3, high: 15 },
  ],
  series: { channels: [{ code: HBA1C, low: 3, high: 15 }], hours: 48, stepHours: 1, stepsMax: 24 },
});

const hospital = async (): Promise<Records> => {
  const records = memoryRecords();
  await importResources(records, [
    patient('anna', { birthDate: '1960-05-17' }),
    condition('c1', 'anna'),
    // Not in the order of time, in two zones, and one after the series has ended.
    at('2024-01-01T12:30:00Z', 9, 'o2'),
    at('2024-01-01T11:00:00+01:00', 7, 'o1'),
    at('2024-01-05T00:00:00Z', 20, 'o3'),
    patient('bert', { gender: 'male', birthDate: undefined }),
    condition('c2', 'bert', '38341003'),
    // Known to the day only.
    at('2024-02-01', 6, 'o4', 'bert'),
    patient('carl'),
    condition('c3', 'carl'),
    consentDeny('no', 'carl'),
  ]);
  return records;
};
const read = (records: Records): Promise<readonly SitePatient[]> =>
  createExamples(records, { nowMs: () => 0, monotonicMs: () => 0 }).read(
    { data: DATA, today: TODAY, blocks: undefined },
    signal,
  );
const withTarget = (patients: readonly SitePatient[], target: 0 | 1) =>
  patients.filter(({ raw }) => raw.target === target).map(({ raw }) => raw);

describe('examples of a hospital', () => {
  it('hold what the features say, in the order of time, within their bounds', async () => {
    const patients = await read(await hospital());
    expect(patients).toHaveLength(2);
    const [anna] = withTarget(patients, 1);
    expect([...anna!.inputs]).toEqual([0.65, 1, 0, 7, 15, NaN]);
    expect([...anna!.series!.hours]).toEqual([0, 2]);
    expect([...anna!.series!.values]).toEqual([7, 9]);
    const [bert] = withTarget(patients, 0);
    expect([...bert!.inputs]).toEqual([NaN, 0, 1, 6, 6, NaN]);
    for (const { place } of patients) expect(place).toBeGreaterThanOrEqual(0);
    for (const { place } of patients) expect(place).toBeLessThan(1);
  });

  it('have more codes than one condition of a cohort may name', async () => {
    const codes = Array.from({ length: 150 }, (_, one) => `code-${one}`);
    const data = LearningData.parse({
      target: DIABETES,
      features: codes.map((code) => ({ kind: 'observation', code, low: 0, high: 100 })),
    });
    const records = memoryRecords();
    await importResources(records, [
      patient('anna'),
      ...codes.map((code, one) => at('2024-01-01', one / 2, `o${one}`, 'anna', code)),
    ]);
    for await (const { facts } of walkFacts(records, data, { today: TODAY, blocks: undefined }, signal))
      expect(new Set(facts.measurements.map(({ code }) => code))).toEqual(new Set(codes));
  });

  it('stay in memory while nothing is written, and are read anew after an opt-out', async () => {
    const records = await hospital();
    let nowMs = 0;
    const examples = createExamples(records, { nowMs: () => 0, monotonicMs: () => nowMs });
    const asked = { data: DATA, today: TODAY, blocks: undefined };
    const first = await examples.read(asked, signal);
    expect(await examples.read(asked, signal)).toBe(first);
    await records.optOut('bert');
    const second = await examples.read(asked, signal);
    expect(second).toHaveLength(1);
    expect(await examples.read(asked, signal)).toBe(second);
    expect(await examples.read({ ...asked, today: '2026-06-30' }, signal)).not.toBe(second);
    const third = await examples.read(asked, signal);
    nowMs = 3_600_000;
    expect(await examples.read(asked, signal)).not.toBe(third);
  });
});
