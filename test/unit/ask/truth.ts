/** Exact counts from FHIR resources, made without any code of the program that counts: what the answers are compared with. */
import { z } from 'zod';

const Coding = z.looseObject({ system: z.string().optional(), code: z.string().optional() });
const Concept = z.looseObject({ coding: z.array(Coding).optional() });
const Reference = z.looseObject({ reference: z.string() });
const Resource = z.looseObject({
  resourceType: z.string(),
  id: z.string(),
  gender: z.string().optional(),
  birthDate: z.string().optional(),
  subject: Reference.optional(),
  patient: Reference.optional(),
  link: z.array(z.looseObject({ other: Reference })).optional(),
  provision: z.looseObject({ type: z.string().optional() }).optional(),
  code: Concept.optional(),
  medicationCodeableConcept: Concept.optional(),
  verificationStatus: Concept.optional(),
});

export interface TruePerson {
  readonly gender: string;
  readonly birthDate: string;
  /** Codes of everything that counts. */
  readonly codes: ReadonlySet<string>;
}

const patientOf = (reference: string | undefined): string | undefined =>
  reference?.startsWith('Patient/') === true ? reference.slice('Patient/'.length) : undefined;

const NOT_COUNTED = new Set(['entered-in-error', 'refuted']);

/** Everybody who has not refused, merged records as one; for resources as the demonstration generator makes them. */
export const truePersons = (resources: Iterable<unknown>): readonly TruePerson[] => {
  const all = [...resources].map((resource) => Resource.parse(resource));
  const current = new Map<string, string>();
  for (const { resourceType, id, link } of all)
    if (resourceType === 'Patient') current.set(id, patientOf(link?.[0]?.other.reference) ?? id);
  const people = new Map<string, { gender: string; birthDate: string; codes: Set<string> }>();
  for (const { resourceType, id, gender = '', birthDate = '' } of all)
    if (resourceType === 'Patient' && current.get(id) === id)
      people.set(id, { gender, birthDate, codes: new Set() });
  for (const { resourceType, patient, provision } of all)
    if (resourceType === 'Consent' && provision?.type === 'deny')
      people.delete(current.get(patientOf(patient?.reference) ?? '') ?? '');
  for (const { subject, code, medicationCodeableConcept, verificationStatus } of all) {
    if (NOT_COUNTED.has(verificationStatus?.coding?.[0]?.code ?? '')) continue;
    const person = people.get(current.get(patientOf(subject?.reference) ?? '') ?? '');
    for (const concept of [code, medicationCodeableConcept])
      for (const { code: one } of concept?.coding ?? []) if (one !== undefined) person?.codes.add(one);
  }
  return [...people.values()];
};
