/**
 * Which FHIR R4 types are kept and where each says whose it is, what it is, in which state and since when
 * (https://hl7.org/fhir/R4/resourcelist.html). A type that is not in this table is counted by name and not stored.
 */
export interface TypeRule {
  /** Fields that may refer to the patient, first match wins. */
  readonly patient: readonly string[];
  /** Cardinality 1..1 in R4: a resource without it is refused. */
  readonly patientRequired: boolean;
  /** CodeableConcept fields (single or repeated) that a cohort's `code` looks at. */
  readonly code: readonly string[];
  /** A code, or a CodeableConcept. */
  readonly status: 'status' | 'clinicalStatus';
  /** Date fields, first present wins. */
  readonly date: readonly string[];
}

const rule = (
  patient: string,
  patientRequired: boolean,
  code: readonly string[],
  date: readonly string[],
  status: TypeRule['status'] = 'status',
): TypeRule => ({ patient: [patient], patientRequired, code, status, date });

const ADMINISTRATIVE: TypeRule = {
  patient: [],
  patientRequired: false,
  code: [],
  status: 'status',
  date: [],
};

/** Types a cohort may ask for, besides Patient. */
const CLINICAL_RULES = {
  AllergyIntolerance: rule('patient', true, ['code'], ['onsetDateTime', 'recordedDate'], 'clinicalStatus'),
  CarePlan: rule('subject', true, ['category'], ['period.start', 'created']),
  Condition: rule(
    'subject',
    true,
    ['code'],
    ['onsetDateTime', 'onsetPeriod.start', 'recordedDate'],
    'clinicalStatus',
  ),
  Device: rule('patient', false, ['type'], ['manufactureDate']),
  DiagnosticReport: rule(
    'subject',
    false,
    ['code'],
    ['effectiveDateTime', 'effectivePeriod.start', 'issued'],
  ),
  DocumentReference: rule('subject', false, ['type'], ['date']),
  Encounter: rule('subject', false, ['type'], ['period.start']),
  FamilyMemberHistory: rule('patient', true, ['relationship'], ['date']),
  Goal: rule('subject', true, ['description'], ['startDate']),
  ImagingStudy: rule('subject', true, ['procedureCode'], ['started']),
  Immunization: rule('patient', true, ['vaccineCode'], ['occurrenceDateTime', 'recorded']),
  MedicationAdministration: rule(
    'subject',
    true,
    ['medicationCodeableConcept'],
    ['effectiveDateTime', 'effectivePeriod.start'],
  ),
  MedicationDispense: rule(
    'subject',
    false,
    ['medicationCodeableConcept'],
    ['whenHandedOver', 'whenPrepared'],
  ),
  MedicationRequest: rule('subject', true, ['medicationCodeableConcept'], ['authoredOn']),
  MedicationStatement: rule(
    'subject',
    true,
    ['medicationCodeableConcept'],
    ['effectiveDateTime', 'effectivePeriod.start'],
  ),
  Observation: rule('subject', false, ['code'], ['effectiveDateTime', 'effectivePeriod.start', 'issued']),
  Procedure: rule('subject', true, ['code'], ['performedDateTime', 'performedPeriod.start']),
  ServiceRequest: rule('subject', true, ['code'], ['occurrenceDateTime', 'authoredOn']),
} satisfies Record<string, TypeRule>;

export type ClinicalType = keyof typeof CLINICAL_RULES;

const OTHER_RULES: Readonly<Record<string, TypeRule>> = {
  Account: ADMINISTRATIVE,
  CareTeam: rule('subject', false, ['category'], ['period.start']),
  Claim: rule('patient', true, ['type'], ['billablePeriod.start', 'created']),
  ClaimResponse: rule('patient', true, ['type'], ['created']),
  Communication: rule('subject', false, ['category'], ['sent']),
  Composition: rule('subject', false, ['type'], ['date']),
  Consent: rule('patient', false, ['category'], ['dateTime']),
  Coverage: rule('beneficiary', true, ['type'], ['period.start']),
  Endpoint: ADMINISTRATIVE,
  EpisodeOfCare: rule('patient', true, ['type'], ['period.start']),
  ExplanationOfBenefit: rule('patient', true, ['type'], ['billablePeriod.start', 'created']),
  Flag: rule('subject', true, ['code'], ['period.start']),
  Group: ADMINISTRATIVE,
  HealthcareService: ADMINISTRATIVE,
  Location: ADMINISTRATIVE,
  Medication: ADMINISTRATIVE,
  Organization: ADMINISTRATIVE,
  Patient: ADMINISTRATIVE,
  Practitioner: ADMINISTRATIVE,
  PractitionerRole: ADMINISTRATIVE,
  Provenance: ADMINISTRATIVE,
  QuestionnaireResponse: rule('subject', false, [], ['authored']),
  RelatedPerson: rule('patient', true, ['relationship'], ['period.start']),
  RiskAssessment: rule('subject', true, ['code'], ['occurrenceDateTime']),
  Specimen: rule('subject', false, ['type'], ['receivedTime']),
};

const RULES = new Map<string, TypeRule>(Object.entries({ ...CLINICAL_RULES, ...OTHER_RULES }));

export const ruleOf = (type: string): TypeRule | undefined => RULES.get(type);

export const COHORT_TYPES = ['Patient', ...Object.keys(CLINICAL_RULES)] as readonly [
  'Patient',
  ...ClinicalType[],
];
export type CohortType = (typeof COHORT_TYPES)[number];
