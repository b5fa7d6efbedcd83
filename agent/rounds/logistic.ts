/** Logistic regression over the records of this site: the sum of its patients' clipped gradients, with its share of the noise. */
import { breathe } from '../../shared/breathe.ts';
import { noiseOf, discreteGaussian } from '../../shared/privacy/mechanism.ts';
import { rational } from '../../shared/privacy/rational.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { createEncoder } from '../../shared/rounds/encode.ts';
import {
  gridOf,
  LOGISTIC,
  logisticPrice,
  parseLogistic,
  patientVector,
  sigmaOf,
  turnSeed,
  weightsFrom,
} from '../../shared/rounds/logistic.ts';
import type { RoundPlan } from '../../shared/rounds/plan.ts';
import type { Feature, LogisticSettings } from '../../shared/wire/round.ts';
import { parseCohortTree } from '../records/cohort-tree.ts';
import { parseCohort } from '../records/cohort.ts';
import { ageOn } from '../records/dates.ts';
import type { Records } from '../records/store.ts';
import { type VisitedPerson, walkPersons } from '../records/walk.ts';
import type { RoundWorker } from './work.ts';

/** Of one patient that are looked at: more conditions than anybody has. */
const ROWS_PER_PATIENT_MAX = 512;
const PATIENTS_PER_TURN = 16;

const codesOf = ({ features, target }: LogisticSettings): string[] => [
  target,
  ...features.flatMap((feature) => (feature.kind === 'condition' ? [feature.code] : [])),
];

/** A patient's inputs; undefined where one is not known: such a patient is not learnt from. */
const inputsOf = (
  features: readonly Feature[],
  person: VisitedPerson,
  held: ReadonlySet<string>,
  today: string,
): number[] | undefined => {
  const inputs: number[] = [];
  for (const feature of features) {
    if (feature.kind === 'condition') inputs.push(held.has(feature.code) ? 1 : 0);
    else if (feature.kind === 'sex') inputs.push(person.patient?.gender === feature.is ? 1 : 0);
    else {
      const age = ageOn(today, person.patient?.birthDate);
      if (age === undefined) return undefined;
      inputs.push(age / feature.scale);
    }
  }
  return inputs;
};

export interface LogisticOptions {
  readonly records: Records;
  readonly random: RandomBytes;
  /** The data blocks that a round reads; undefined where the site keeps none. */
  readonly blocks: (plan: RoundPlan) => readonly string[] | undefined;
}

export const createLogistic = ({ records, random, blocks }: LogisticOptions): RoundWorker => ({
  kind: LOGISTIC,
  priceOf: (plan) => logisticPrice(parseLogistic(plan), plan),
  async compute(plan, model, signal) {
    const work = parseLogistic(plan);
    const { settings, clip } = work;
    const weights = weightsFrom(model, settings);
    const grid = gridOf(settings, clip);
    // All noise is drawn before the records are read: how long that takes says nothing about them.
    const draw = noiseOf(discreteGaussian(rational(1n), sigmaOf(work.sigmaSquared)), random);
    const noise: number[] = [];
    for (let word = 0; word < grid.words; word += 1) {
      noise.push(Number(draw()));
      if (word % PATIENTS_PER_TURN === 0) await breathe();
    }
    const encoder = createEncoder(grid, turnSeed(plan.round), random);
    const codes = codesOf(settings);
    const today = new Date(plan.madeMs).toISOString().slice(0, 10);
    const walk = {
      tree: parseCohortTree('Patient'),
      sources: [
        {
          of: parseCohort('Condition'),
          perPatientMax: ROWS_PER_PATIENT_MAX,
          take: 'blind' as const,
          codes: codes.map((code) => ({ code })),
        },
      ],
      needsPatient: true,
      blocks: blocks(plan),
    };
    let visited = 0;
    for await (const person of walkPersons(records, walk, {}, signal)) {
      const held = new Set(
        (person.rows[0] ?? []).flatMap(({ code }) => (code === undefined ? [] : [codes[code]!])),
      );
      const inputs = inputsOf(settings.features, person, held, today);
      if (inputs !== undefined) encoder.add(patientVector(weights, inputs, held.has(settings.target), clip));
      visited += 1;
      if (visited % PATIENTS_PER_TURN === 0) await breathe();
    }
    const { sum } = encoder;
    for (const [word, value] of noise.entries()) sum[word] = (sum[word]! + value) | 0;
    return sum;
  },
});
