/** Inference over HTTP, with a logistic model whose answers are worked out by hand; and what it does when a model fails. */
import { afterEach, describe, expect, test } from 'vitest';
import { Registry } from 'prom-client';
import { registerInferenceMetrics } from '../../../agent/inference/metrics.ts';
import type { ModelMaker } from '../../../agent/inference/predictor.ts';
import { createInferenceService, type InferenceService } from '../../../agent/inference/service.ts';
import type { PulledModels } from '../../../agent/models/pulled.ts';
import { registerSiteModels } from '../../../agent/api/models.ts';
import { QflError } from '../../../shared/errors.ts';
import { Pseudonym } from '../../../shared/ids.ts';
import { modelOf } from '../../../shared/learning/models.ts';
import { inputShapeOf, tensorsOf } from '../../../shared/learning/tensors.ts';
import { silentLogger } from '../../../shared/log.ts';
import { modelDigest } from '../../../shared/models/record.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { writeFlat } from '../../../shared/tensor/safetensors.ts';
import type { ModelSpec } from '../../../shared/wire/learning.ts';
import { LearningData, type Scaling } from '../../../shared/wire/learning.ts';
import { type ModelRecord, ModelRecord as RecordSchema } from '../../../shared/wire/model.ts';
import { type PredictAnswer, PredictRequest } from '../../../shared/wire/pulled-model.ts';
import { startApp, type TestApp, TestClock } from '../http/fixture.ts';
import { DIABETES, newVersion } from '../models/fixture.ts';

const DATA = LearningData.parse({ target: 'x', features: [{ kind: 'age' }, { kind: 'sex', is: 'female' }] });
const clock = new TestClock();
const apps: TestApp[] = [];
afterEach(async () => {
  for (const { app } of apps.splice(0)) await app.close();
});

interface Parts {
  readonly spec?: ModelSpec;
  readonly data?: LearningData | null;
  readonly weights?: Float64Array;
  readonly make?: ModelMaker;
  readonly load?: PulledModels['load'];
}

/** Features that the model sees as they are given: what it says can be worked out by hand. */
const asTheyAre = (data: LearningData | null): Scaling | null => {
  if (data === null) return null;
  const numbers = data.features.length + (data.series?.channels.length ?? 0);
  return { mean: Array.from({ length: numbers }, () => 0), sd: Array.from({ length: numbers }, () => 1) };
};

const recordOf = ({ spec = { kind: 'logistic' }, data = DATA }: Parts, file: Uint8Array): ModelRecord =>
  RecordSchema.parse({
    v: 1,
    federation: 'test',
    name: DIABETES,
    version: 3,
    digest: modelDigest(file),
    bytes: file.byteLength,
    createdMs: 0,
    lineage: { ...newVersion(1).lineage, model: spec, data, dataHash: null, scaling: asTheyAre(data) },
    metrics: [],
  });

const serviceOf = (parts: Parts): InferenceService => {
  const { spec = { kind: 'logistic' as const }, data = DATA, weights = Float64Array.of(2, -1, 0.5) } = parts;
  const { tensors } = tensorsOf(spec, data ?? DATA);
  const file = writeFlat(tensors, weights);
  const record = recordOf(parts, file);
  return createInferenceService({
    models: {
      find: () => record,
      load: parts.load ?? (() => Promise.resolve({ record, file })),
    },
    modelOf: parts.make ?? modelOf,
    clock,
    random: secureRandomBytes,
    logger: silentLogger,
  });
};
const ask = (service: InferenceService, ...features: readonly Record<string, number>[]) =>
  service.predict(DIABETES, PredictRequest.parse({ examples: features.map((one) => ({ features: one })) }));
const code = (act: Promise<unknown>): Promise<string> =>
  act.then(
    () => 'done',
    (error: unknown) => (error instanceof QflError ? error.code : 'other'),
  );
const sigmoid = (score: number): number => 1 / (1 + Math.exp(-score));

describe('predictions', () => {
  test('are those of the model, with its version and digest, and are known the second time', async () => {
    const service = serviceOf({});
    const first = await ask(service, { age: 50, 'sex=female': 1 }, { age: 20 });
    const { tensors } = modelOf({ kind: 'logistic' }, inputShapeOf(DATA));
    // Which of the three numbers is the bias, the model says itself.
    const at = (name: string): number => tensors.find((part) => part.name === name)?.offset ?? -1;
    const weights = [2, -1, 0.5];
    const bias = weights[at('bias')]!;
    const [age, sex] = [weights[at('weight')]!, weights[at('weight') + 1]!];
    expect(first.predictions[0]!.probability).toBeCloseTo(sigmoid(age * 0.5 + sex + bias), 12);
    expect(first.predictions[1]!.probability).toBeCloseTo(sigmoid(age * 0.2 + bias), 12);
    expect(first).toMatchObject({ model: 'diabetes', version: 3, cached: 0 });
    const again = await ask(service, { age: 20 }, { age: 21 });
    expect(again.cached).toBe(1);
    expect(again.predictions[0]).toEqual(first.predictions[1]);
    expect(service.status()).toMatchObject({
      predictions: 4,
      errors: 0,
      coherence: 1,
      coherenceState: 'good',
    });
  });

  test('of a liquid model follow a series', async () => {
    const data = LearningData.parse({
      target: 'x',
      series: { channels: [{ code: 'hr', low: 0, high: 200 }], hours: 48, stepHours: 1, stepsMax: 48 },
    });
    const spec: ModelSpec = {
      kind: 'liquid',
      cell: 'cfc',
      units: 4,
      sparsity: 0.4,
      qubits: 0,
      wiringSeed: 1,
    };
    // It begins with a head of zeros, which says one half whatever it hears.
    const weights = modelOf(spec, inputShapeOf(data))
      .initial(7)
      .map((weight, at) => weight + Math.sin(at) / 4);
    const service = serviceOf({ spec, data, weights });
    const of = async (values: number[]): Promise<number> => {
      const examples = [{ series: { hours: values.map((_, at) => at), values: values.map((one) => [one]) } }];
      const answer = await service.predict(DIABETES, PredictRequest.parse({ examples }));
      return answer.predictions[0]!.probability;
    };
    const [calm, racing] = [await of([1, 1, 1]), await of([1, 3, 1])];
    expect(calm).toBeGreaterThan(0);
    expect(calm).not.toBe(racing);
    expect(await of([1, 1, 1])).toBe(calm);
  });

  test('of models that are not built in, or whose record says nothing of their data, are refused', async () => {
    const spec: ModelSpec = { kind: 'external', trainer: 'own', tensors: [{ name: 'w', shape: [3] }] };
    expect(await code(ask(serviceOf({ spec }), { age: 1 }))).toBe('invalid_request');
    expect(await code(ask(serviceOf({ data: null }), { age: 1 }))).toBe('invalid_request');
  });

  test('that hang on the last digits of the weights lower the coherence', async () => {
    const base = modelOf({ kind: 'logistic' }, inputShapeOf(DATA));
    const service = serviceOf({
      weights: Float64Array.of(0.1, 0.2, 0.3),
      // 0.1 is another number as a float32: this model tells one from the other.
      make: () => ({ ...base, predict: (weights) => (weights[0] === 0.1 ? 0.9 : 0.1) }),
    });
    expect((await ask(service, { age: 1 }, { age: 2 })).predictions.map(({ coherent }) => coherent)).toEqual([
      false,
      false,
    ]);
    expect(service.status()).toMatchObject({ coherence: 0, coherenceState: 'alert' });
  });
});

describe('a model that fails', () => {
  test('again and again is left alone, tried once after a while, and used again when it does well', async () => {
    const base = modelOf({ kind: 'logistic' }, inputShapeOf(DATA));
    let [isBroken, calls] = [true, 0];
    const service = serviceOf({
      make: () => ({
        ...base,
        predict() {
          calls += 1;
          return isBroken ? Number.NaN : 0.25;
        },
      }),
    });
    let age = 0;
    const next = (): Promise<PredictAnswer> => ask(service, { age: (age += 1) });
    for (let at = 0; at < 5; at += 1) expect(await code(next())).toBe('internal');
    const before = calls;
    expect(await code(next())).toBe('not_ready');
    expect(calls).toBe(before);
    expect(service.status()).toMatchObject({ errors: 6, breakers: [{ model: 'diabetes/3', state: 'open' }] });
    // What was asked wrongly is refused as before, and is no failure of the model.
    expect(await code(ask(service, { weight: 1 }))).toBe('invalid_request');
    clock.timeMs += 10_000;
    expect(service.status().breakers[0]?.state).toBe('half_open');
    expect(await code(next())).toBe('internal');
    expect(await code(next())).toBe('not_ready');
    clock.timeMs += 10_000;
    isBroken = false;
    expect(await code(next())).toBe('done');
    expect(await code(next())).toBe('done');
    expect(service.status().breakers[0]?.state).toBe('closed');
  });

  test('to load is loaded again at the next question', async () => {
    const { tensors } = tensorsOf({ kind: 'logistic' }, DATA);
    const file = writeFlat(tensors, Float64Array.of(1, 2, 3));
    let attempts = 0;
    const service = serviceOf({
      load() {
        attempts += 1;
        return attempts === 1
          ? Promise.reject(new QflError('bad_signature', { detail: 'changed' }))
          : Promise.resolve({ record: recordOf({}, file), file });
      },
    });
    expect(await code(ask(service, { age: 1 }))).toBe('bad_signature');
    expect(await code(ask(service, { age: 1 }))).toBe('done');
  });
});

describe('over HTTP', () => {
  const start = async (service: InferenceService) => {
    const app = await startApp();
    apps.push(app);
    const events: unknown[] = [];
    const unused = (): never => expect.unreachable('nothing is fetched here');
    registerSiteModels(app.app, {
      models: { pull: unused, find: unused, load: unused, verify: unused, remove: unused, list: () => [] },
      inference: service,
      audit: {
        record(event) {
          events.push(event);
          return Promise.resolve({ index: 0, leafHash: new Uint8Array(32), id: 'entry' });
        },
      },
      actorOf: ({ role }) => ({ actor: Pseudonym.parse('a'.repeat(32)), role }),
    });
    const keyOf = async (role: string): Promise<string> =>
      (await app.keys.mint({ name: role, role, department: 'icu', dataClass: 'internal' })).key;
    const post = async (body: object, key: string) => {
      const { statusCode, body: text } = await app.app.fastify.inject({
        method: 'POST',
        url: '/v1/models/diabetes/predict',
        headers: { authorization: `Bearer ${key}` },
        payload: body,
      });
      return { status: statusCode, body: JSON.parse(text) as unknown };
    };
    return { app, events, keyOf, post };
  };

  test('a doctor asks and is in the log; whose role may not is refused', async () => {
    const { app, events, keyOf, post } = await start(serviceOf({}));
    const body = { examples: [{ features: { age: 60 } }] };
    expect(await post(body, app.doctor)).toMatchObject({
      status: 200,
      body: { model: 'diabetes', version: 3, predictions: [{ coherent: true }] },
    });
    expect(events).toMatchObject([{ action: 'model.used', objects: [{ id: 'diabetes/3' }, {}] }]);
    expect((await post(body, await keyOf('researcher'))).status).toBe(403);
    expect((await post(body, 'nobody')).status).toBe(401);
    expect((await post({ examples: [] }, app.doctor)).status).toBe(400);
    expect((await post({ examples: [{ features: { nothing: 1 } }] }, app.doctor)).status).toBe(400);
    expect(events).toHaveLength(1);
  });

  test('what was not measured is not in the metrics', async () => {
    const service = serviceOf({});
    const registry = new Registry();
    registerInferenceMetrics(registry, () => service.status());
    const before = await registry.metrics();
    expect(before).not.toMatch(/^qfl_inference_coherence /m);
    expect(before).toMatch(/^qfl_inference_predictions_total 0$/m);
    await ask(service, { age: 1 });
    const after = await registry.metrics();
    expect(after).toMatch(/^qfl_inference_coherence 1$/m);
    expect(after).toMatch(/^qfl_inference_breaker_state\{model="diabetes\/3"\} 0$/m);
  });
});
