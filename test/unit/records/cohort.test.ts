import { describe, expect, it } from 'vitest';
import { canonicalCohort, parseCohort, parseCohortOptions } from '../../../agent/records/cohort.ts';

describe('cohorts', () => {
  it('reads the command line, the query form and JSON alike', () => {
    const fromOptions = parseCohortOptions('Condition', [
      'code=http://snomed.info/sct|44054006',
      'gender=female',
    ]);
    const fromText = parseCohort('Condition?gender=female&code=http://snomed.info/sct|44054006');
    const fromJson = parseCohort({
      resource: 'Condition',
      where: [
        { field: 'code', system: 'http://snomed.info/sct', code: '44054006' },
        { field: 'gender', value: 'female' },
      ],
    });
    expect(canonicalCohort(fromOptions)).toBe(canonicalCohort(fromText));
    expect(canonicalCohort(fromJson)).toBe(canonicalCohort(fromText));
    expect(canonicalCohort(fromText)).toBe(
      '{"resource":"Condition","where":[{"field":"code","system":"http://snomed.info/sct","code":"44054006"},' +
        '{"field":"gender","value":"female"}]}',
    );
  });

  it.each([
    ['ge1960-01-01|lt2000-01-01', { from: '1960-01-01', before: '2000-01-01' }],
    ['1960', { from: '1960-01-01', before: '1961-01-01' }],
    ['gt1999', { from: '2000-01-01' }],
    ['le1999-12', { before: '2000-01-01' }],
    ['le2020-02-28', { before: '2020-02-29' }],
    ['gt1999-12-31|ge1980', { from: '2000-01-01' }],
  ])('reads birthdate=%s as whole days', (text, interval) => {
    expect(parseCohort(`Patient?birthdate=${text}`).where).toEqual([{ field: 'birthdate', ...interval }]);
  });

  it.each([
    ['an unknown type', 'Horse'],
    ['an unknown field', 'Condition?name=Smith'],
    ['no value', 'Condition?code='],
    ['no field', 'Condition?=x'],
    ['a code on Patient', 'Patient?code=1'],
    ['a gender that is none', 'Patient?gender=f'],
    ['a day that is none', 'Patient?birthdate=2001-02-30'],
    ['an empty interval', 'Patient?birthdate=ge2000|lt1990'],
    [
      'too many conditions',
      `Condition?${Array.from({ length: 9 }, (_, index) => `code=${index}`).join('&')}`,
    ],
    ['a control character', 'Condition?code=a\u0000b'],
    ['an unknown JSON field', { resource: 'Condition', where: [], limit: 3 }],
    [
      'an unknown condition field',
      { resource: 'Condition', where: [{ field: 'code', code: 'x', join: 'y' }] },
    ],
    ['a number', 7],
  ])('refuses %s', (_, input) => {
    expect(() => parseCohort(input)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });
});
