/** Measured values in rows: read exactly, kept at import, and made again for records of an earlier version. */
import { describe, expect, test } from 'vitest';
import { createMeasuresPlanner } from '../../../agent/answer/stats/plan.ts';
import { DEFAULT_LIMITS } from '../../../agent/budget/ledger.ts';
import { compareDecimals } from '../../../agent/records/decimals.ts';
import { keyOf, prefixOf } from '../../../agent/records/keys.ts';
import { countDistinctPatients } from '../../../agent/records/count.ts';
import { parseCohort } from '../../../agent/records/cohort.ts';
import type { Records } from '../../../agent/records/store.ts';
import { fromUtf8, utf8 } from '../../../shared/bytes.ts';
import { MeasuresQuery } from '../../../shared/wire/stats.ts';
import { importResources, memoryRecords, patient } from '../../fixtures/fhir.ts';
import { HBA1C, observation } from '../../fixtures/stats.ts';

const COHORT = parseCohort(`Observation?code=${HBA1C}&value=ge7 %`);

/** Rows and markers as an earlier version wrote them. */
const asBefore = async ({ store, keys }: Records): Promise<void> => {
  for (const prefix of [prefixOf.rows('Observation'), prefixOf.coded(keys.term('Observation', HBA1C))])
    for await (const { key, value } of store.list({ prefix })) {
      const { value: _, ...row } = JSON.parse(fromUtf8(value)) as Record<string, unknown>;
      await store.write([{ type: 'put', key, value: utf8(JSON.stringify(row)) }]);
    }
  await store.write([{ type: 'put', key: keyOf.type('Observation'), value: new Uint8Array(0) }]);
};

const question = MeasuresQuery.parse({
  kind: 'measures',
  cohort: 'Patient',
  measures: [
    {
      measure: 'sum',
      of: { variable: 'value', unit: '%', low: '0', high: '10', granularity: '1' },
      rows: { of: 'Observation', perPatientMax: 1, take: 'latest' },
    },
  ],
  microEpsilon: 1,
});

describe('values', () => {
  test('records of an earlier version still count; figures of values ask for an import, which makes them', async () => {
    const records = memoryRecords();
    await importResources(records, [patient('p'), observation('o', 'p')]);
    await asBefore(records);
    expect(await countDistinctPatients(records, parseCohort(`Observation?code=${HBA1C}`))).toBe(1n);
    const plan = createMeasuresPlanner(records);
    await expect(plan(question, { limits: DEFAULT_LIMITS })).rejects.toMatchObject({
      code: 'not_ready',
      facts: { resource: 'Observation', missing: 'value' },
    });
    await importResources(records, [patient('q')]);
    const planned = await plan(question, { limits: DEFAULT_LIMITS });
    expect(await planned.evaluate()).toEqual([[7n]]);
    expect(await countDistinctPatients(records, COHORT)).toBe(1n);
  });

  test('a site without observations has nothing that is missing', async () => {
    const planned = await createMeasuresPlanner(memoryRecords())(question, { limits: DEFAULT_LIMITS });
    expect(await planned.evaluate()).toEqual([[0n]]);
  });

  test.each([
    ['7', '7.0', 0],
    ['6.999999999999999999', '7', -1],
    ['1e-7', '0.0000001', 0],
    ['1e308', '2', 1],
    ['-3', '-2.5', -1],
    ['NaN', '1', undefined],
    ['Infinity', '1', undefined],
  ])('%s against %s', (left, right, order) => {
    expect(compareDecimals(left, right)).toBe(order);
  });
});
