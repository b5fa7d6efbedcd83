import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { importFolder } from '../../../agent/records/import-fhir.ts';
import { generateHospital, hospitalResources } from '../../../agent/records/sample.ts';
import { count, memoryRecords, temporaryFolder } from '../../fixtures/fhir.ts';

const filesOf = async (folder: string): Promise<Readonly<Record<string, string>>> => {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  );
  const pairs = names.map(
    async ({ name, parentPath }) => [name, await readFile(join(parentPath, name), 'utf8')] as const,
  );
  return Object.fromEntries(await Promise.all(pairs));
};

describe('a generated hospital', () => {
  it('comes out the same for the same site and differs between sites', async () => {
    await using first = await temporaryFolder();
    await using second = await temporaryFolder();
    await using other = await temporaryFolder();
    await generateHospital(first.path, { site: 'north', patients: 20 });
    await generateHospital(second.path, { site: 'north', patients: 20 });
    await generateHospital(other.path, { site: 'south', patients: 20 });
    const made = await filesOf(first.path);
    expect(await filesOf(second.path)).toEqual(made);
    const elsewhere = await filesOf(other.path);
    expect(Object.keys(elsewhere).toSorted()).toEqual(Object.keys(made).toSorted());
    expect(elsewhere['Patient.ndjson']).not.toBe(made['Patient.ndjson']);
    expect(elsewhere['sepsis.md']).not.toBe(made['sepsis.md']);
  });

  it('goes through the import whole: every resource accepted, the manifest right', async () => {
    await using folder = await temporaryFolder();
    const made = await generateHospital(folder.path, { site: 'north' });
    const records = memoryRecords();
    const result = await importFolder(records, made.recordsFolder);
    expect(result).toMatchObject({ rejected: 0, noticed: 0, counts: made.counts, unknownTypes: {} });
    expect(made.documents).toBeGreaterThanOrEqual(6);
    // 400 persons less those who refused; the old records of merged patients add none.
    const refused = BigInt(made.counts['Consent'] ?? 0);
    expect(refused).toBeGreaterThan(0n);
    expect(made.counts['Patient']).toBeGreaterThan(400);
    expect(await count(records, 'Patient')).toBe(400n - refused);
    const hypertension = await count(records, 'Condition?code=http://snomed.info/sct|59621000');
    expect(hypertension).toBeGreaterThan(40n);
    expect(hypertension).toBeLessThan(200n);
  });

  it('labels every resource and every document as generated', async () => {
    for (const resource of hospitalResources({ site: 'east', patients: 30 })) {
      expect(resource).toMatchObject({ meta: { tag: [{ code: 'generated' }] } });
    }
    await using folder = await temporaryFolder();
    const { documentsFolder } = await generateHospital(folder.path, { site: 'east', patients: 1 });
    for (const text of Object.values(await filesOf(documentsFolder))) {
      expect(text).toContain('Demonstration text, generated. Not medical advice');
    }
  });

  it.each([0, -1, 1.5, 1_000_001])('refuses %d patients', async (patients) => {
    await expect(generateHospital('/nowhere', { site: 'x', patients })).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });
});
