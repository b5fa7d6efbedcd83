/** Exports to MLflow: each request as its API wants it, once however often, and whole after a cut. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createMlflowClient, type MlflowCredentials } from '../../../shared/mlflow/client.ts';
import { credentialsOf, exportToMlflow } from '../../../shared/mlflow/export.ts';
import { type QflError, toQflError } from '../../../shared/errors.ts';
import { modelDigest } from '../../../shared/models/record.ts';
import type { ModelShown } from '../../../shared/wire/model.ts';
import { type FakeMlflow, startFakeMlflow } from '../../fixtures/mlflow.ts';
import { outcomeOf } from '../../fixtures/outcome.ts';
import { newVersion } from './fixture.ts';

const { file, name, lineage } = newVersion(1);
const shownOf = (version: number, steps = 3): ModelShown => ({
  record: {
    v: 1,
    federation: 'test',
    name,
    version,
    digest: modelDigest(file),
    bytes: file.byteLength,
    createdMs: 1_790_000_000_000,
    lineage,
    metrics: Array.from({ length: steps }, (_, at) => ({
      step: at + 1,
      values: { loss: 1 / (at + 1), accuracy: 0.5 },
    })),
  },
  stage: 'production',
  stageMs: 1_790_000_000_000,
  signature: { ed25519: '', mldsa65: '' },
});
const TARGET = {
  experiment: 'hospitals',
  source: 'https://coordinator.test/v1/registry/diabetes/versions/1/tensors',
};

let server: FakeMlflow;
let pauses: number[] = [];
beforeEach(async () => {
  server = await startFakeMlflow('Bearer secret');
  pauses = [];
});
afterEach(() => server.close());

const clientOf = (credentials: MlflowCredentials = { kind: 'bearer', token: 'secret' }, url = server.url) =>
  createMlflowClient({
    url,
    credentials,
    pause: (ms) => {
      pauses.push(ms);
      return Promise.resolve();
    },
  });
const exported = (version = 1, steps = 3) => exportToMlflow(clientOf(), shownOf(version, steps), TARGET);
const failure = (act: Promise<unknown>): Promise<QflError> =>
  act.then(
    () => expect.unreachable('it went well'),
    (error: unknown) => toQflError(error),
  );
const active = () => [...server.runs.values()].filter(({ isDeleted }) => !isDeleted);
const paths = (): string[] => server.requests.map(({ path }) => path);

describe('an export', () => {
  test('makes experiment, run with figures and lineage, model and version', async () => {
    const done = await exported();
    expect(done).toMatchObject({ experimentId: '1', model: 'diabetes', modelVersion: '1', isNew: true });
    const run = server.runs.get(done.runId)!;
    expect(run).toMatchObject({ status: 'FINISHED', name: 'diabetes 1' });
    expect([...run.metrics.values()].filter(({ key }) => key === 'loss')).toEqual(
      [1, 1 / 2, 1 / 3].map((value, at) => ({
        key: 'loss',
        value,
        step: at + 1,
        timestamp: 1_790_000_000_000,
      })),
    );
    expect(Object.fromEntries(run.params)).toMatchObject({
      epsilon: '0.3',
      privacy_unit: 'patient',
      sites: '3',
    });
    expect(run.tags.get('qfl.digest')).toBe(modelDigest(file));
    expect(server.models.get('diabetes')).toMatchObject([
      { version: '1', run: done.runId, source: TARGET.source },
    ]);
    expect(paths()).toEqual([
      'experiments/get-by-name',
      'experiments/create',
      'runs/search',
      'runs/create',
      'runs/log-batch',
      'runs/log-batch',
      'runs/update',
      'registered-models/create',
      'model-versions/search',
      'model-versions/create',
    ]);
  });

  test('again is the same run and the same version', async () => {
    const first = await exported();
    const again = await exported();
    expect(again).toEqual({ ...first, isNew: false });
    expect(active()).toHaveLength(1);
    expect(server.models.get('diabetes')).toHaveLength(1);
    const second = await exported(2);
    expect(second).toMatchObject({ experimentId: '1', modelVersion: '2', isNew: true });
  });

  test('of a thousand steps comes in batches that the server takes', async () => {
    const { runId } = await exported(1, 1_000);
    expect(server.runs.get(runId)?.metrics.size).toBe(2_000);
    expect(paths().filter((path) => path === 'runs/log-batch')).toHaveLength(4);
  });

  test.each(['runs/log-batch', 'runs/update', 'registered-models/create', 'model-versions/create'])(
    'that was cut at %s is whole after the next one',
    async (path) => {
      for (let attempt = 0; attempt < 4; attempt += 1)
        server.faults.push({ path, status: 503, isAfter: false });
      expect((await failure(exported())).code).toBe('not_connected');
      expect(pauses).toEqual([500, 1_000, 2_000]);
      const { runId } = await exported();
      expect(active().map(({ id, status }) => ({ id, status }))).toEqual([{ id: runId, status: 'FINISHED' }]);
      expect(server.runs.get(runId)?.metrics.size).toBe(6);
      expect(server.models.get('diabetes')).toHaveLength(1);
    },
  );

  test.each(['experiments/get-by-name', 'runs/search', 'runs/log-batch', 'runs/update'])(
    'goes on when the answer of %s is lost',
    async (path) => {
      server.faults.push({ path, status: 502, isAfter: true });
      const { runId } = await exported();
      expect(server.runs.get(runId)?.metrics.size).toBe(6);
      expect(pauses).toEqual([500]);
    },
  );

  test('goes on when the answers of what makes something are lost: it is there, once', async () => {
    for (const path of ['experiments/create', 'registered-models/create'])
      server.faults.push({ path, status: 502, isAfter: true });
    await exported();
    expect([server.experiments.size, server.models.size]).toEqual([1, 1]);
  });

  test('is refused in words without the right key, with a deleted experiment, and where nobody listens', async () => {
    const other = exportToMlflow(clientOf({ kind: 'none' }), shownOf(1), TARGET);
    expect(await failure(other)).toMatchObject({ code: 'unauthenticated' });
    server.experiments.set('hospitals', { id: '9', stage: 'deleted' });
    expect((await failure(exported())).code).toBe('conflict');
    const nobody = exportToMlflow(clientOf(undefined, 'http://127.0.0.1:1'), shownOf(1), TARGET);
    expect((await failure(nobody)).code).toBe('not_connected');
  });

  test('never goes over a readable line', () => {
    for (const url of ['http://mlflow.example.org', 'ftp://127.0.0.1', 'https://user:pass@mlflow.test', 'x'])
      expect(outcomeOf(() => clientOf(undefined, url))).toBe('config_invalid');
    expect(outcomeOf(() => clientOf(undefined, 'https://mlflow.example.org/'))).toBe('done');
  });
});

describe('credentials', () => {
  test('are read as MLflow’s own clients do, and basic ones are sent as such', async () => {
    expect(credentialsOf({})).toEqual({ kind: 'none' });
    expect(credentialsOf({ MLFLOW_TRACKING_TOKEN: 't' })).toEqual({ kind: 'bearer', token: 't' });
    expect(outcomeOf(() => credentialsOf({ MLFLOW_TRACKING_USERNAME: 'u' }))).toBe('config_invalid');
    const basic = credentialsOf({ MLFLOW_TRACKING_USERNAME: 'ann', MLFLOW_TRACKING_PASSWORD: 'p:w' });
    const own = await startFakeMlflow('Basic YW5uOnA6dw==');
    try {
      expect(await exportToMlflow(clientOf(basic, own.url), shownOf(1), TARGET)).toMatchObject({
        isNew: true,
      });
    } finally {
      await own.close();
    }
  });
});
