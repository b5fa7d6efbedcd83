/** The registry over HTTP: pages, stages, files, and who may change what. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CoordinatorClient, createCoordinatorClient } from '../../shared/client/client.ts';
import { toQflError } from '../../shared/errors.ts';
import { checkDigest, recordOf, verifyModel } from '../../shared/models/record.ts';
import { always } from '../../shared/crypto/signature.ts';
import { ModelName } from '../../shared/wire/model.ts';
import { startTestCoordinator, type TestCoordinator } from '../fixtures/coordinator.ts';
import { newVersion } from '../unit/models/fixture.ts';

let coordinator: TestCoordinator;
const clients: CoordinatorClient[] = [];
const clientOf = async (role: string): Promise<CoordinatorClient> => {
  const client = createCoordinatorClient({
    baseUrl: coordinator.url,
    apiKey: await coordinator.key(role),
    env: {},
    timeoutMs: 10_000,
  });
  clients.push(client);
  return client;
};
const code = (act: Promise<unknown>): Promise<string> =>
  act.then(
    () => 'done',
    (error: unknown) => toQflError(error).code,
  );

beforeAll(async () => {
  coordinator = await startTestCoordinator();
  const { models } = coordinator.running;
  for (const task of [1, 2, 3]) await models.register(newVersion(task, [task, 0.5, 0]));
  await models.register({ ...newVersion(4), name: ModelName.parse('sepsis') });
});
afterAll(async () => {
  for (const client of clients) await client.close();
  await coordinator.close();
});

describe('models', () => {
  it('come in pages, by name, and their versions newest first', async () => {
    const { models } = await clientOf('researcher');
    const first = await models.list({ query: { limit: 1 } });
    expect(first).toMatchObject({ models: [{ name: 'diabetes', versions: 3, latest: 3 }], next: 'diabetes' });
    const rest = await models.list({ query: { after: ModelName.parse(first.next), limit: 1 } });
    expect(rest).toMatchObject({ models: [{ name: 'sepsis' }], next: null });
    const params = { name: 'diabetes' };
    const page = await models.versions({ params, query: { limit: 2 } });
    expect(page.versions.map(({ version }) => version)).toEqual([3, 2]);
    const older = await models.versions({ params, query: { limit: 2, before: page.next ?? 0 } });
    expect(older).toMatchObject({ versions: [{ version: 1, kind: 'logistic', sites: 3 }], next: null });
  });

  it('have a signed record and a file that belongs to it', async () => {
    const { models } = await clientOf('viewer');
    const params = { name: 'diabetes', version: 'latest' };
    const signed = await models.record({ params });
    const identity = coordinator.running.home.vault.identity.publicKeys;
    expect(verifyModel({ federation: 'test', identitiesAt: always(identity) }, signed)).toEqual(
      (await models.show({ params })).record,
    );
    const pieces: Uint8Array[] = [];
    for await (const piece of models.tensors({ params })) pieces.push(piece);
    checkDigest(recordOf(signed), Buffer.concat(pieces));
  });

  it('are promoted and rolled back by administrators only, each act in the log with who did it', async () => {
    const admin = await clientOf('admin');
    const params = (version: string) => ({ name: 'diabetes', version });
    const body = { stage: 'production' as const };
    for (const role of ['researcher', 'doctor', 'auditor', 'viewer']) {
      const { models } = await clientOf(role);
      expect(await code(models.promote({ params: params('1'), body }))).toBe('forbidden');
      expect(await code(models.rollback({ params: { name: 'diabetes' } }))).toBe('forbidden');
      expect(await code(models.remove({ params: params('1') }))).toBe('forbidden');
    }
    expect((await admin.models.promote({ params: params('1'), body })).stage).toBe('production');
    expect((await admin.models.promote({ params: params('2'), body })).stage).toBe('production');
    expect(await code(admin.models.promote({ params: params('2'), body }))).toBe('conflict');
    expect((await admin.models.rollback({ params: { name: 'diabetes' } })).record.version).toBe(1);
    expect(await code(admin.models.rollback({ params: { name: 'diabetes' } }))).toBe('conflict');
    const acts: string[] = [];
    const { audit } = coordinator.running.home;
    for await (const { action, actor, objects } of audit.entries(0, Number.MAX_SAFE_INTEGER))
      if (action.startsWith('model.') && actor !== null)
        acts.push(`${action} ${objects.find(({ kind }) => kind === 'model')?.id}`);
    expect(acts.filter((act) => !act.startsWith('model.exported'))).toEqual([
      'model.promoted diabetes/1',
      'model.promoted diabetes/2',
      'model.rolled_back diabetes/1',
    ]);
  });

  it('that are not there are not found, and names that are none are refused', async () => {
    const { models } = await clientOf('admin');
    expect(await code(models.show({ params: { name: 'none', version: 'latest' } }))).toBe('not_found');
    expect(await code(models.show({ params: { name: 'diabetes', version: '9' } }))).toBe('not_found');
    expect(await code(models.show({ params: { name: 'diabetes', version: '0' } }))).toBe('invalid_request');
    expect(await code(models.show({ params: { name: '../x', version: '1' } }))).toBe('invalid_request');
  });

  it('stay over a restart, and one that is deleted is gone', async () => {
    await coordinator.restart();
    const { models } = await clientOf('admin');
    expect((await models.show({ params: { name: 'diabetes', version: 'production' } })).record.version).toBe(
      1,
    );
    expect(await code(models.remove({ params: { name: 'diabetes', version: '1' } }))).toBe('conflict');
    expect((await models.remove({ params: { name: 'diabetes', version: '3' } })).version).toBe(3);
    expect(await code(models.show({ params: { name: 'diabetes', version: '3' } }))).toBe('not_found');
  });
});
