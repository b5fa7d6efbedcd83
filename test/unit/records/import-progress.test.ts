import { expect, it } from 'vitest';
import { formatImportResult } from '../../../agent/cli/import-progress.ts';
import { consentDeny, deletionBundle, importResources, memoryRecords, patient } from '../../fixtures/fhir.ts';

it('says what came, what did not and where', async () => {
  const result = await importResources(memoryRecords(), [
    patient('p'),
    patient('q'),
    { resourceType: 'Horse', id: 'h' },
    consentDeny('c', 'p', { patient: undefined }),
    ...Array.from({ length: 25 }, () => ({ resourceType: 'Condition', id: 'x' })),
    deletionBundle('Patient/q'),
  ]);
  const text = formatImportResult(result);
  expect(
    text
      .split('\n')
      .slice(0, 3)
      .map((line) => line.replace(/\s+/g, ' ').trim()),
  ).toEqual(['2 resources from 1 files', 'Patient 2', 'deleted 1']);
  expect(text).toContain('1 consents could not be read');
  expect(text).toContain('26 skipped, 0 noticed');
  expect(text).toContain('all.ndjson:4  patient: an opt-out that names no patient');
  expect(text).toContain('… and 6 more');
  expect(text).toMatch(/Horse +1/);
});
