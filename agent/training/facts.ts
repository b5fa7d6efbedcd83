/** Patients' facts from the records: what `LearningData` asks for, of each person once, by the same walk that statistics take. */
import { HOUR_MS, SECOND_MS } from '../../shared/clock.ts';
import type { Measurement, PatientFacts } from '../../shared/learning/facts.ts';
import type { LearningData } from '../../shared/wire/learning.ts';
import { Cohort, CODES_MAX } from '../records/cohort.ts';
import { parseCohortTree } from '../records/cohort-tree.ts';
import { ageOn } from '../records/dates.ts';
import type { Records } from '../records/store.ts';
import { type RowSource, type TakenRow, type VisitedPerson, walkPersons } from '../records/walk.ts';

/** Of one patient that are looked at: more conditions, and measurements of the codes asked for, than nearly anybody has. */
const CONDITIONS_MAX = 512;
const MEASUREMENTS_MAX = 4_096;
const NOON_HOURS = 12;

export interface FactsOf {
  /** Stable and blinded. */
  readonly key: string;
  readonly facts: PatientFacts;
}

interface Asked {
  readonly resource: 'Condition' | 'Observation';
  readonly codes: readonly string[];
}

/** Which codes of which rows are looked at, in pieces as long as a condition may be. */
const askedOf = ({ target, features, series }: LearningData): readonly Asked[] => {
  const conditions = new Set(typeof target === 'string' ? [target] : []);
  const measurements = new Set([
    ...(typeof target === 'string' ? [] : [target.code]),
    ...(series?.channels ?? []).map(({ code }) => code),
  ]);
  for (const feature of features) {
    if (feature.kind === 'condition') conditions.add(feature.code);
    if (feature.kind === 'observation' || feature.kind === 'is') measurements.add(feature.code);
  }
  const pieces = (resource: Asked['resource'], codes: readonly string[]): Asked[] =>
    Array.from({ length: Math.ceil(codes.length / CODES_MAX) }, (_, piece) => ({
      resource,
      codes: codes.slice(piece * CODES_MAX, (piece + 1) * CODES_MAX),
    }));
  return [...pieces('Condition', [...conditions]), ...pieces('Observation', [...measurements])];
};

const sourceOf = ({ resource, codes }: Asked): RowSource => ({
  of: Cohort.parse({ resource, where: [{ field: 'codes', of: codes.map((code) => ({ code })) }] }),
  perPatientMax: resource === 'Condition' ? CONDITIONS_MAX : MEASUREMENTS_MAX,
  take: 'latest',
  codes: codes.map((code) => ({ code })),
});

const hoursOf = ({ row: { seconds, date } }: TakenRow): number | undefined => {
  if (seconds !== undefined) return (seconds * SECOND_MS) / HOUR_MS;
  const ms = date === undefined ? Number.NaN : Date.parse(`${date}T00:00:00Z`);
  return Number.isFinite(ms) ? ms / HOUR_MS + NOON_HOURS : undefined;
};

/** What has no date, no number or no code that was asked for is not there. */
const measurementsOf = (rows: readonly TakenRow[], codes: readonly string[]): Measurement[] =>
  rows.flatMap((taken): Measurement[] => {
    const { value } = taken.row;
    const hours = hoursOf(taken);
    const number = Number(value?.number ?? Number.NaN);
    if (taken.code === undefined || hours === undefined || !Number.isFinite(number)) return [];
    return [{ code: codes[taken.code]!, units: value?.units ?? [], hours, value: number }];
  });

const heldOf = (rows: readonly TakenRow[], codes: readonly string[]): string[] =>
  rows.flatMap(({ code }) => (code === undefined ? [] : [codes[code]!]));

const factsOf = ({ patient, rows }: VisitedPerson, asked: readonly Asked[], today: string): PatientFacts => {
  const conditions = new Set<string>();
  const measurements: Measurement[] = [];
  for (const [at, { resource, codes }] of asked.entries()) {
    if (resource === 'Condition') for (const code of heldOf(rows[at]!, codes)) conditions.add(code);
    else measurements.push(...measurementsOf(rows[at]!, codes));
  }
  return {
    age: ageOn(today, patient?.birthDate),
    sex: patient?.gender,
    conditions,
    measurements: measurements.toSorted((one, other) => one.hours - other.hours),
  };
};

/** @param today `YYYY-MM-DD`, for ages */
export async function* walkFacts(
  records: Records,
  data: LearningData,
  { today, blocks }: { readonly today: string; readonly blocks: readonly string[] | undefined },
  signal: AbortSignal,
): AsyncGenerator<FactsOf> {
  const asked = askedOf(data);
  const walk = {
    tree: parseCohortTree('Patient'),
    sources: asked.map(sourceOf),
    needsPatient: true,
    blocks,
  };
  for await (const person of walkPersons(records, walk, {}, signal))
    yield { key: person.key, facts: factsOf(person, asked, today) };
}
