/** The registry: versions that are whole or not there, stages, and what an act leaves in the log. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ModelRegistry, openModelRegistry } from '../../../coordinator/models/registry.ts';
import { modelNameFor, registerTraining } from '../../../coordinator/models/register.ts';
import type { AuditEvent } from '../../../shared/audit/audit-log.ts';
import { always } from '../../../shared/crypto/signature.ts';
import { QflError, toQflError } from '../../../shared/errors.ts';
import { Pseudonym, RoundId, SiteId, TaskId } from '../../../shared/ids.ts';
import { modelDigest, verifyModel } from '../../../shared/models/record.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import { readFlat } from '../../../shared/tensor/safetensors.ts';
import { ModelName } from '../../../shared/wire/model.ts';
import { HeldClock } from '../tasks/fixture.ts';
import { COORDINATOR, DATA, DIABETES, newVersion, PARTS } from './fixture.ts';

const BY = { actor: Pseudonym.parse('a'.repeat(32)), role: 'admin' };
const clock = new HeldClock();
let home = '';
let store: Store;
let registry: ModelRegistry;
let events: AuditEvent[] = [];

const opened = (over: Store = store): Promise<ModelRegistry> =>
  openModelRegistry({
    home,
    federation: 'test',
    store: over,
    identity: () => COORDINATOR,
    audit: {
      record(event) {
        events.push(event);
        return Promise.resolve({ index: events.length - 1, leafHash: new Uint8Array(32), id: 'entry' });
      },
    },
    clock,
  });
const code = (act: Promise<unknown>): Promise<string> =>
  act.then(
    () => 'done',
    (error: unknown) => toQflError(error).code,
  );
const files = (): Promise<string[]> => readdir(join(home, 'models'));
const bytesOf = async (ref: 'latest' | number): Promise<Uint8Array> => {
  const pieces: Uint8Array[] = [];
  for await (const piece of await registry.file(registry.summary(DIABETES, ref)))
    if (piece instanceof Uint8Array) pieces.push(piece);
  return Buffer.concat(pieces);
};
const stages = () => registry.versions(DIABETES).map(({ version, stage }) => `${version} ${stage}`);

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'qfl-models-'));
  store = createMemoryStore();
  events = [];
  registry = await opened();
});
afterEach(() => rm(home, { recursive: true, force: true }));

describe('a version', () => {
  test('is signed, has its lineage, and its file is what its digest says', async () => {
    const { record, stage } = await registry.register(newVersion(1));
    expect({ version: record.version, stage }).toEqual({ version: 1, stage: 'none' });
    expect(record.digest).toBe(modelDigest(await bytesOf('latest')));
    expect(readFlat(PARTS, await bytesOf(1))).toEqual(Float64Array.of(0.1, 0.2, 0.3));
    const trust = { federation: 'test', identitiesAt: always(COORDINATOR.publicKeys) };
    expect(verifyModel(trust, await registry.signed(DIABETES, 1))).toEqual(record);
    expect(record.lineage).toMatchObject({ data: DATA, privacy: { epsilon: 0.3 } });
    expect(events.map(({ action }) => action)).toEqual(['model.registered']);
  });

  test('of one training is one, however often it is registered, also after a restart', async () => {
    await registry.register(newVersion(1));
    registry = await opened();
    const [again, other] = await Promise.all([
      registry.register(newVersion(1)),
      registry.register(newVersion(2)),
    ]);
    expect([again.record.version, other.record.version]).toEqual([1, 2]);
    expect(await code(registry.register(newVersion(null)))).toBe('done');
    expect(stages()).toEqual(['3 none', '2 none', '1 none']);
  });

  test('is not there when its record was not kept, and its file is taken out at the next start', async () => {
    await registry.register(newVersion(1));
    const failing: Store = {
      ...store,
      write: () => Promise.reject(new QflError('storage_failed')),
    };
    registry = await opened(failing);
    expect(await code(registry.register(newVersion(2, [1, 2, 3])))).toBe('storage_failed');
    expect(await files()).toHaveLength(2);
    expect(stages()).toEqual(['1 none']);
    await writeFile(join(home, 'models', 'x.safetensors.partial'), 'half');
    registry = await opened();
    expect(await files()).toEqual([`${registry.summary(DIABETES, 1).digest}.safetensors`]);
    expect((await registry.register(newVersion(2, [1, 2, 3]))).record.version).toBe(2);
  });

  test('whose file is gone says so', async () => {
    await registry.register(newVersion(1));
    const summary = registry.summary(DIABETES, 1);
    await rm(join(home, 'models', `${summary.digest}.safetensors`));
    expect(await code(registry.piece(summary, 0, 8))).toBe('not_found');
    expect(await code(registry.file(summary))).toBe('not_found');
  });

  test('is deleted with its file unless another has the same weights; its number is not given again', async () => {
    for (const task of [1, 2]) await registry.register(newVersion(task));
    await registry.remove(DIABETES, 2, BY);
    expect(await files()).toHaveLength(1);
    expect((await registry.register(newVersion(3))).record.version).toBe(3);
    await registry.remove(DIABETES, 1, BY);
    await registry.remove(DIABETES, 'latest', BY);
    expect(await files()).toEqual([]);
    expect(registry.list()).toEqual([]);
    registry = await opened();
    expect(await code(Promise.resolve().then(() => registry.show(DIABETES, 'latest')))).toBe('not_found');
    expect((await registry.register(newVersion(4))).record.version).toBe(4);
  });
});

describe('stages', () => {
  beforeEach(async () => {
    for (const task of [1, 2, 3]) await registry.register(newVersion(task, [task, 0, 0]));
  });

  test('hold one version in production and one in staging, and a rollback brings back the one before', async () => {
    await registry.promote(DIABETES, 1, 'staging', BY);
    await registry.promote(DIABETES, 1, 'production', BY);
    await registry.promote(DIABETES, 2, 'staging', BY);
    expect(stages()).toEqual(['3 none', '2 staging', '1 production']);
    await registry.promote(DIABETES, 'staging', 'production', BY);
    await registry.promote(DIABETES, 'latest', 'production', BY);
    expect(stages()).toEqual(['3 production', '2 archived', '1 archived']);
    registry = await opened();
    expect((await registry.rollBack(DIABETES, BY)).record.version).toBe(2);
    expect((await registry.rollBack(DIABETES, BY)).record.version).toBe(1);
    expect(await code(registry.rollBack(DIABETES, BY))).toBe('conflict');
    expect(stages()).toEqual(['3 archived', '2 archived', '1 production']);
    expect(registry.list()).toMatchObject([{ versions: 3, latest: 3, production: 1, staging: null }]);
  });

  test('are left: a version taken out of production comes back, a deleted one does not', async () => {
    await registry.promote(DIABETES, 1, 'production', BY);
    await registry.promote(DIABETES, 2, 'production', BY);
    await registry.promote(DIABETES, 2, 'archived', BY);
    expect(await code(Promise.resolve().then(() => registry.show(DIABETES, 'production')))).toBe('not_found');
    expect((await registry.rollBack(DIABETES, BY)).record.version).toBe(2);
    await registry.remove(DIABETES, 1, BY);
    expect(await code(registry.rollBack(DIABETES, BY))).toBe('conflict');
    expect(await code(registry.remove(DIABETES, 2, BY))).toBe('conflict');
    expect(await code(registry.promote(DIABETES, 2, 'production', BY))).toBe('conflict');
  });

  test('change only when the log has it, with who did it', async () => {
    events = [];
    await registry.promote(DIABETES, 1, 'production', BY);
    expect(events).toMatchObject([{ action: 'model.promoted', outcome: 'ok', ...BY }]);
    expect(events[0]?.objects).toContainEqual({ kind: 'model', id: 'diabetes/1' });
  });
});

describe('a finished training', () => {
  const task = TaskId.parse('b'.repeat(32));
  const round = RoundId.parse('c'.repeat(32));
  const sites = ['east', 'north', 'west'].map((site) => SiteId.parse(site));
  const show = () =>
    Promise.resolve({
      planHash: 'd'.repeat(64),
      sumHash: 'e'.repeat(64),
      sites,
      survivors: sites.filter((site) => site !== 'north'),
    });

  test('becomes a version with its rounds, who was lost, and its figures', async () => {
    const { record } = await registerTraining(
      registry,
      { show },
      {
        task,
        model: { kind: 'logistic' },
        data: DATA,
        scaling: null,
        tensors: PARTS,
        weights: Float64Array.of(1, 2, 3),
        sites,
        steps: [{ round, patients: 300.5, loss: 0.5, accuracy: 0.8, survivors: 2 }],
        privacy: { unit: 'patient', epsilon: 1, delta: 1e-6 },
      },
    );
    expect(record.name).toBe('logistic-44054006');
    expect(record.lineage.rounds).toEqual([
      { round, planHash: 'd'.repeat(64), sumHash: 'e'.repeat(64), survivors: 2, lost: ['north'] },
    ]);
    expect(record.metrics).toEqual([
      { step: 1, values: { patients: 300.5, loss: 0.5, accuracy: 0.8, survivors: 2 } },
    ]);
  });

  const TENSORS = [{ name: 'lora.a', shape: [8, 16] }];
  test.each([
    [{ kind: 'logistic' as const }, DATA, 'logistic-44054006'],
    [{ kind: 'logistic' as const }, { ...DATA, target: { code: 'A/B c', above: 1 } }, 'logistic-a-b-c'],
    [{ kind: 'external' as const, trainer: 'LoRA_7b', tensors: TENSORS }, null, 'lora_7b'],
    [{ kind: 'external' as const, trainer: '__', tensors: TENSORS }, null, 'model'],
  ])('gets a name of what it is', (model, data, name) => {
    expect(modelNameFor(model, data)).toBe(ModelName.parse(name));
  });
});
