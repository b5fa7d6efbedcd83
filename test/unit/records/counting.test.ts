import { describe, expect, it } from 'vitest';
import { applyOptOutList } from '../../../agent/records/opt-out-list.ts';
import { loadPersons } from '../../../agent/records/persons.ts';
import {
  condition,
  consentDeny,
  count,
  COUNTING_RESOURCES,
  deletionBundle,
  DIABETES,
  importResources,
  memoryRecords,
  patient,
  wrongCounts,
} from '../../fixtures/fhir.ts';

describe('counting distinct patients', () => {
  it('counts persons, not rows, and only those it may', async () => {
    const records = memoryRecords();
    await importResources(records, COUNTING_RESOURCES);
    expect(await wrongCounts(records)).toEqual([]);
  });

  it('stops counting a patient from the moment they opt out, and counts them again when they take it back', async () => {
    const records = memoryRecords();
    await importResources(records, [patient('p'), condition('c', 'p')]);
    expect(await count(records, 'Condition')).toBe(1n);
    await records.optOut('p');
    expect(await count(records, 'Condition')).toBe(0n);
    expect(await records.isOptedOut('p')).toBe(true);
    await records.withdrawOptOut('p');
    expect(await count(records, 'Condition')).toBe(1n);
  });

  it('keeps an opt-out that came before the records and through a deletion', async () => {
    const records = memoryRecords();
    await records.optOut('p');
    await importResources(records, [patient('p')]);
    expect(await count(records, 'Patient')).toBe(0n);
    await records.deletePatient('p');
    await importResources(records, [patient('p')]);
    expect(await count(records, 'Patient')).toBe(0n);
  });

  it('leaves a merged person out when one of their records opted out', async () => {
    const records = memoryRecords();
    const linked = patient('old', { link: [{ other: { reference: 'Patient/new' }, type: 'replaced-by' }] });
    await importResources(records, [patient('new'), linked, condition('c', 'new'), consentDeny('x', 'old')]);
    expect(await count(records, 'Condition')).toBe(0n);
  });

  it.each(['replaced-by', 'replaces', 'refer', 'seealso'])('joins two records by a %s link', async (type) => {
    const records = memoryRecords();
    await importResources(records, [
      patient('a', { link: [{ other: { reference: 'Patient/b' }, type }] }),
      patient('b'),
      patient('c'),
    ]);
    expect(await count(records, 'Patient')).toBe(2n);
  });

  it('parts them again when the record that links them is replaced without the link', async () => {
    const records = memoryRecords();
    await importResources(records, [
      patient('a', { link: [{ other: { reference: 'Patient/b' }, type: 'refer' }] }),
      patient('b'),
    ]);
    expect(await count(records, 'Patient')).toBe(1n);
    await importResources(records, [patient('a')]);
    expect(await count(records, 'Patient')).toBe(2n);
  });

  it('refuses to count when more patients are linked than it may hold', async () => {
    const records = memoryRecords();
    const chain = Array.from({ length: 5 }, (_, index) =>
      patient(`p${index}`, { link: [{ other: { reference: `Patient/p${index + 1}` }, type: 'refer' }] }),
    );
    await importResources(records, chain);
    await expect(loadPersons(records.store, 4)).rejects.toMatchObject({ code: 'too_large' });
    const persons = await loadPersons(records.store, 6);
    expect(persons.personOf(records.keys.patient('p0'))).toBe(persons.personOf(records.keys.patient('p5')));
  });

  it.each([
    ['a deny', {}, 0n],
    ['a nested deny', { provision: { type: 'permit', provision: [{ type: 'deny' }] } }, 0n],
    ['an opt-out policy rule', { provision: {}, policyRule: { coding: [{ code: 'OPTOUT' }] } }, 0n],
    ['a permission', { provision: { type: 'permit' } }, 1n],
    ['a deny that is no longer in force', { status: 'inactive' }, 1n],
  ])('reads a consent with %s', async (_, more, expected) => {
    const records = memoryRecords();
    await importResources(records, [patient('p'), consentDeny('c', 'p', more)]);
    expect(await count(records, 'Patient')).toBe(expected);
  });

  it('takes a consent back when it is deleted or becomes a permission', async () => {
    const records = memoryRecords();
    await importResources(records, [patient('p'), consentDeny('c', 'p')]);
    await importResources(records, [consentDeny('c', 'p', { provision: { type: 'permit' } })]);
    expect(await count(records, 'Patient')).toBe(1n);
    await importResources(records, [consentDeny('c', 'p')]);
    expect(await count(records, 'Patient')).toBe(0n);
    await importResources(records, [deletionBundle('Consent/c')]);
    expect(await count(records, 'Patient')).toBe(1n);
  });

  it.each(['tag', 'security'])('honours an opt-out label in meta.%s of a patient', async (field) => {
    const records = memoryRecords();
    await importResources(records, [
      patient('p', { meta: { [field]: [{ code: 'opt-out' }] } }),
      patient('q'),
    ]);
    expect(await count(records, 'Patient')).toBe(1n);
  });

  it.each([
    ['entered in error', { verificationStatus: { coding: [{ code: 'entered-in-error' }] } }],
    ['refuted', { verificationStatus: { coding: [{ code: 'refuted' }] } }],
    ['labelled opt-out', { meta: { security: [{ code: 'NODSCLCD' }] } }],
    ['ordered not to be done', { doNotPerform: true }],
    ['not done', { status: 'not-done' }],
    ['status entered in error', { status: 'entered-in-error' }],
  ])('leaves a row out that is %s', async (_, more) => {
    const records = memoryRecords();
    await importResources(records, [patient('p'), condition('c', 'p', DIABETES, more)]);
    expect(await count(records, 'Condition')).toBe(0n);
    expect(await count(records, `Condition?code=${DIABETES}`)).toBe(0n);
    expect(await records.countResources()).toMatchObject({ Condition: 1 });
  });

  it('does not count rows of a patient whose own record is not here', async () => {
    const records = memoryRecords();
    await importResources(records, [condition('c', 'nobody')]);
    expect(await count(records, 'Condition')).toBe(0n);
    await importResources(records, [patient('nobody')]);
    expect(await count(records, 'Condition')).toBe(1n);
  });

  it('asks all conditions of the same row', async () => {
    const records = memoryRecords();
    const both = { code: { coding: [{ code: 'x' }, { code: 'y' }] } };
    await importResources(records, [
      patient('p'),
      condition('c1', 'p', 'x'),
      condition('c2', 'p', 'y'),
      patient('q'),
      condition('c3', 'q', 'x', both),
    ]);
    expect(await count(records, 'Condition?code=x&code=y')).toBe(1n);
    expect(await count(records, 'Condition?code=x&status=active&date=ge2015|lt2016')).toBe(2n);
    expect(await count(records, 'Condition?code=x&status=resolved')).toBe(0n);
    expect(await count(records, 'Condition?code=x&date=gt2015')).toBe(0n);
  });

  it('reads a list of opt-outs, and none of it when a line is wrong', async () => {
    const records = memoryRecords();
    await importResources(records, [patient('a'), patient('b'), patient('c')]);
    await expect(applyOptOutList(records, 'a\nnot an id\n')).rejects.toMatchObject({
      code: 'invalid_request',
    });
    expect(await count(records, 'Patient')).toBe(3n);
    expect(await applyOptOutList(records, '# list\r\na\r\n\r\nPatient/b # asked on the phone\r\n')).toBe(2);
    expect(await count(records, 'Patient')).toBe(1n);
    await expect(records.optOut('no such\u0000id')).rejects.toMatchObject({ code: 'invalid_request' });
  });
});
