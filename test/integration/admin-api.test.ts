/** People and programs over HTTP, as an administrator and those she looks after see them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  AccountMade,
  AccountPage,
  AccountShown,
  ServiceKeyMade,
  SessionPage,
  Tokens,
} from '../../shared/wire/accounts.ts';
import { ProposalShown } from '../../shared/wire/emergency.ts';
import type { Answer } from '../process/federation.ts';
import { startTestCoordinator, TEST_PASSWORD, type TestCoordinator } from '../fixtures/coordinator.ts';

let coordinator: TestCoordinator;
let [alice, bob] = ['', ''];

beforeAll(async () => {
  coordinator = await startTestCoordinator();
  alice = await coordinator.admin('alice');
  bob = await coordinator.admin('bob');
});
afterAll(() => coordinator.close());

const make = async (username: string, role: string) =>
  AccountMade.parse((await coordinator.call('/v1/accounts', { key: alice, body: { username, role } })).body);
const login = (username: string, password: string) =>
  coordinator.call('/v1/auth/login', { body: { username, password } });

describe('accounts', () => {
  it('are made with a one-time password that has to be changed', async () => {
    const { account, oneTimePassword } = await make('carol', 'viewer');
    const first = Tokens.parse((await login('carol', oneTimePassword ?? '')).body);
    expect(first.mustChangePassword).toBe(true);
    expect((await coordinator.call('/v1/sites', { key: first.accessToken })).status).toBe(403);
    await coordinator.call('/v1/auth/password', {
      key: first.accessToken,
      body: { current: oneTimePassword, next: TEST_PASSWORD },
    });
    expect((await coordinator.call('/v1/sites', { key: first.accessToken })).status).toBe(200);
    expect(account).toMatchObject({ role: 'viewer', dataClass: 'internal', secondFactor: false });
  });

  it('come in pages, filtered', async () => {
    await make('dave', 'viewer');
    const page = AccountPage.parse((await coordinator.call('/v1/accounts?limit=2', { key: alice })).body);
    expect(page.accounts.map(({ username }) => username)).toEqual(['alice', 'bob']);
    const rest = AccountPage.parse(
      (await coordinator.call(`/v1/accounts?limit=2&after=${page.next}`, { key: alice })).body,
    );
    expect(rest.accounts.map(({ username }) => username)).toContain('dave');
    const viewers = AccountPage.parse(
      (await coordinator.call('/v1/accounts?role=viewer', { key: alice })).body,
    );
    expect(new Set(viewers.accounts.map(({ role }) => role))).toEqual(new Set(['viewer']));
  });

  it('have ETags: 304 when nothing changed, and no change over another’s', async () => {
    const { account } = await make('erin', 'nurse');
    const path = `/v1/accounts/${account.id}`;
    const read = await coordinator.call(path, { key: alice });
    const etag = read.headers.get('etag') ?? '';
    expect((await coordinator.call(path, { key: alice, headers: { 'if-none-match': etag } })).status).toBe(
      304,
    );
    const patch = (headers: Record<string, string>, role: string) =>
      coordinator.call(path, { key: alice, method: 'PATCH', body: { role }, headers });
    expect((await patch({ 'if-match': etag }, 'doctor')).status).toBe(200);
    expect((await patch({ 'if-match': etag }, 'viewer')).status).toBe(409);
    expect((await patch({ 'if-match': 'weak' }, 'viewer')).status).toBe(400);
    expect((await patch({}, 'no-such-role')).status).toBe(400);
    expect(AccountShown.parse((await coordinator.call(path, { key: alice })).body).role).toBe('doctor');
  });

  it('of administrators: one is left, also when two demote each other at one moment', async () => {
    const own = await startTestCoordinator();
    try {
      const keys = [await own.admin('ann'), await own.admin('ben')];
      const { accounts } = AccountPage.parse((await own.call('/v1/accounts', { key: keys[0]! })).body);
      const demote = (at: number) =>
        own.call(`/v1/accounts/${accounts[1 - at]?.id ?? ''}`, {
          key: keys[at]!,
          method: 'PATCH',
          body: { role: 'viewer' },
        });
      const statuses = (await Promise.all([demote(0), demote(1)])).map(({ status }) => status);
      expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 409]);
    } finally {
      await own.close();
    }
  });

  it('lose their sessions at once when they are closed or reset', async () => {
    const { account, oneTimePassword } = await make('frank', 'viewer');
    const tokens = Tokens.parse((await login('frank', oneTimePassword ?? '')).body);
    const me = () => coordinator.call('/v1/auth/me', { key: tokens.accessToken });
    expect((await me()).status).toBe(200);
    await coordinator.call(`/v1/accounts/${account.id}`, {
      key: alice,
      method: 'PATCH',
      body: { status: 'disabled' },
    });
    expect((await me()).status).toBe(401);
    const grace = await make('grace', 'viewer');
    const graces = Tokens.parse((await login('grace', grace.oneTimePassword ?? '')).body);
    await coordinator.call(`/v1/accounts/${grace.account.id}/reset`, { key: alice, method: 'POST' });
    expect((await coordinator.call('/v1/auth/me', { key: graces.accessToken })).status).toBe(401);
    expect((await login('grace', grace.oneTimePassword ?? '')).status).toBe(401);
  });

  it('are unlocked by an administrator, who sees the lock though it is no change of the account', async () => {
    const { account, oneTimePassword } = await make('heidi', 'viewer');
    const read = (headers: Record<string, string> = {}) =>
      coordinator.call(`/v1/accounts/${account.id}`, { key: alice, headers });
    const tagOf = (answer: Answer): string => answer.headers.get('etag') ?? '';
    const before = tagOf(await read());
    for (let at = 0; at < 5; at += 1) await login('heidi', 'wrong');
    const locked = await read({ 'if-none-match': before });
    expect(locked).toMatchObject({ status: 200, body: { locked: true } });
    expect((await read({ 'if-none-match': tagOf(locked) })).status).toBe(304);
    const change = { key: alice, method: 'PATCH', body: { department: 'research' } };
    const headers = { 'if-match': tagOf(locked) };
    expect((await coordinator.call(`/v1/accounts/${account.id}`, { ...change, headers })).status).toBe(200);
    expect((await login('heidi', oneTimePassword ?? '')).status).toBe(401);
    await coordinator.call(`/v1/accounts/${account.id}/unlock`, { key: alice, method: 'POST' });
    expect((await login('heidi', oneTimePassword ?? '')).status).toBe(200);
  });

  it('always keep one administrator', async () => {
    const { accounts } = AccountPage.parse(
      (await coordinator.call('/v1/accounts?role=admin', { key: alice })).body,
    );
    const [first, second] = accounts;
    const demote = (id: string | undefined, key: string) =>
      coordinator.call(`/v1/accounts/${id}`, { key, method: 'PATCH', body: { role: 'viewer' } });
    expect((await demote(second?.id, alice)).status).toBe(200);
    expect((await demote(first?.id, alice)).status).toBe(409);
    const back = { key: alice, method: 'PATCH', body: { role: 'admin' } };
    expect((await coordinator.call(`/v1/accounts/${second?.id}`, back)).status).toBe(200);
  });

  it('are seen with their sessions, and an administrator ends one', async () => {
    const { oneTimePassword } = await make('ivan', 'viewer');
    const tokens = Tokens.parse((await login('ivan', oneTimePassword ?? '')).body);
    const { sessions } = SessionPage.parse((await coordinator.call('/v1/sessions', { key: alice })).body);
    const own = sessions.find(({ username }) => username === 'ivan');
    expect(own?.id).toBe(tokens.session);
    await coordinator.call(`/v1/sessions/${own?.id}`, { key: alice, method: 'DELETE' });
    expect((await coordinator.call('/v1/auth/me', { key: tokens.accessToken })).status).toBe(401);
  });
});

describe('service keys', () => {
  it('have scopes below their role, and are refused once revoked', async () => {
    const body = { name: 'dashboard', role: 'admin', scopes: ['sites.read'] };
    const { key, record } = ServiceKeyMade.parse(
      (await coordinator.call('/v1/keys', { key: alice, body })).body,
    );
    expect((await coordinator.call('/v1/sites', { key })).status).toBe(200);
    expect((await coordinator.call('/v1/accounts', { key })).status).toBe(403);
    expect(
      (await coordinator.call('/v1/keys', { key: alice, body: { ...body, scopes: ['nothing'] } })).status,
    ).toBe(400);
    await coordinator.call(`/v1/keys/${record.id}`, { key: alice, method: 'DELETE' });
    expect((await coordinator.call('/v1/sites', { key })).status).toBe(401);
  });
});

describe('a raise of what is relayed', () => {
  const propose = (key: string, microEpsilonMax: number) =>
    coordinator.call('/v1/proposals', {
      key,
      body: { kind: 'policy.epsilon', payload: { microEpsilonMax } },
    });
  const inForce = async (): Promise<unknown> =>
    ((await coordinator.call('/v1/policy', { key: alice })).body as { policy: { microEpsilonMax: number } })
      .policy.microEpsilonMax;

  beforeAll(() => coordinator.settle());

  it('needs two people, is signed, and is not to be had around them', async () => {
    const put = {
      version: 1,
      policy: { chatEnabled: true, statisticsEnabled: true, microEpsilonMax: 3_000_000 },
    };
    expect((await coordinator.call('/v1/policy', { key: alice, method: 'PUT', body: put })).status).toBe(403);
    expect((await propose(alice, 500_000)).status).toBe(409);
    const made = ProposalShown.parse((await propose(alice, 2_000_000)).body);
    expect((await propose(bob, 3_000_000)).status).toBe(409);
    const approve = (key: string) =>
      coordinator.call(`/v1/proposals/${made.id}/approve`, { key, method: 'POST' });
    expect((await approve(alice)).status).toBe(403);
    expect((await approve(await coordinator.key('admin'))).status).toBe(403);
    // Whoever she just made may be she herself.
    expect((await approve(await coordinator.admin('new'))).status).toBe(403);
    expect(await inForce()).toBe(1_000_000);
    const done = ProposalShown.parse((await approve(bob)).body);
    expect(done.status).toBe('done');
    expect(done.signature?.mldsa65.length).toBeGreaterThan(4_000);
    expect(await inForce()).toBe(2_000_000);
    expect((await approve(bob)).status).toBe(409);
  });

  it('is done once when two approve at one moment', async () => {
    const carol = await coordinator.admin('carla');
    await coordinator.settle();
    const made = ProposalShown.parse((await propose(alice, 4_000_000)).body);
    const approve = (key: string) =>
      coordinator.call(`/v1/proposals/${made.id}/approve`, { key, method: 'POST' });
    const answers = await Promise.all([approve(bob), approve(carol)]);
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409]);
  });
});

describe('an idempotency key', () => {
  const post = (headers: Record<string, string>, username: string, key = alice) =>
    coordinator.call('/v1/accounts', { key, body: { username, role: 'viewer' }, headers });

  it('does a request once and gives its answer again; another request under it is refused', async () => {
    const headers = { 'idempotency-key': 'one-and-only' };
    const [first, second] = [await post(headers, 'judy'), await post(headers, 'judy')];
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.body).toEqual(first.body);
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect((await post(headers, 'karl')).status).toBe(409);
    // It is the caller's own: somebody else's same key is another.
    expect((await post(headers, 'karl', bob)).status).toBe(201);
    expect((await post({ 'idempotency-key': 'bad key' }, 'lena')).status).toBe(400);
  });

  it('lets what failed be tried again, and one of two at one moment go ahead', async () => {
    const headers = { 'idempotency-key': 'again' };
    expect((await post(headers, 'judy')).status).toBe(409);
    expect((await post(headers, 'judy')).status).toBe(409);
    const atOnce = { 'idempotency-key': 'at-once' };
    const both = await Promise.all([post(atOnce, 'mona'), post(atOnce, 'mona')]);
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 409]);
  });
});

describe('revoking every token', () => {
  it('ends every sign-in at once, the own one too', async () => {
    const admin = await coordinator.key('admin');
    const { body } = await coordinator.call('/v1/sessions', { key: admin, method: 'DELETE' });
    expect((body as { sessions: number }).sessions).toBeGreaterThan(2);
    for (const key of [alice, bob]) expect((await coordinator.call('/v1/auth/me', { key })).status).toBe(401);
  });
});

describe('the audit log', () => {
  it('names, by pseudonym, who did each act of a person or a program', async () => {
    const key = await coordinator.key('admin');
    const act = (path: string, method: string, body?: unknown) =>
      coordinator.call(path, { key, method, ...(body === undefined ? {} : { body }) });
    const policy = (await act('/v1/policy', 'GET')).body as { version: number };
    expect((await act('/v1/policy', 'PUT', policy)).status).toBe(200);
    expect((await act('/v1/invitations', 'POST', { site: 'somewhere' })).status).toBe(201);
    expect((await act('/v1/tasks/export', 'GET')).status).toBe(200);
    expect((await act('/security/audit', 'GET')).status).toBe(200);
    const task = { spec: { kind: 'quantum', job: { type: 'chsh', seed: 1 } } };
    expect((await act('/v1/tasks', 'POST', task)).status).toBe(201);
    const { audit } = coordinator.running.home;
    const unnamed = [];
    for await (const { action, role, actor } of audit.entries(0, Number.MAX_SAFE_INTEGER))
      // A task starts by itself; its entry says whose role it has.
      if (role !== null && actor === null && action !== 'task.started') unnamed.push(action);
    expect(unnamed).toEqual([]);
  });

  it('has no id that somebody made up', async () => {
    const [key, madeUp] = [await coordinator.key('admin'), 'alice-smith-1970'];
    const answer = await coordinator.call(`/v1/keys/${madeUp}`, { key, method: 'DELETE' });
    expect(answer.status).toBe(404);
    const { audit } = coordinator.running.home;
    for await (const entry of audit.entries(0, Number.MAX_SAFE_INTEGER))
      expect(JSON.stringify(entry)).not.toContain(madeUp);
  });
});
