/** Joining by hand, as two administrators do it in two places; every token that must not let anybody in; and leaving for good. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  eventually,
  printedBy,
  type Program,
  qflError,
  qflJson,
  startProgram,
} from '../fixtures/processes.ts';
import { type RecordingProxy, startRecordingProxy } from '../fixtures/recording-proxy.ts';
import { type MockLlm, startMockLlm } from '../fixtures/mock-llm.ts';
import { AgentStatus, backendConfig, call, type Federation, startFederation } from './federation.ts';

const Invitation = z.looseObject({ token: z.string() });
const Joined = z.looseObject({
  site: z.string(),
  status: z.string(),
  fingerprintPhrase: z.string(),
  coordinatorPhrase: z.string(),
});
const Ready = z.looseObject({ url: z.string(), pid: z.number() });
const SiteList = z.array(
  z.looseObject({ site: z.string(), status: z.string(), online: z.boolean(), fingerprint: z.string() }),
);
/** Whoever is revoked is gone within this. */
const REVOKED_WITHIN_MS = 60_000;
/** security.md, section 3. */
const M2_BYTES = 2_472;

let federation: Federation;
let mock: MockLlm;
const started: Program[] = [];

const atCoordinator = (args: readonly string[], of = federation): string[] => [
  ...args,
  '--home',
  of.coordinator.home,
];
const home = (name: string): string => join(federation.folder, name);
const invite = async (name: string, ...options: string[]): Promise<string> =>
  (await qflJson(Invitation, atCoordinator(['site', 'invite', name, ...options]))).token;
const joinArgs = (token: string, folder: string, url = federation.coordinator.url): string[] => [
  'agent',
  'join',
  url,
  '--token',
  token,
  '--home',
  home(folder),
  '--log-level',
  'silent',
];
const siteShown = async (name: string, of = federation) => {
  const sites = await qflJson(SiteList, atCoordinator(['site', 'list'], of));
  return sites.find(({ site }) => site === name);
};
const startAgent = async (folder: string): Promise<{ program: Program; url: string }> => {
  const program = startProgram(['agent', 'start', '--home', home(folder), '--port', '0', '--json']);
  started.push(program);
  return { program, url: (await printedBy(program, Ready, `${folder} is ready`)).url };
};
const statusOf = (folder: string) => qflJson(AgentStatus, ['agent', 'status', '--home', home(folder)]);

beforeAll(async () => {
  mock = await startMockLlm(['steady']);
  federation = await startFederation({ sites: [{ name: 'first', config: backendConfig('ward', mock.url) }] });
});
afterAll(async () => {
  await Promise.all(started.map((program) => program.kill()));
  await federation.close();
  await mock.close();
});

describe('by hand', () => {
  let agent: { program: Program; url: string };

  test('invite, join, pending: the agent waits, and each side shows the same fingerprints', async () => {
    const joined = await qflJson(Joined, joinArgs(await invite('by-hand'), 'by-hand'));
    expect(joined).toMatchObject({ site: 'by-hand', status: 'pending' });
    expect(joined.coordinatorPhrase).toBe(federation.coordinator.fingerprint);
    expect(await siteShown('by-hand')).toMatchObject({
      status: 'pending',
      fingerprint: joined.fingerprintPhrase,
    });
    agent = await startAgent('by-hand');
    await eventually('the agent waits', async () => (await statusOf('by-hand')).standing === 'pending');
    expect(await call(`${agent.url}/ready`)).toMatchObject({ status: 503, body: { code: 'not_ready' } });
  });

  test('a pending site gets nothing of the federation', async () => {
    const { sites } = await statusOf('by-hand');
    expect(sites).toBeNull();
    const { sites: seen } = await federation.site('first').status();
    expect(seen?.map(({ site }) => site)).toEqual(['first']);
  });

  test('approval with another fingerprint is refused; with the right one the site serves', async () => {
    const wrong = await qflError(
      atCoordinator(['site', 'approve', 'by-hand', '--fingerprint', 'aaaa-aaaa-aaaa-aaaa']),
    );
    expect(wrong.code).toBe('conflict');
    expect(wrong.next).toMatch(/not approve/);
    const { fingerprint } = (await siteShown('by-hand'))!;
    expect((await siteShown('by-hand'))?.status).toBe('pending');
    await qflJson(z.unknown(), atCoordinator(['site', 'approve', 'by-hand', '--fingerprint', fingerprint]));
    await eventually('it is ready', async () => (await call(`${agent.url}/ready`)).status === 200);
    await eventually('the other site sees it', async () =>
      (await federation.site('first').status()).sites?.some(
        ({ site, online }) => site === 'by-hand' && online,
      ),
    );
  });

  test('revoked: its session ends, its questions fail with a reason, and it does not come back', async () => {
    const { key } = await qflJson(z.looseObject({ key: z.string() }), [
      'agent',
      'key',
      'create',
      '--home',
      home('by-hand'),
      '--role',
      'doctor',
      '--department',
      'icu',
    ]);
    const ask = () =>
      call(`${agent.url}/v1/chat/completions`, {
        key,
        body: { model: 'steady', messages: [{ role: 'user', content: 'Is it safe?' }] },
      });
    await eventually('it is served', async () => (await ask()).status === 200);
    await qflJson(z.unknown(), atCoordinator(['site', 'revoke', 'by-hand', '--reason', 'contract ended']));
    await eventually(
      'its session is over',
      async () =>
        (await siteShown('by-hand'))?.online === false && (await statusOf('by-hand')).link !== 'online',
      REVOKED_WITHIN_MS,
    );
    const askedBefore = mock.asked.length;
    expect(await ask()).toMatchObject({ status: 503, body: { error: { code: 'not_connected' } } });
    await agent.program.kill();
    agent = await startAgent('by-hand');
    // Refused without a word; the public directory says why.
    await eventually('it was refused again', async () =>
      (await statusOf('by-hand')).linkError?.includes('revoked'),
    );
    expect((await statusOf('by-hand')).standing).toBe('revoked');
    expect((await ask()).status).toBe(503);
    expect(mock.asked.length).toBe(askedBefore);
    expect(await siteShown('by-hand')).toMatchObject({ status: 'revoked', online: false });
    const { sites } = await federation.site('first').status();
    expect(sites?.some(({ site }) => site === 'by-hand')).toBe(false);
  });
});

test('a join that is killed when the coordinator has taken it goes on with the same token', async () => {
  const token = await invite('interrupted');
  // M2 has passed and M3 goes up: whatever comes down after that is lost.
  const proxy: RecordingProxy = await startRecordingProxy(
    Number(new URL(federation.coordinator.url).port),
    (direction, { down }) => {
      if (direction === 'up' && down > M2_BYTES) proxy.hold('down');
    },
  );
  const program = startProgram(joinArgs(token, 'interrupted', `http://127.0.0.1:${proxy.port}`));
  await eventually(
    'the coordinator has taken it',
    async () => (await siteShown('interrupted'))?.status === 'pending',
  );
  expect(program.isRunning()).toBe(true);
  await program.kill();
  await proxy.close();
  expect(await qflJson(Joined, joinArgs(token, 'interrupted'))).toMatchObject({ status: 'pending' });
});

describe('tokens that let nobody in', () => {
  const refused = (token: string, folder: string, url?: string) => qflError(joinArgs(token, folder, url));
  const invitationErrors = (names: readonly string[]) =>
    Promise.all(names.map((name) => qflError(atCoordinator(['site', 'invite', name]))));

  test('a used one', async () => {
    const token = await invite('once', '--auto-approve');
    await qflJson(Joined, joinArgs(token, 'once'));
    const error = await refused(token, 'twice');
    expect(error.code).toMatch(/^(token_refused|handshake_refused)$/);
    expect(error.next).toMatch(/token is used or expired/);
  });
  test('a second one for a name that has joined meanwhile', async () => {
    const [first, second] = [
      await invite('popular', '--auto-approve'),
      await invite('popular', '--auto-approve'),
    ];
    await qflJson(Joined, joinArgs(first, 'popular'));
    const error = await refused(second, 'popular-too');
    expect(error.code).toMatch(/^(token_refused|conflict|handshake_refused)$/);
    expect(error.next).not.toBeNull();
  });
  test('none is made for a name that is taken or revoked', async () => {
    for (const error of await invitationErrors(['first', 'by-hand']))
      expect(error).toMatchObject({ code: 'conflict', next: 'Choose another name.' });
  });
  test('none is made for a name that cannot be a site', async () => {
    for (const error of await invitationErrors(['coordinator', 'keys', 'Upper', 'a b']))
      expect(error.code).toBe('invalid_request');
  });
  test('garbage', async () => {
    const texts = ['', 'hello', 'qfljoin1.', 'qfljoin1.AAAA', `qfljoin1.${'A'.repeat(300)}`];
    for (const error of await Promise.all(texts.map((text) => refused(text, 'garbage')))) {
      expect(error.code).toBe('token_refused');
      expect(error.next).toContain('qfl site invite');
    }
  });
  test.each([
    ['id', 4],
    ['secret', 40],
    ['fingerprint', 85],
  ])('one with a changed character in its %s', async (_, at) => {
    const token = await invite('changed');
    const place = 'qfljoin1.'.length + at;
    const other = token[place] === 'A' ? 'B' : 'A';
    const error = await refused(token.slice(0, place) + other + token.slice(place + 1), 'changed');
    expect(error.code).toMatch(/^(handshake_refused|key_changed|unknown_key)$/);
    expect(error.next).not.toBeNull();
  });
  test('one of another federation', async () => {
    const other = await startFederation({ sites: [] });
    try {
      const { token } = await qflJson(Invitation, atCoordinator(['site', 'invite', 'stray'], other));
      const error = await refused(token, 'stray');
      expect(error.code).toMatch(/^(key_changed|unknown_key)$/);
      expect(error.next).not.toBeNull();
    } finally {
      await other.close();
    }
  });
  test('a folder that began to join is not used for another site', async () => {
    const error = await refused(await invite('somebody-else'), 'changed');
    expect(error).toMatchObject({ code: 'conflict' });
    expect(error.next).toContain('--home');
  });
  test('the changed token did not use up the right one, and its folder can still join', async () => {
    const token = await invite('changed', '--auto-approve');
    expect(await qflJson(Joined, joinArgs(token, 'changed'))).toMatchObject({ status: 'approved' });
  });
  test('a join that was refused can be tried again in the same folder with a good token', async () => {
    const joined = await qflJson(Joined, joinArgs(await invite('second-try', '--auto-approve'), 'garbage'));
    expect(joined).toMatchObject({ site: 'second-try', status: 'approved' });
  });
});

describe('TLS', () => {
  let secure: Federation;
  beforeAll(async () => {
    secure = await startFederation({ sites: [{ name: 'pinned' }], coordinatorArgs: ['--tls-self-signed'] });
  });
  afterAll(() => secure.close());

  test('a self-signed coordinator is pinned by the token, and the link runs over it', async () => {
    expect(secure.coordinator.url).toMatch(/^https:/);
    expect(await secure.site('pinned').status()).toMatchObject({ link: 'online', standing: 'approved' });
  });
  test('another certificate at the same address is refused, by the agent that joined and by a token of before', async () => {
    const { token } = await qflJson(Invitation, atCoordinator(['site', 'invite', 'late'], secure));
    await secure.coordinator.program.kill();
    await rm(join(secure.coordinator.home, 'tls-self-signed.pem'));
    await secure.coordinator.restart();
    const agent = secure.site('pinned');
    await agent.program.kill();
    await agent.restart();
    await eventually('the agent refuses', async () => (await agent.status()).linkError !== null);
    expect((await agent.status()).link).not.toBe('online');
    expect((await siteShown('pinned', secure))?.online).toBe(false);
    const error = await qflError(joinArgs(token, 'late', secure.coordinator.url));
    expect(error.code).toBe('unknown_key');
    expect(error.next).not.toBeNull();
  });
  test.each(['coordinator', 'agent'] as const)('without it %s binds loopback only', async (program) => {
    const folder = program === 'coordinator' ? federation.coordinator.home : home('once');
    if (program === 'coordinator') await federation.coordinator.program.kill();
    const error = await qflError([program, 'start', '--home', folder, '--host', '0.0.0.0', '--port', '0']);
    if (program === 'coordinator') await federation.coordinator.restart();
    expect(error.code).toBe('config_invalid');
    expect(error.next).toContain('--tls-self-signed');
  });
});
