/** The federation's model fitted to a hospital's own patients: what it changes, when it is made again, and where it is refused. */
import { describe, expect, it } from 'vitest';
import { createLocalFit } from '../../../agent/inference/local-fit.ts';
import { createInferenceService } from '../../../agent/inference/service.ts';
import type { LoadedModel } from '../../../agent/models/pulled.ts';
import type { SitePatient } from '../../../agent/training/examples.ts';
import { systemClock } from '../../../shared/clock.ts';
import { modelOf } from '../../../shared/learning/models.ts';
import { tensorsOf } from '../../../shared/learning/tensors.ts';
import { silentLogger } from '../../../shared/log.ts';
import { modelDigest } from '../../../shared/models/record.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { seeded } from '../../../shared/seeded.ts';
import { writeFlat } from '../../../shared/tensor/safetensors.ts';
import { LearningData, type ModelSpec } from '../../../shared/wire/learning.ts';
import { ModelName, ModelRecord } from '../../../shared/wire/model.ts';
import { PredictRequest } from '../../../shared/wire/pulled-model.ts';

const NAME = ModelName.parse('illness');
const DATA = LearningData.parse({
  target: 'ill',
  features: [{ kind: 'observation', code: 'x', low: 0, high: 8 }],
});

const loadedModel = (model: ModelSpec): LoadedModel => {
  const { tensors, size } = tensorsOf(model, DATA);
  // The federation: higher values, more illness, half of all ill at the mean.
  const file = writeFlat(
    tensors,
    Float64Array.from({ length: size }, (_, at) => (at === 0 ? 1 : 0)),
  );
  const record = ModelRecord.parse({
    v: 1,
    federation: 'test',
    name: NAME,
    version: 1,
    digest: modelDigest(file),
    bytes: file.byteLength,
    createdMs: 0,
    lineage: {
      training: null,
      rounds: [],
      sites: [],
      model,
      data: DATA,
      dataHash: null,
      scaling: { mean: [4], sd: [2] },
      privacy: { unit: 'patient', epsilon: 1, delta: 1e-6 },
    },
    metrics: [],
  });
  return { record, file };
};

/** Here nearly everybody is ill, as in a hospital that others refer to. */
const patientsHere = (count: number): SitePatient[] => {
  const random = seeded(3);
  return Array.from({ length: count }, () => ({
    raw: {
      inputs: Float64Array.of(8 * random.uniform()),
      series: undefined,
      target: random.uniform() < 0.95 ? 1 : 0,
    },
    place: random.uniform(),
  }));
};

interface Given {
  readonly patients?: number;
  readonly isAllowed?: boolean;
  readonly model?: ModelSpec;
}
const setUp = ({ patients = 300, isAllowed = true, model = { kind: 'logistic' } }: Given = {}) => {
  const state = { revision: 0, reads: 0, patients: patientsHere(patients) };
  const loaded = loadedModel(model);
  const localFit = createLocalFit({
    records: { revision: () => state.revision },
    examples: {
      read() {
        state.reads += 1;
        return Promise.resolve(state.patients);
      },
    },
    clock: systemClock,
  });
  const service = createInferenceService({
    models: { find: () => loaded.record, load: () => Promise.resolve(loaded) },
    modelOf,
    clock: systemClock,
    random: secureRandomBytes,
    logger: silentLogger,
    localFit: isAllowed ? localFit : undefined,
  });
  const ask = async (fitted: boolean): Promise<number> => {
    const answer = await service.predict(
      NAME,
      PredictRequest.parse({ fitted, examples: [{ features: { 'observation=x': 4 } }] }),
    );
    expect(answer.fitted).toBe(fitted);
    return answer.predictions[0]!.probability;
  };
  return { state, ask };
};

describe('a model fitted to the hospital’s own patients', () => {
  it('says what is so here, beside what is so everywhere', async () => {
    const { ask } = setUp();
    expect(await ask(false)).toBeCloseTo(0.5, 6);
    expect(await ask(true)).toBeGreaterThan(0.85);
  });

  it('is made once, and again when anything is written to the records', async () => {
    const { ask, state } = setUp();
    const before = await ask(true);
    await ask(true);
    expect(state.reads).toBe(1);
    state.revision += 1;
    state.patients = state.patients.map(({ raw, place }) => ({ raw: { ...raw, target: 0 }, place }));
    expect(await ask(true)).toBeLessThan(before / 2);
    expect(state.reads).toBe(2);
  });

  it.each([
    ['where the site does not allow it', { isAllowed: false }, 'forbidden'],
    ['of a handful of patients', { patients: 5 }, 'not_ready'],
    [
      'of a model that is not linear',
      { model: { kind: 'perceptron' as const, hidden: [4] } },
      'invalid_request',
    ],
  ])('is refused %s, and others are answered', async (_, given, code) => {
    const { ask } = setUp(given);
    await expect(ask(true)).rejects.toMatchObject({ code });
    expect(await ask(false)).toBeGreaterThan(0);
  });
});
