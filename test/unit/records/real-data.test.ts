/** Real input: the three Synthea hospitals (public data beside the project), read in place. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { importFolder, type ImportResult } from '../../../agent/records/import-fhir.ts';
import type { Records } from '../../../agent/records/store.ts';
import { count, memoryRecords } from '../../fixtures/fhir.ts';

const DATA = fileURLToPath(new URL('../../../../shared/data/fhir', import.meta.url));
const missing = !existsSync(DATA);
const WHY_SKIPPED = missing ? ' (skipped: ../shared/data/fhir is not here)' : '';

/** The figures of the data's README, and those it leaves out as `zcat | wc -l` and `jq` give them. */
const NDJSON_COUNTS = {
  AllergyIntolerance: 11,
  Condition: 555,
  Device: 16,
  DocumentReference: 1215,
  Encounter: 1215,
  Immunization: 161,
  MedicationRequest: 1745,
  Organization: 129,
  Patient: 13,
  Practitioner: 129,
  Procedure: 2056,
};
const BUNDLE_COUNTS = {
  AllergyIntolerance: 47,
  CarePlan: 99,
  Claim: 1016,
  Condition: 248,
  DiagnosticReport: 261,
  Encounter: 807,
  ExplanationOfBenefit: 807,
  Goal: 61,
  ImagingStudy: 18,
  Immunization: 574,
  MedicationRequest: 209,
  Observation: 4472,
  Organization: 69,
  Patient: 45,
  Practitioner: 69,
  Procedure: 439,
};

const added = (left: Record<string, number>, right: Record<string, number>): Record<string, number> =>
  Object.fromEntries(
    [...new Set([...Object.keys(left), ...Object.keys(right)])].map((type) => [
      type,
      (left[type] ?? 0) + (right[type] ?? 0),
    ]),
  );

const Coded = z.object({ coding: z.array(z.object({ code: z.string() })) });
const ConditionShape = z.object({
  resourceType: z.literal('Condition'),
  code: Coded,
  subject: z.object({ reference: z.string() }),
});

/** Distinct patients per condition code, by reading the files without any of the code under test. */
const naiveConditionCounts = (): ReadonlyMap<string, number> => {
  const patients = new Map<string, Set<string>>();
  const files = readdirSync(DATA, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.gz'),
  );
  for (const file of files) {
    const text = gunzipSync(readFileSync(`${DATA}/${file}`)).toString('utf8');
    const resources: unknown[] = file.includes('ndjson')
      ? text
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as unknown)
      : z
          .object({ entry: z.array(z.object({ resource: z.unknown() })) })
          .parse(JSON.parse(text))
          .entry.map(({ resource }) => resource);
    for (const resource of resources) {
      const condition = ConditionShape.safeParse(resource).data;
      if (condition === undefined) continue;
      const patient = condition.subject.reference.replace(/^.*[/:]/, '');
      for (const { code } of condition.code.coding) {
        patients.set(code, (patients.get(code) ?? new Set()).add(patient));
      }
    }
  }
  return new Map([...patients].map(([code, who]) => [code, who.size]));
};

describe.skipIf(missing)(`three real hospitals${WHY_SKIPPED}`, () => {
  let records: Records;
  let result: ImportResult;

  beforeAll(async () => {
    records = memoryRecords();
    result = await importFolder(records, DATA);
  });

  it('imports every resource and rejects none', () => {
    expect(result.counts).toEqual(added(NDJSON_COUNTS, BUNDLE_COUNTS));
    expect(result).toMatchObject({ rejected: 0, noticed: 0, unknownTypes: {}, files: 77, filesIgnored: 2 });
  });

  it('keeps each id once: the staff that all three hospitals share is one', async () => {
    const stored = await records.countResources();
    expect(stored).toMatchObject({ Patient: 58, Condition: 803, Encounter: 2022, Observation: 4472 });
    expect(stored['Organization']).toBeLessThan(result.counts['Organization']!);
  });

  it('counts the same distinct patients as a plain reading of the files, for every condition code', async () => {
    const expected = naiveConditionCounts();
    expect(expected.size).toBeGreaterThan(100);
    for (const [code, patients] of expected) {
      expect([code, await count(records, `Condition?code=${code}`)]).toEqual([code, BigInt(patients)]);
    }
  });

  it('resolves urn:uuid references: every patient of a bundle owns their observations', async () => {
    expect(await count(records, 'Observation')).toBe(45n);
    expect(await count(records, 'Encounter')).toBe(58n);
  });

  it.each([
    ['hospital-a', 5n + 15n],
    ['hospital-b', 4n + 15n],
    ['hospital-c', 4n + 15n],
  ])('imports %s alone', async (hospital, patients) => {
    const alone = memoryRecords();
    const { rejected } = await importFolder(alone, `${DATA}/${hospital}`);
    expect(rejected).toBe(0);
    expect(await count(alone, 'Patient')).toBe(patients);
  });
});
