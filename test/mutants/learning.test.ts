/** What a training would give away if one of its rules were left out, and that the check notices. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLearners } from '../../agent/rounds/learning.ts';
import type { SitePatient } from '../../agent/training/examples.ts';
import {
  afterFailure,
  nextStage,
  NOTHING_YET,
  planStage,
  rhoOf,
  type StageName,
  type TrainingState,
} from '../../coordinator/rounds/training-plan.ts';
import { RoundId } from '../../shared/ids.ts';
import { tensorsOf } from '../../shared/learning/tensors.ts';
import { rhoBudget } from '../../shared/privacy/conversion.ts';
import { boundSquared } from '../../shared/rounds/encode.ts';
import { weightBytes } from '../../shared/rounds/noise.ts';
import { seeded } from '../../shared/seeded.ts';
import { TrainingRequest } from '../../shared/wire/training.ts';
import { planFor, randomFrom, siteAt } from '../unit/rounds/simulation.ts';

const SITES = 4;
const REQUEST = TrainingRequest.parse({
  data: {
    target: 'ill',
    features: [
      { kind: 'observation', code: 'x', low: 0, high: 8 },
      { kind: 'observation', code: 'x', take: 'max', low: 0, high: 8 },
      { kind: 'is', code: 'y', value: 1 },
    ],
  },
  rounds: 6,
  epsilon: 2,
  clip: 0.5,
  sites: Array.from({ length: SITES }, (_, at) => siteAt(at)),
});

describe('the budget of a training', () => {
  const step = { round: RoundId.parse('0'.repeat(32)), patients: 1, loss: 1, accuracy: 1, survivors: 4 };
  type Failing = (state: TrainingState, stage: StageName) => TrainingState;
  /** rho of all rounds that were charged, where some of them gave no sum. */
  const chargedIn = (outcomes: readonly boolean[], failing: Failing): number => {
    let [state, charged]: [TrainingState, number] = [NOTHING_YET, 0];
    for (const isFine of outcomes) {
      const stage = nextStage(REQUEST, state);
      if (stage === undefined) break;
      charged += rhoOf(REQUEST, stage);
      if (!isFine) state = failing(state, stage);
      else if (stage === 'moments') state = { ...state, scaling: { mean: [], sd: [] } };
      else if (stage === 'scores') state = { ...state, isScored: true };
      else state = { ...state, steps: [...state.steps, step] };
    }
    return charged;
  };
  const outcomes = fc.array(fc.boolean(), { maxLength: 40 });
  const whole = rhoBudget(REQUEST.epsilon, REQUEST.delta) * (1 + 1e-9);
  const keepsTo = (failing: Failing): boolean => {
    const property = fc.property(outcomes, (some) => chargedIn(some, failing) <= whole);
    return !fc.check(property, { numRuns: 500, seed: 7 }).failed;
  };

  it('is kept to whichever of its rounds fail; not where a failed round takes no step’s place', () => {
    expect(keepsTo((state, stage) => afterFailure(REQUEST, state, stage))).toBe(true);
    expect(keepsTo((state) => state)).toBe(false);
  });
});

const number = fc.oneof(
  fc.double({ min: -1e9, max: 1e9, noNaN: true }),
  fc.constantFrom(Number.NaN, 0, 8, 1e308, -1e308),
);
const patient = fc.record({
  raw: fc.record({
    inputs: fc.array(number, { minLength: 3, maxLength: 3 }).map((values) => Float64Array.from(values)),
    series: fc.constant(undefined),
    target: fc.constantFrom<0 | 1>(0, 1),
  }),
  place: fc.double({ min: 0, max: 0.999, noNaN: true }),
});

describe.each(['moments', 'step', 'scores'] as const)('one patient in the vector of a site: %s', (name) => {
  const stage = planStage(REQUEST, NOTHING_YET, name);
  const { plan } = planFor(SITES, stage.grid.words, { work: stage.work, privacy: stage.privacy });
  const model = weightBytes(
    tensorsOf(REQUEST.model, REQUEST.data)
      .initial(1)
      .map((_, at) => at - 1),
  );
  const vectorOf = (patients: readonly SitePatient[]): Promise<Int32Array> => {
    // The same chances each time: what differs is the patient.
    const random = randomFrom(seeded(11));
    const learners = createLearners({
      examples: { read: () => Promise.resolve(patients) },
      random,
      blocks: () => undefined,
    });
    const worker = learners.find(({ kind }) => kind === stage.work.kind)!;
    return worker.compute(plan, model, new AbortController().signal);
  };
  const movedBy = async (before: readonly SitePatient[], after: readonly SitePatient[]): Promise<bigint> => {
    const [left, right] = [await vectorOf(before), await vectorOf(after)];
    return left.reduce((sum, value, at) => sum + BigInt(value - right[at]!) ** 2n, 0n);
  };

  it('moves it by no more than the noise is made for', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(patient, { maxLength: 3 }), patient, async (others, one) => {
        expect(await movedBy(others, [...others, one])).toBeLessThanOrEqual(boundSquared(stage.grid));
      }),
      { numRuns: 60 },
    );
  });

  it('who counts twice is noticed', async () => {
    const raw = { inputs: Float64Array.of(8, 8, 1), series: undefined, target: 0 as const };
    const one = { raw, place: name === 'scores' ? 0.01 : 0.9 };
    expect(await movedBy([], [one, one])).toBeGreaterThan(boundSquared(stage.grid));
  });

  it('who is held out is in the scores only, and the others only in what is learnt', async () => {
    const raw = { inputs: Float64Array.of(8, 8, 1), series: undefined, target: 0 as const };
    const [heldOut, learntFrom] = [
      await movedBy([], [{ raw, place: 0.01 }]),
      await movedBy([], [{ raw, place: 0.9 }]),
    ];
    expect([heldOut > 0n, learntFrom > 0n]).toEqual(name === 'scores' ? [true, false] : [false, true]);
  });
});
