/**
 * One FHIR R4 resource → a `RecordDraft`. The schemas check what is used and nothing else: extensions and fields of
 * later versions pass; a wrong shape in a field that is used refuses the resource. Reasons name fields, never values.
 */
import { z } from 'zod';
import type {
  CodedTerm,
  MeasuredValue,
  PatientTarget,
  RecordDraft,
  RecordPart,
  RowAttributes,
} from '../draft.ts';
import { isCounted, isOptOut } from './exclusions.ts';
import { parseReference } from './references.ts';
import { type TypeRule, ruleOf } from './types.ts';

export const FhirId = z.string().regex(/^[A-Za-z0-9\-.]{1,64}$/);
export const FhirType = z.string().regex(/^[A-Z][A-Za-z]{1,63}$/);
const FhirDate = z
  .string()
  .max(64)
  .regex(/^\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01])(T.*)?)?)?$/);
const FhirInstant = z
  .string()
  .max(64)
  .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/);
const Token = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[^\s\p{Cc}]+( [^\s\p{Cc}]+)*$/u);
const Uri = z
  .string()
  .max(512)
  .regex(/^[^\s\p{Cc}|]*$/u);

export const Coding = z.looseObject({ system: Uri.optional(), code: Token.optional() });
export const Concept = z.looseObject({ coding: z.array(Coding).max(64).optional() });
const Concepts = z.union([Concept, z.array(Concept).max(64)]);
const Reference = z.looseObject({ reference: z.string().max(2048).optional() });
const Identifier = z.looseObject({
  system: z.string().max(512).optional(),
  value: z.string().max(512).optional(),
});

const BASE = {
  resourceType: FhirType,
  id: FhirId,
  meta: z
    .looseObject({ tag: z.array(Coding).max(64).optional(), security: z.array(Coding).max(64).optional() })
    .optional(),
};

const PatientShape = z.looseObject({
  ...BASE,
  gender: z.enum(['male', 'female', 'other', 'unknown']).optional(),
  birthDate: FhirDate.optional(),
  identifier: z.array(Identifier).max(256).optional(),
  link: z
    .array(z.looseObject({ other: Reference }))
    .max(256)
    .optional(),
});

const shapeOf = (rule: TypeRule) =>
  z.looseObject({
    ...BASE,
    status: Token.optional(),
    clinicalStatus: Concept.optional(),
    verificationStatus: Concept.optional(),
    doNotPerform: z.boolean().optional(),
    ...Object.fromEntries(rule.patient.map((field) => [field, Reference.optional()])),
    ...Object.fromEntries(rule.code.map((field) => [field, Concepts.optional()])),
  });

const shapes = new Map<string, ReturnType<typeof shapeOf>>();
const cachedShape = (type: string, rule: TypeRule) => {
  const known = shapes.get(type) ?? shapeOf(rule);
  shapes.set(type, known);
  return known;
};

export type Mapped =
  | { readonly kind: 'draft'; readonly draft: RecordDraft; readonly notice?: string }
  | { readonly kind: 'unknown'; readonly type: string }
  | { readonly kind: 'refused'; readonly reason: string; readonly type?: string };

const refused = (reason: string): Mapped => ({ kind: 'refused', reason });

/** Field names and what was wrong with them; array positions and values stay out. */
export const reasonOf = (error: z.ZodError): string => {
  const first = error.issues[0];
  const path = (first?.path ?? []).filter((part) => typeof part === 'string').join('.');
  return `${path === '' ? 'the resource' : path}: ${first?.code ?? 'invalid'}`;
};

const at = (resource: Readonly<Record<string, unknown>>, path: string): unknown =>
  path.split('.').reduce<unknown>((value, name) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    return Reflect.get(value, name);
  }, resource);

/** The day of a FHIR date or dateTime as written by its author; a year or month stands for its first day. */
const dayOf = (value: string): string =>
  value.length >= 10 ? value.slice(0, 10) : `${value}-01-01`.slice(0, 10);

const dateOf = (
  resource: Readonly<Record<string, unknown>>,
  fields: readonly string[],
): string | undefined => {
  for (const field of fields) {
    const parsed = FhirDate.safeParse(at(resource, field));
    if (parsed.success) return dayOf(parsed.data);
  }
  return undefined;
};

const SECOND_MS = 1_000;

/** The moment of a FHIR dateTime that has one: the time of day with its zone. */
const secondsOf = (
  resource: Readonly<Record<string, unknown>>,
  fields: readonly string[],
): number | undefined => {
  for (const field of fields) {
    const parsed = FhirInstant.safeParse(at(resource, field));
    const ms = parsed.success ? Date.parse(parsed.data) : Number.NaN;
    if (Number.isFinite(ms)) return Math.trunc(ms / SECOND_MS);
  }
  return undefined;
};

const conceptsIn = (value: unknown): readonly z.infer<typeof Concept>[] => {
  const parsed = Concepts.safeParse(value);
  if (!parsed.success) return [];
  return Array.isArray(parsed.data) ? parsed.data : [parsed.data];
};

const Contained = z.array(z.looseObject({ id: z.string().optional(), code: z.unknown().optional() }));

/** A medication given as a reference to a contained Medication carries its code there. */
const containedMedication = (resource: Readonly<Record<string, unknown>>): unknown => {
  const reference = at(resource, 'medicationReference.reference');
  if (typeof reference !== 'string' || !reference.startsWith('#')) return undefined;
  const contained = Contained.safeParse(resource['contained']).data ?? [];
  return contained.find(({ id }) => id === reference.slice(1))?.code;
};

const codesIn = (concepts: readonly z.infer<typeof Concept>[]): readonly CodedTerm[] => {
  const systems = new Map<string, Set<string>>();
  for (const { code, system } of concepts.flatMap(({ coding }) => coding ?? [])) {
    if (code !== undefined) systems.set(code, (systems.get(code) ?? new Set()).add(system ?? ''));
  }
  return [...systems].map(([code, under]) => ({ code, systems: [...under].toSorted() }));
};

const codesOf = (resource: Readonly<Record<string, unknown>>, rule: TypeRule): readonly CodedTerm[] => {
  const concepts = rule.code.flatMap((field) => conceptsIn(resource[field]));
  if (rule.code.includes('medicationCodeableConcept'))
    concepts.push(...conceptsIn(containedMedication(resource)));
  return codesIn(concepts);
};

/** `system|code` of the first code, of equal codes under the system that sorts first; a function of the resource alone. */
const nameOf = ([first]: readonly CodedTerm[]): string | undefined => {
  if (first === undefined) return undefined;
  const system = first.systems[0] ?? '';
  return system === '' ? first.code : `${system}|${first.code}`;
};

type Owner =
  | { readonly kind: 'owner'; readonly patient: PatientTarget | undefined }
  | { readonly kind: 'refused'; readonly reason: string };

const ownerOf = (resource: Readonly<Record<string, unknown>>, rule: TypeRule): Owner => {
  const text = rule.patient
    .map((field) => at(resource, `${field}.reference`))
    .find((value) => typeof value === 'string');
  if (text === undefined) {
    return rule.patientRequired
      ? { kind: 'refused', reason: `${rule.patient.join(', ')}: no reference to a patient` }
      : { kind: 'owner', patient: undefined };
  }
  const target = parseReference(text);
  if (target.kind === 'unresolvable')
    return { kind: 'refused', reason: `${rule.patient.join(', ')}: ${target.reason}` };
  if (target.type !== 'Patient') return { kind: 'owner', patient: undefined };
  return target.kind === 'resource'
    ? { kind: 'owner', patient: { kind: 'id', id: target.id } }
    : { kind: 'owner', patient: { kind: 'identifier', system: target.system, value: target.value } };
};

/**
 * `Patient.link` of all four kinds (replaced-by, replaces, refer, seealso) says "another Patient resource that
 * concerns the same actual person" (R4 Patient.link), so all four make one person; a RelatedPerson does not.
 */
const linksOf = (patient: z.infer<typeof PatientShape>): readonly string[] =>
  (patient.link ?? []).flatMap(({ other }) => {
    const target = parseReference(other.reference ?? '');
    return target.kind === 'resource' && target.type === 'Patient' && target.id !== patient.id
      ? [target.id]
      : [];
  });

const identifiersOf = ({ identifier = [] }: z.infer<typeof PatientShape>): RecordDraft['identifiers'] =>
  identifier.flatMap(({ system = '', value }) => (value === undefined ? [] : [{ system, value }]));

const mapPatient = (value: unknown): Mapped => {
  const parsed = PatientShape.safeParse(value);
  if (!parsed.success) return refused(reasonOf(parsed.error));
  const patient = parsed.data;
  const unlinked = (patient.link ?? []).length - linksOf(patient).length;
  const draft: RecordDraft = {
    type: 'Patient',
    id: patient.id,
    patient: { kind: 'id', id: patient.id },
    codes: [],
    attributes: {
      gender: patient.gender,
      birthDate: patient.birthDate === undefined ? undefined : dayOf(patient.birthDate),
    },
    parts: [],
    counted: true,
    optOut: isOptOut(patient),
    links: linksOf(patient),
    identifiers: identifiersOf(patient),
  };
  return unlinked === 0
    ? { kind: 'draft', draft }
    : { kind: 'draft', draft, notice: 'link.other: names no Patient by id, so it joins nothing' };
};

const statusOf = (resource: Readonly<Record<string, unknown>>, rule: TypeRule): string | undefined => {
  if (rule.status === 'status') return Token.safeParse(resource['status']).data;
  return conceptsIn(resource['clinicalStatus'])[0]?.coding?.[0]?.code;
};

const UNIT_LENGTH_MAX = 64;
const Quantity = z.looseObject({
  value: z.number(),
  comparator: z.unknown().optional(),
  unit: z.string().max(UNIT_LENGTH_MAX).optional(),
  code: z.string().max(UNIT_LENGTH_MAX).optional(),
});

/** `valueQuantity` as it is written. "Below 5" is no number: a quantity with a comparator has none. */
const quantityOf = (resource: Readonly<Record<string, unknown>>): MeasuredValue | undefined => {
  const quantity = Quantity.safeParse(resource['valueQuantity']).data;
  if (quantity === undefined || quantity.comparator !== undefined) return undefined;
  const units = [quantity.code, quantity.unit].filter((unit) => unit !== undefined);
  return { number: String(quantity.value), units: [...new Set(units)] };
};

const valueOf = (type: string, resource: Readonly<Record<string, unknown>>): MeasuredValue | undefined =>
  type === 'Observation' ? quantityOf(resource) : undefined;

const Components = z
  .array(z.looseObject({ code: Concept.optional() }))
  .max(256)
  .optional();

/**
 * `Observation.component`: what was measured together and has codes of its own, such as the two pressures of a blood pressure. Each one with a
 * code becomes a row with the date and status of the whole.
 */
const partsOf = (
  type: string,
  resource: Readonly<Record<string, unknown>>,
  whole: RowAttributes,
): readonly RecordPart[] | undefined => {
  if (type !== 'Observation') return [];
  const parsed = Components.safeParse(resource['component']);
  if (!parsed.success) return undefined;
  return (parsed.data ?? []).flatMap((component, position): RecordPart[] => {
    const codes = codesIn(conceptsIn(component.code));
    const attributes = { ...whole, value: quantityOf(component), name: nameOf(codes) };
    return codes.length === 0 ? [] : [{ at: position, codes, attributes }];
  });
};

const mapOther = (type: string, rule: TypeRule, value: unknown): Mapped => {
  const parsed = cachedShape(type, rule).safeParse(value);
  if (!parsed.success) return refused(reasonOf(parsed.error));
  const resource = parsed.data;
  const owner = ownerOf(resource, rule);
  if (owner.kind === 'refused') return refused(owner.reason);
  const optOut = type === 'Consent' && isOptOut(resource);
  if (optOut && owner.patient === undefined) return refused('patient: an opt-out that names no patient');
  const codes = codesOf(resource, rule);
  const attributes = {
    status: statusOf(resource, rule),
    date: dateOf(resource, rule.date),
    ...(type === 'Observation' ? { seconds: secondsOf(resource, rule.date) } : {}),
    value: valueOf(type, resource),
    name: nameOf(codes),
  };
  const parts = partsOf(type, resource, attributes);
  if (parts === undefined) return refused('component: not a list of at most 256 coded components');
  return {
    kind: 'draft',
    draft: {
      type,
      id: resource.id,
      patient: owner.patient,
      codes,
      attributes,
      parts,
      counted: isCounted(resource),
      optOut,
      links: [],
      identifiers: [],
    },
  };
};

const Typed = z.looseObject({ resourceType: FhirType });

/** Never throws: what is wrong comes back as a reason without content. */
export const mapResource = (value: unknown): Mapped => {
  const head = Typed.safeParse(value);
  if (!head.success) return refused('resourceType: missing or not a FHIR type name');
  const type = head.data.resourceType;
  const rule = ruleOf(type);
  if (rule === undefined) return { kind: 'unknown', type };
  const mapped = type === 'Patient' ? mapPatient(value) : mapOther(type, rule, value);
  return mapped.kind === 'refused' ? { ...mapped, type } : mapped;
};
