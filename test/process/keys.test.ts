/** Keys by the command, over real processes: rotation without a restart, comparison by voice, revocation within a minute, another master key. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { OwnKeysShown, SiteKeysPage, SiteKeysShown } from '../../shared/wire/keys.ts';
import { eventually, qfl, qflError, qflJson } from '../fixtures/processes.ts';
import { startMockLlm, type MockLlm } from '../fixtures/mock-llm.ts';
import { backendConfig, call, type Federation, type Site, startFederation } from './federation.ts';

const REVOKED_WITHIN_MS = 60_000;
const CONFIG = 'audit: { witness_interval_seconds: 1 }\n';
let federation: Federation;
let mock: MockLlm;
let doctor: string;
const site = (name: string): Site => federation.site(name);
const show = (home: string, ...more: string[]) =>
  qflJson(OwnKeysShown, ['keys', 'show', '--home', home, ...more]);
const list = async (name: string) =>
  SiteKeysPage.parse((await site(name).asOperator('/v1/directory/sites')).body).sites;
const keysOf = async (name: string) =>
  OwnKeysShown.parse((await site(name).asOperator('/v1/directory/keys')).body);
const ask = (model = 'ward') =>
  call(`${site('north').url}/v1/chat/completions`, {
    key: doctor,
    body: { model, messages: [{ role: 'user', content: 'Which dose?' }] },
  });

beforeAll(async () => {
  mock = await startMockLlm(['ward']);
  federation = await startFederation({
    coordinatorConfig: CONFIG,
    sites: [
      { name: 'north', config: CONFIG },
      { name: 'south', config: CONFIG + backendConfig('ward', mock.url) },
      { name: 'east', config: CONFIG },
      { name: 'west', config: CONFIG },
    ],
  });
  doctor = await site('north').key('doctor');
});
afterAll(async () => {
  await federation?.close();
  await mock?.close();
});

describe('qfl keys', () => {
  test('show and list agree, at sites and at the coordinator', async () => {
    const own = await show(site('north').home);
    expect(own).toMatchObject({ program: 'agent', name: 'north', standing: 'in_force' });
    expect(own.phrase).toBe(site('north').fingerprint);
    const coordinator = await show(federation.coordinator.home, '--coordinator');
    expect(coordinator.phrase).toBe(federation.coordinator.fingerprint);
    const seen = await qflJson(z.array(SiteKeysShown), ['keys', 'list', '--home', site('south').home]);
    expect(seen.map((one) => one.site).toSorted()).toEqual(['coordinator', 'east', 'north', 'south', 'west']);
    expect(seen.find((one) => one.site === 'north')?.phrase).toBe(own.phrase);
  });

  test('compare keeps what was read by telephone, and answers show it', async () => {
    const { phrase } = await keysOf('south');
    const chat = () =>
      qfl(['query', 'chat', 'Which dose?', '--model', 'ward', '--url', site('north').url, '--key', doctor]);
    expect((await chat()).err).toContain('fingerprint not compared');
    const of = ['--home', site('north').home];
    expect((await qflError(['keys', 'compare', 'south', 'aaaa-bbbb-cccc-dddd', ...of])).code).toBe(
      'key_changed',
    );
    await qflJson(SiteKeysShown, ['keys', 'compare', 'south', phrase, ...of]);
    expect((await chat()).err).toContain('fingerprint compared by voice');
  });

  test('rotate --identity, at a site and at the coordinator: questions go on through it, without a restart', async () => {
    const state = { over: false };
    const answers: number[] = [];
    const asking = (async () => {
      while (!state.over) answers.push((await ask()).status);
    })();
    const before = await keysOf('south');
    const after = await qflJson(OwnKeysShown, ['keys', 'rotate', '--identity', '--home', site('south').home]);
    await qflJson(OwnKeysShown, [
      'keys',
      'rotate',
      '--identity',
      '--coordinator',
      '--home',
      federation.coordinator.home,
    ]);
    await qflJson(OwnKeysShown, ['keys', 'rotate', '--home', site('north').home]);
    state.over = true;
    await asking;
    expect(after.pastIdentities.map(({ phrase }) => phrase)).toEqual([before.phrase]);
    expect(answers.length).toBeGreaterThan(3);
    expect(answers.filter((status) => status !== 200)).toEqual([]);
    expect((await keysOf('north')).epochs.map(({ epoch }) => epoch)).toEqual([1, 0]);
    const [south] = (await list('north')).filter((one) => one.site === 'south');
    expect(south).toMatchObject({ phrase: after.phrase, comparison: 'not_compared' });
  });

  test('what rotated is what a restart finds', async () => {
    const { phrase } = await keysOf('south');
    await site('south').program.stop();
    await site('south').restart();
    expect(site('south').fingerprint).toBe(phrase);
    await federation.settled();
    expect((await ask()).status).toBe(200);
  });

  test('rotate --master, while it runs and while it rests; the home opens under the new key', async () => {
    const { home } = site('east');
    const key = () => readFile(join(home, 'master.key'), 'utf8');
    const Rotated = z.strictObject({ source: z.literal('file') });
    const first = await key();
    await qflJson(Rotated, ['keys', 'rotate', '--master', '--home', home]);
    const second = await key();
    await site('east').program.stop();
    await qflJson(Rotated, ['keys', 'rotate', '--master', '--home', home]);
    expect(new Set([first, second, await key()]).size).toBe(3);
    await site('east').restart();
    await federation.settled();
    const rotations = await qflJson(z.looseObject({ entries: z.array(z.unknown()) }), [
      'audit',
      'list',
      '--action',
      'key.rotated',
      '--home',
      home,
    ]);
    expect(rotations.entries.length).toBeGreaterThanOrEqual(3);
  });
});

describe('qfl keys generate', () => {
  test('seals the secret half under a passphrase or a key, and inspect opens it with nothing else', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qfl-generated-'));
    const Public = z.looseObject({
      phrase: z.string(),
      ed25519: z.string(),
      mldsa65: z.string(),
      xwing: z.string(),
    });
    const file = join(folder, 'keys.json');
    const made = await qfl(['keys', 'generate', '--out', file, '--json'], {}, 'a long enough passphrase\n');
    const shown = Public.parse(JSON.parse(made.out));
    const inspect = async (passphrase: string) =>
      qfl(['keys', 'inspect', file, '--json'], {}, `${passphrase}\n`);
    expect(Public.parse(JSON.parse((await inspect('a long enough passphrase')).out))).toEqual(shown);
    expect((await inspect('another long passphrase')).code).toBe(1);
    expect((await qfl(['keys', 'generate', '--out', file], {}, 'a long enough passphrase\n')).code).toBe(1);
    expect((await qfl(['keys', 'generate', '--out', join(folder, 'x')], {}, 'short\n')).code).toBe(1);
    const master = join(folder, 'master');
    await writeFile(master, randomBytes(32).toString('base64'), { mode: 0o600 });
    const sealed = join(folder, 'sealed.json');
    const args = ['--master-key', master];
    const other = await qflJson(Public, ['keys', 'generate', '--out', sealed, ...args]);
    expect(await qflJson(Public, ['keys', 'inspect', sealed, ...args])).toEqual(other);
    expect((await qflError(['keys', 'inspect', sealed])).code).toBe('invalid_request');
    await rm(folder, { recursive: true });
  });
});

describe('a revoked site', () => {
  test('is out everywhere within a minute: its session ends, nobody seals to it or serves it', async () => {
    const startedMs = performance.now();
    await qfl(['site', 'revoke', 'south', '--reason', 'stolen', '--home', federation.coordinator.home]);
    await eventually('its session is over', async () => (await site('south').status()).link !== 'online');
    for (const name of ['north', 'east', 'west'])
      await eventually(`${name} has it revoked`, async () =>
        (await list(name)).some((one) => one.site === 'south' && one.revoked),
      );
    const tookMs = performance.now() - startedMs;
    expect(tookMs).toBeLessThan(REVOKED_WITHIN_MS);
    expect((await ask()).status).not.toBe(200);
    const south = await site('south').key('doctor');
    const stats = await call(`${site('south').url}/v1/stats`, {
      key: south,
      body: { count: 'Patient', sites: ['north'] },
    });
    expect(stats.status).not.toBe(200);
    const entries = await qflJson(z.looseObject({ entries: z.array(z.unknown()) }), [
      'audit',
      'list',
      '--action',
      'site.revoked',
      '--home',
      federation.coordinator.home,
    ]);
    expect(entries.entries).toHaveLength(1);
  });
});
