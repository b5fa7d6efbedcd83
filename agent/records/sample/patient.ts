/** One generated patient and everything about them, as FHIR R4 resources. */
import { Buffer } from 'node:buffer';
import type { Choices } from './random.ts';
import { type Disease, DISEASES, type Measurement, type Medication, VITALS } from './catalogue.ts';

export type FhirResource = { readonly resourceType: string; readonly id: string } & Readonly<
  Record<string, unknown>
>;

const LABEL = {
  meta: {
    tag: [
      {
        system: 'urn:quantum-federated-llm:provenance',
        code: 'generated',
        display: 'Generated record for demonstration; no real person',
      },
    ],
  },
};

const SYSTEM = {
  snomed: 'http://snomed.info/sct',
  loinc: 'http://loinc.org',
  rxnorm: 'http://www.nlm.nih.gov/research/umls/rxnorm',
  units: 'http://unitsofmeasure.org',
} as const;

/** The generated hospitals stand still on this day, so that a site always comes out the same. */
const TODAY = { year: 2025, month: 6, day: 30 } as const;

const coded = (system: string, code: string, display: string) => ({
  coding: [{ system, code, display }],
  text: display,
});
const two = (value: number): string => String(value).padStart(2, '0');
const dateText = (year: number, choices: Choices): string =>
  `${year}-${two(choices.between(1, 12))}-${two(choices.between(1, 28))}`;

interface Context {
  readonly choices: Choices;
  readonly patientId: string;
}

const subject = ({ patientId }: Context) => ({ subject: { reference: `Patient/${patientId}` } });

const encounter = (context: Context, day: string, reason: string): FhirResource => ({
  resourceType: 'Encounter',
  id: context.choices.id(),
  ...LABEL,
  status: 'finished',
  class: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'AMB' },
  type: [coded(SYSTEM.snomed, '185345009', 'Encounter for symptom (procedure)')],
  ...subject(context),
  period: { start: `${day}T09:00:00Z`, end: `${day}T09:30:00Z` },
  reasonCode: [{ text: reason }],
});

const observation = (
  context: Context,
  encounterId: string,
  day: string,
  item: Measurement,
): FhirResource => ({
  resourceType: 'Observation',
  id: context.choices.id(),
  ...LABEL,
  status: 'final',
  code: coded(SYSTEM.loinc, item.loinc, item.display),
  ...subject(context),
  encounter: { reference: `Encounter/${encounterId}` },
  effectiveDateTime: `${day}T09:10:00Z`,
  valueQuantity: {
    value: Number(Math.max(0, context.choices.around(item.mean, item.spread)).toFixed(item.digits)),
    unit: item.unit,
    system: SYSTEM.units,
    code: item.unit,
  },
});

const verificationOf = (choices: Choices): string => {
  const draw = choices.unit();
  if (draw < 0.01) return 'entered-in-error';
  return draw < 0.025 ? 'refuted' : 'confirmed';
};

const condition = (context: Context, encounterId: string, day: string, item: Disease): FhirResource => ({
  resourceType: 'Condition',
  id: context.choices.id(),
  ...LABEL,
  clinicalStatus: {
    coding: [{ system: 'http://terminology.hl7.org/CodeSystem/condition-clinical', code: 'active' }],
  },
  verificationStatus: {
    coding: [
      {
        system: 'http://terminology.hl7.org/CodeSystem/condition-ver-status',
        code: verificationOf(context.choices),
      },
    ],
  },
  code: coded(SYSTEM.snomed, item.snomed, item.display),
  ...subject(context),
  encounter: { reference: `Encounter/${encounterId}` },
  onsetDateTime: day,
});

const medicationRequest = (
  context: Context,
  encounterId: string,
  day: string,
  item: Medication,
): FhirResource => ({
  resourceType: 'MedicationRequest',
  id: context.choices.id(),
  ...LABEL,
  status: context.choices.chance(0.7) ? 'active' : 'stopped',
  intent: 'order',
  medicationCodeableConcept: coded(SYSTEM.rxnorm, item.rxnorm, item.display),
  ...subject(context),
  encounter: { reference: `Encounter/${encounterId}` },
  authoredOn: day,
});

const note = (
  context: Context,
  encounterId: string,
  day: string,
  about: readonly Disease[],
): FhirResource => {
  const problems =
    about.length === 0
      ? 'No long-term problem on record.'
      : `Known: ${about.map(({ display }) => display).join('; ')}.`;
  const text = `Generated note, no real person.\n${day}\nSeen in clinic. ${problems} Continue the current plan; review in ${context.choices.between(2, 12)} weeks.\n`;
  return {
    resourceType: 'DocumentReference',
    id: context.choices.id(),
    ...LABEL,
    status: 'current',
    type: coded(SYSTEM.loinc, '11506-3', 'Progress note'),
    ...subject(context),
    date: `${day}T09:30:00Z`,
    content: [
      {
        attachment: { contentType: 'text/plain; charset=utf-8', data: Buffer.from(text).toString('base64') },
      },
    ],
    context: { encounter: [{ reference: `Encounter/${encounterId}` }] },
  };
};

/** Linear from `youngShare` at 20 to 1 at 60, then on to 1.4 at most. */
const ageFactor = (age: number, youngShare: number): number =>
  Math.min(1.4, Math.max(0, youngShare + ((1 - youngShare) * (age - 20)) / 40));

const diseasesOf = (
  choices: Choices,
  age: number,
  siteFactor: ReadonlyMap<string, number>,
): readonly Disease[] =>
  DISEASES.filter((item) =>
    choices.chance(item.prevalence * ageFactor(age, item.youngShare) * (siteFactor.get(item.snomed) ?? 1)),
  );

const visit = (context: Context, about: readonly Disease[], item: Disease | undefined): FhirResource[] => {
  const { choices } = context;
  const day = dateText(choices.between(TODAY.year - 6, TODAY.year - 1), choices);
  const meeting = encounter(context, day, item?.display ?? 'Check-up');
  const measured = [...VITALS, ...(item?.measurements ?? [])];
  return [
    meeting,
    ...measured.map((what) => observation(context, meeting.id, day, what)),
    ...(item === undefined ? [] : [condition(context, meeting.id, day, item)]),
    ...(item?.medications ?? []).map((what) => medicationRequest(context, meeting.id, day, what)),
    note(context, meeting.id, day, about),
  ];
};

export interface GeneratedPatient {
  readonly id: string;
  readonly resources: readonly FhirResource[];
}

/** @param number from 1; the patient's only name besides the site's */
export const generatePatient = (
  choices: Choices,
  site: string,
  number: number,
  siteFactor: ReadonlyMap<string, number>,
): GeneratedPatient => {
  const id = choices.id();
  const age = Math.round(Math.min(97, Math.max(18, choices.around(56, 52))));
  const context: Context = { choices, patientId: id };
  const diseases = diseasesOf(choices, age, siteFactor);
  const person: FhirResource = {
    resourceType: 'Patient',
    id,
    ...LABEL,
    active: true,
    identifier: [{ system: `urn:quantum-federated-llm:generated:${site}`, value: `MRN-${number}` }],
    name: [{ use: 'official', family: `Generated-${site}`, given: [`Patient-${number}`] }],
    gender: choices.chance(0.52) ? 'female' : 'male',
    birthDate: dateText(TODAY.year - 1 - age, choices),
  };
  const visits =
    diseases.length === 0
      ? visit(context, diseases, undefined)
      : diseases.flatMap((item) => visit(context, diseases, item));
  return { id, resources: [person, ...visits] };
};

/** A consent that denies: the patient is stored and never counted. */
export const generateRefusal = (choices: Choices, patientId: string): FhirResource => ({
  resourceType: 'Consent',
  id: choices.id(),
  ...LABEL,
  status: 'active',
  scope: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentscope', code: 'research' }] },
  category: [{ coding: [{ system: 'http://loinc.org', code: '59284-0', display: 'Consent Document' }] }],
  patient: { reference: `Patient/${patientId}` },
  provision: { type: 'deny' },
});

/** A second Patient resource of the same person, as a hospital has after a merge; the first one replaced it. */
export const generateOldRecord = (choices: Choices, current: FhirResource): FhirResource => ({
  ...current,
  id: choices.id(),
  active: false,
  link: [{ other: { reference: `Patient/${current.id}` }, type: 'replaced-by' }],
});
