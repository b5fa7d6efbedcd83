/**
 * `inference [--requests N] [--rate R] [--again SHARE]`: predictions over HTTP at a site, as clients see them. A liquid network (CfC, 32 units, sparsity 0.4)
 * that follows 36 channels over 48 steps, one patient a request, R requests a second whether answers come or not (each counts from when it was due), a share
 * of the patients asked about a second time. Milliseconds a request against what one evaluation alone costs (the floor: no HTTP, no log, no second evaluation),
 * and the share of requests that failed. Clients run in the same process; the audit log is in memory: its disk is not measured.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { registerSiteModels } from '../../agent/api/models.ts';
import { createInferenceService } from '../../agent/inference/service.ts';
import { accessRulesOf } from '../../shared/access/rules.ts';
import { systemClock } from '../../shared/clock.ts';
import { createApiKeys, keyAuthenticator } from '../../shared/http/api-keys.ts';
import { createHttpApp } from '../../shared/http/app.ts';
import { createHttpClient } from '../../shared/http/client.ts';
import { DepartmentId, Pseudonym } from '../../shared/ids.ts';
import { modelOf } from '../../shared/learning/models.ts';
import { inputShapeOf } from '../../shared/learning/tensors.ts';
import { silentLogger } from '../../shared/log.ts';
import { modelDigest } from '../../shared/models/record.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { seeded } from '../../shared/seeded.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { writeFlat } from '../../shared/tensor/safetensors.ts';
import { LearningData, ModelSpec } from '../../shared/wire/learning.ts';
import { ModelRecord } from '../../shared/wire/model.ts';
import { PredictAnswer, type PredictExample } from '../../shared/wire/pulled-model.ts';

export const usage = '[--requests N] [--rate R] [--again SHARE]';

const CHANNELS = 36;
const STEPS = 48;
const KNOWN = 0.3;
const WARM_UP = 50;
const FLOOR_RUNS = 300;

const DATA = LearningData.parse({
  target: 'outcome',
  series: {
    channels: Array.from({ length: CHANNELS }, (_, at) => ({ code: `c${at}`, low: -5, high: 5 })),
    hours: 48,
    stepHours: 1,
    stepsMax: STEPS,
  },
});
const SPEC = ModelSpec.parse({ kind: 'liquid', units: 32 });

const quantile = (sorted: Float64Array, share: number): number =>
  sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;

const patientOf = (random: ReturnType<typeof seeded>): PredictExample => ({
  series: {
    hours: Array.from({ length: STEPS }, (_, at) => at),
    values: Array.from({ length: STEPS }, () =>
      Array.from({ length: CHANNELS }, () =>
        random.uniform() < KNOWN ? Math.round(200 * random.uniform() - 100) / 100 : null,
      ),
    ),
  },
});

const recordOf = (file: Uint8Array): ModelRecord =>
  ModelRecord.parse({
    v: 1,
    federation: 'bench',
    name: 'stay',
    version: 1,
    digest: modelDigest(file),
    bytes: file.byteLength,
    createdMs: 0,
    lineage: {
      training: null,
      rounds: [],
      sites: [],
      model: SPEC,
      data: DATA,
      dataHash: null,
      scaling: null,
      privacy: { unit: 'patient', epsilon: 1, delta: 1e-6 },
    },
    metrics: [],
  });

const serve = async () => {
  const model = modelOf(SPEC, inputShapeOf(DATA));
  const weights = model.initial(1).map((weight, at) => weight + Math.sin(at) / 10);
  const file = writeFlat(model.tensors, weights);
  const record = recordOf(file);
  const inference = createInferenceService({
    models: { find: () => record, load: () => Promise.resolve({ record, file }) },
    modelOf,
    clock: systemClock,
    random: secureRandomBytes,
    logger: silentLogger,
  });
  const keys = createApiKeys({
    store: createMemoryStore(),
    prefix: 'key/',
    clock: systemClock,
    random: secureRandomBytes,
  });
  const rules = accessRulesOf({
    rolePermissions: new Map([['doctor', ['query']]]),
    roleDataClasses: new Map(),
    adminAllowedAddresses: [],
  });
  const app = await createHttpApp({
    logger: silentLogger,
    clock: systemClock,
    title: 'Bench',
    version: '0.0.0',
    bodyLimitBytes: 1024 * 1024,
    rateLimit: { requestsMax: 10_000_000, windowMs: 60_000, keysMax: 100 },
    access: { authenticator: keyAuthenticator(keys), rules: () => rules },
  });
  const unused = (): never => {
    throw new Error('nothing is fetched here');
  };
  registerSiteModels(app, {
    models: { pull: unused, find: unused, load: unused, verify: unused, remove: unused, list: () => [] },
    inference,
    audit: { record: () => Promise.resolve({ index: 0, leafHash: new Uint8Array(32), id: 'entry' }) },
    actorOf: ({ role }) => ({ actor: Pseudonym.parse('a'.repeat(32)), role }),
  });
  const { url } = await app.listen({ host: '127.0.0.1', port: 0 });
  const { key } = await keys.mint({
    name: 'bench',
    role: 'doctor',
    department: DepartmentId.parse('icu'),
    dataClass: 'restricted',
  });
  return { app, inference, url, key, model, weights };
};

/** One evaluation alone, of float64 weights. */
const floorMs = ({ model, weights }: Awaited<ReturnType<typeof serve>>): number => {
  const random = seeded(9);
  const examples = Array.from({ length: FLOOR_RUNS }, () => ({
    inputs: new Float64Array(0),
    series: {
      steps: STEPS,
      channels: CHANNELS,
      hours: Float64Array.from({ length: STEPS }, (_, at) => at),
      values: Float64Array.from({ length: STEPS * CHANNELS }, () =>
        random.uniform() < KNOWN ? random.uniform() : Number.NaN,
      ),
    },
    target: 0 as const,
  }));
  for (const example of examples) model.predict(weights, example);
  const began = performance.now();
  for (const example of examples) model.predict(weights, example);
  return (performance.now() - began) / FLOOR_RUNS;
};

export const run = async ({ json, args }: { json: boolean; args: readonly string[] }): Promise<void> => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      requests: { type: 'string', default: '2000' },
      rate: { type: 'string', default: '80' },
      again: { type: 'string', default: '0.2' },
    },
  });
  const [requests, rate, again] = [values.requests, values.rate, values.again].map(Number) as [
    number,
    number,
    number,
  ];
  const served = await serve();
  const client = createHttpClient({ baseUrl: served.url, apiKey: served.key, env: {}, timeoutMs: 60_000 });
  const random = seeded(1);
  const asked: PredictExample[] = [];
  const next = (): PredictExample => {
    const old = asked[random.below(Math.max(1, asked.length))];
    if (old !== undefined && random.uniform() < again) return old;
    const one = patientOf(random);
    asked.push(one);
    return one;
  };
  const ask = (example: PredictExample) =>
    client.json('POST', '/v1/models/stay/predict', PredictAnswer, { body: { examples: [example] } });
  try {
    for (let at = 0; at < WARM_UP; at += 1) await ask(patientOf(random));
    const durations = new Float64Array(requests);
    let [failed, cached] = [0, 0];
    const answers: Promise<void>[] = [];
    const began = performance.now();
    for (let at = 0; at < requests; at += 1) {
      const dueMs = began + (at * 1_000) / rate;
      await delay(Math.max(0, dueMs - performance.now()));
      const measured = ask(next())
        .then(
          (answer) => void (cached += answer.cached),
          () => void (failed += 1),
        )
        .then(() => void (durations[at] = performance.now() - dueMs));
      answers.push(measured);
    }
    await Promise.all(answers);
    const seconds = (performance.now() - began) / 1_000;
    const sorted = durations.toSorted();
    const result = {
      requests,
      rate,
      floorMs: floorMs(served),
      p50Ms: quantile(sorted, 0.5),
      p95Ms: quantile(sorted, 0.95),
      p99Ms: quantile(sorted, 0.99),
      errorShare: failed / requests,
      cachedShare: cached / requests,
      perSecond: requests / seconds,
      coherence: served.inference.status().coherence,
      serverP95Ms: served.inference.status().p95Ms,
    };
    if (json) console.log(JSON.stringify(result));
    else console.table({ inference: result });
  } finally {
    await client.close();
    await served.app.close();
  }
};
