/** Models at a site: what is taken from the coordinator, what is refused, and what is checked again each time. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openPulledModels, type PulledModels } from '../../../agent/models/pulled.ts';
import { createModelCalls } from '../../../coordinator/models/calls.ts';
import { type ModelRegistry, openModelRegistry } from '../../../coordinator/models/registry.ts';
import type { AuditEvent } from '../../../shared/audit/audit-log.ts';
import { utf8 } from '../../../shared/bytes.ts';
import { always, type Identity } from '../../../shared/crypto/signature.ts';
import { toQflError } from '../../../shared/errors.ts';
import { Pseudonym, SiteId } from '../../../shared/ids.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { readFlat, writeSafetensors } from '../../../shared/tensor/safetensors.ts';
import { MODEL_CHUNK_BYTES, type SignedModel } from '../../../shared/wire/model.ts';
import type { Received } from '../../../shared/wire/peer.ts';
import { METHODS } from '../../../shared/wire/session.ts';
import { HeldClock } from '../tasks/fixture.ts';
import { COORDINATOR, DIABETES, newVersion, PARTS, STRANGER } from './fixture.ts';

const BY = { actor: Pseudonym.parse('a'.repeat(32)), role: 'admin' };
const SITE = SiteId.parse('north');
const clock = new HeldClock();
const { signal } = new AbortController();
let folder = '';
let signer: Identity;
let registry: ModelRegistry;
let models: PulledModels;
let events: AuditEvent[] = [];
let calls = 0;
/** What happens to an answer on its way. */
let onTheWay: (method: string, payload: Uint8Array, index: number) => Uint8Array;

const store = { coordinator: createMemoryStore(), site: createMemoryStore() };
const audit = {
  record(event: AuditEvent) {
    events.push(event);
    return Promise.resolve({ index: events.length - 1, leafHash: new Uint8Array(32), id: 'entry' });
  },
};
const open = (): Promise<PulledModels> =>
  openPulledModels({
    home: join(folder, 'site'),
    store: store.site,
    audit,
    clock,
    trust: () => ({ federation: 'test', identitiesAt: always(COORDINATOR.publicKeys) }),
    caller: () => ({
      async request(method, message): Promise<Received> {
        calls += 1;
        const answer = createModelCalls(registry)[method];
        if (answer === undefined) throw new Error(`no answer to ${method}`);
        const header = JSON.parse(JSON.stringify(message.header)) as { readonly index?: number };
        const reply = await answer({ header, payload: new Uint8Array(0), signal }, SITE);
        const payload = onTheWay(method, reply.payload ?? new Uint8Array(0), header.index ?? 0);
        return { header: reply.header, payload };
      },
    }),
  });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qfl-pulled-'));
  store.coordinator = createMemoryStore();
  store.site = createMemoryStore();
  [signer, events, calls] = [COORDINATOR, [], 0];
  onTheWay = (_method, payload) => payload;
  registry = await openModelRegistry({
    home: join(folder, 'coordinator'),
    federation: 'test',
    store: store.coordinator,
    identity: () => signer,
    audit,
    clock,
  });
  for (const task of [1, 2]) await registry.register(newVersion(task, [task, 0, 0]));
  models = await open();
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const pull = (version: number | 'production' | 'latest') =>
  models.pull({ name: DIABETES, version }, BY, signal);
const failure = (act: Promise<unknown>) =>
  act.then(
    () => expect.unreachable('it was taken'),
    (error: unknown) => toQflError(error),
  );
const fileIn = async (): Promise<string> =>
  join(folder, 'site', 'models', (await readdir(join(folder, 'site', 'models')))[0] ?? '');

describe('a model that is fetched', () => {
  test('is the one in production, comes in pieces, and is there after a restart', async () => {
    expect((await failure(pull('production'))).code).toBe('not_found');
    const large = Float64Array.from({ length: 100_000 }, (_, at) => at);
    const file = writeSafetensors([{ name: 'w', dtype: 'F64', shape: [100_000], values: large }]);
    await registry.register({ ...newVersion(3), file });
    await registry.promote(DIABETES, 3, 'production', BY);
    calls = 0;
    expect(await pull('production')).toMatchObject({ version: 3, inUse: true });
    expect(calls).toBe(1 + Math.ceil(file.byteLength / MODEL_CHUNK_BYTES));
    models = await open();
    const loaded = await models.load(DIABETES);
    expect(Buffer.from(loaded.file).equals(file)).toBe(true);
    expect(events.filter(({ action }) => action === 'model.pulled')).toMatchObject([
      { ...BY, outcome: 'ok' },
    ]);
  });

  test('is in use from then on, until another is fetched or it is removed', async () => {
    await pull(2);
    await pull(1);
    expect(models.list().map(({ version, inUse }) => ({ version, inUse }))).toEqual([
      { version: 1, inUse: true },
      { version: 2, inUse: false },
    ]);
    expect(readFlat(PARTS, (await models.load(DIABETES)).file)[0]).toBe(1);
    await pull(2);
    expect(models.find(DIABETES).version).toBe(2);
    await models.remove(DIABETES, 2, BY);
    expect(models.find(DIABETES).version).toBe(1);
    await models.remove(DIABETES, 1, BY);
    expect(await readdir(join(folder, 'site', 'models'))).toEqual([]);
    expect((await failure(models.load(DIABETES))).code).toBe('not_found');
  });
});

describe('is refused, and the refusal is in the log,', () => {
  const refused = async (version: number | 'latest', code: string): Promise<void> => {
    const error = await failure(pull(version));
    expect(error.code).toBe(code);
    expect(error.next ?? '').not.toBe('');
    expect(models.list()).toEqual([]);
    expect(await readdir(join(folder, 'site', 'models'))).toEqual([]);
    expect(events.some(({ action }) => action === 'model.refused')).toBe(code === 'bad_signature');
  };
  const changed = (payload: Uint8Array, change: (signed: SignedModel) => SignedModel): Uint8Array => {
    const signed = JSON.parse(Buffer.from(payload).toString()) as SignedModel;
    return utf8(JSON.stringify(change(signed)));
  };
  const onRecord = (change: (signed: SignedModel) => SignedModel): void => {
    onTheWay = (method, payload) => (method === METHODS.modelRecord ? changed(payload, change) : payload);
  };

  test('a model that another signed', async () => {
    signer = STRANGER;
    await registry.register(newVersion(3));
    await refused('latest', 'bad_signature');
  });

  test('a record that was changed', async () => {
    onRecord((signed) => ({ ...signed, text: signed.text.replace('"epsilon":0.3', '"epsilon":0.1') }));
    await refused(1, 'bad_signature');
  });

  test('bytes that were changed', async () => {
    onTheWay = (method, payload) => {
      if (method !== METHODS.modelChunk) return payload;
      const other = Buffer.from(payload);
      other[other.length - 1]! ^= 1;
      return other;
    };
    await refused(1, 'bad_signature');
  });

  test('pieces that are too long or too short', async () => {
    onTheWay = (method, payload) => (method === METHODS.modelChunk ? payload.subarray(1) : payload);
    await refused(1, 'protocol');
    onTheWay = (method, payload) =>
      method === METHODS.modelChunk ? Buffer.concat([payload, payload]) : payload;
    expect((await failure(pull(1))).code).toBe('protocol');
  });

  test('another version than was asked for, though it is signed', async () => {
    const other = utf8(JSON.stringify(await registry.signed(DIABETES, 1)));
    onTheWay = (method, payload) => (method === METHODS.modelRecord ? other : payload);
    const error = await failure(pull(2));
    expect({ code: error.code, detail: error.detail }).toEqual({
      code: 'conflict',
      detail: 'diabetes 2 was asked for, and diabetes 1 came',
    });
  });

  test('what is no record', async () => {
    onTheWay = () => utf8('{}');
    expect((await failure(pull(1))).code).toBe('protocol');
  });

  test('a file that is no tensors, though it is signed', async () => {
    await registry.register({ ...newVersion(3), file: Buffer.from('nothing of that kind') });
    expect((await failure(pull('latest'))).code).toBe('invalid_request');
    expect(models.list()).toEqual([]);
  });
});

describe('what is on the disk is checked again', () => {
  beforeEach(() => pull(1));

  test('a file that was changed, or is gone, is not used', async () => {
    expect(await models.verify(DIABETES, 1)).toMatchObject({ version: 1 });
    const path = await fileIn();
    const bytes = await readFile(path);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(path, bytes);
    expect((await failure(models.load(DIABETES))).code).toBe('bad_signature');
    expect((await failure(models.verify(DIABETES, 1))).code).toBe('bad_signature');
    await rm(path);
    expect((await failure(models.load(DIABETES))).code).toBe('not_found');
    await pull(1);
    expect((await models.load(DIABETES)).record.version).toBe(1);
  });

  test('what a crash left beside it is taken out', async () => {
    await writeFile(join(folder, 'site', 'models', `${'0'.repeat(64)}.safetensors`), 'of nobody');
    models = await open();
    expect(await readdir(join(folder, 'site', 'models'))).toHaveLength(1);
  });
});
