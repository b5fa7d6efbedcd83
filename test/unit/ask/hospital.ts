/** Small random hospitals for the tests of `ask`: patients with terms, links, refusals. Generated, no real person. */
import fc from 'fast-check';
import type { Records } from '../../../agent/records/store.ts';
import {
  condition,
  consentDeny,
  importResources,
  memoryRecords,
  patient,
  type Resource,
  SNOMED,
} from '../../fixtures/fhir.ts';

/** Codes of conditions in the list; the last is none. */
export const CODES = [
  '59621000',
  '44054006',
  '55822004',
  '195967001',
  '13645005',
  '84114007',
  '1234567',
] as const;

export interface RandomPatient {
  readonly sex: 'female' | 'male';
  readonly birthYear: number;
  readonly codes: readonly string[];
  /** Has a second Patient resource, with these codes. */
  readonly linked: readonly string[] | undefined;
  readonly refuses: boolean;
}

export const randomPatient: fc.Arbitrary<RandomPatient> = fc.record({
  sex: fc.constantFrom('female' as const, 'male' as const),
  birthYear: fc.integer({ min: 1930, max: 2010 }),
  codes: fc.array(fc.constantFrom(...CODES), { maxLength: 7 }),
  linked: fc.option(fc.array(fc.constantFrom(...CODES), { maxLength: 4 }), { nil: undefined, freq: 3 }),
  refuses: fc.boolean().map((refuses) => refuses),
});

/** Named, so that there is something to read: "note 59621000". */
const named = (id: string, patientId: string, code: string): Resource =>
  condition(id, patientId, code, { code: { coding: [{ system: SNOMED, code }], text: `note ${code}` } });

export const resourcesOf = (person: RandomPatient, at: number): readonly Resource[] => {
  const id = `p${at}`;
  const about = { gender: person.sex, birthDate: `${person.birthYear}-01-01` };
  const old = `${id}-old`;
  return [
    patient(id, about),
    ...person.codes.map((code, row) => named(`${id}-c${row}`, id, code)),
    ...(person.linked === undefined
      ? []
      : [
          patient(old, { ...about, link: [{ other: { reference: `Patient/${id}` }, type: 'replaced-by' }] }),
          ...person.linked.map((code, row) => named(`${old}-c${row}`, old, code)),
        ]),
    ...(person.refuses && at % 3 === 0
      ? [consentDeny(`${id}-no`, person.linked === undefined ? id : old)]
      : []),
  ];
};

/** A hospital of these people, each under their own number; `without` leaves one person out with everything about them. */
export const hospitalOf = async (people: readonly RandomPatient[], without?: number): Promise<Records> => {
  const records = memoryRecords();
  await importResources(
    records,
    people.flatMap((person, at) => (at === without ? [] : resourcesOf(person, at))),
  );
  return records;
};
