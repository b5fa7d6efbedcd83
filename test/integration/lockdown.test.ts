/** Stopping everything, and going on: real HTTP, a real webhook, a real SMTP server. */
import { createHmac } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { utf8 } from '../../shared/bytes.ts';
import { verifyHybrid } from '../../shared/crypto/signature.ts';
import type { CoordinatorHome } from '../../coordinator/home.ts';
import { DECISION_LABEL, decisionBytes } from '../../coordinator/emergency/proposals.ts';
import { AccountMade, AccountPage, ServiceKeyMade, Tokens } from '../../shared/wire/accounts.ts';
import { LockdownShown, NoticePage, ProposalShown } from '../../shared/wire/emergency.ts';
import { startTestCoordinator, TEST_PASSWORD, type TestCoordinator } from '../fixtures/coordinator.ts';
import { eventually } from '../fixtures/processes.ts';

const SECRET = 'a secret of thirty-two characters';
interface Hook {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}
const hooks: Hook[] = [];
const mails: string[] = [];
let refusals = 1;
let hookServer: Server;
let mailServer: SMTPServer;
let coordinator: TestCoordinator;

const listenHook = (): Promise<number> =>
  new Promise((resolve) => {
    hookServer = createServer((request, response) => {
      let body = '';
      request.on('data', (piece: Buffer) => (body += piece.toString()));
      request.on('end', () => {
        // The first attempt is refused: it has to come again.
        refusals -= 1;
        if (refusals < 0) hooks.push({ headers: request.headers, body });
        response.writeHead(refusals < 0 ? 204 : 503).end();
      });
    });
    hookServer.listen(0, '127.0.0.1', () => resolve((hookServer.address() as AddressInfo).port));
  });
const listenMail = (): Promise<number> =>
  new Promise((resolve) => {
    mailServer = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      onData(stream, _session, done) {
        let text = '';
        stream.on('data', (piece: Buffer) => (text += piece.toString()));
        stream.on('end', () => {
          mails.push(text);
          done();
        });
      },
    });
    mailServer.listen(0, '127.0.0.1', () => resolve((mailServer.server.address() as AddressInfo).port));
  });

beforeAll(async () => {
  const [hookPort, mailPort] = [await listenHook(), await listenMail()];
  coordinator = await startTestCoordinator(
    `notifications:
  webhooks: [{url: "http://127.0.0.1:${hookPort}/hook", secret_env: HOOK_SECRET}]
  smtp: {host: 127.0.0.1, port: ${mailPort}, to: [security@hospital.test]}
`,
    { HOOK_SECRET: SECRET },
  );
});
afterAll(async () => {
  await coordinator.close();
  hookServer.close();
  await new Promise<void>((resolve) => mailServer.close(resolve));
});

describe('a lockdown', () => {
  it('stops everything at once, survives a restart, is told outside, and ends by two people', async () => {
    const [alice, bob] = [await coordinator.admin('alice'), await coordinator.admin('bob')];
    const [viewer, admin] = [await coordinator.key('viewer'), await coordinator.key('admin')];
    const start = { key: alice, body: { reason: 'a stolen laptop' } };
    expect((await coordinator.call('/v1/lockdown', { ...start, body: { reason: '' } })).status).toBe(400);
    const on = LockdownShown.parse((await coordinator.call('/v1/lockdown', start)).body);
    expect(on).toMatchObject({ on: true, reason: 'a stolen laptop', count: 1 });

    // Tokens are revoked, also hers; keys rest, but for those who look after it.
    for (const key of [alice, bob]) expect((await coordinator.call('/v1/auth/me', { key })).status).toBe(401);
    expect((await coordinator.call('/v1/sites', { key: viewer })).status).toBe(503);
    expect((await coordinator.call('/v1/sites', { key: admin })).status).toBe(200);
    const task = { key: admin, body: { spec: { kind: 'quantum', job: { type: 'chsh', seed: 1 } } } };
    const refused = await coordinator.call('/v1/tasks', task);
    expect([refused.status, (refused.body as { code: string }).code]).toEqual([503, 'lockdown']);
    expect((await coordinator.call('/v1/lockdown', { key: admin, body: { reason: 'again' } })).status).toBe(
      409,
    );

    await coordinator.restart();
    expect(LockdownShown.parse((await coordinator.call('/v1/lockdown', { key: admin })).body).on).toBe(true);
    expect((await coordinator.call('/v1/tasks', task)).status).toBe(503);

    // A key is no person; a person needs another one.
    const propose = (key: string) =>
      coordinator.call('/v1/proposals', { key, body: { kind: 'lockdown.release' } });
    expect((await propose(admin)).status).toBe(403);
    const password = await coordinator.call('/v1/auth/login', {
      body: { username: 'alice', password: TEST_PASSWORD },
    });
    expect(password.status).toBe(401);
  });

  it('reaches the webhook, signed and only once it is taken, and the mailbox, without any name', async () => {
    await eventually('the webhook and the mail arrived', () =>
      Promise.resolve(hooks.length > 0 && mails.length > 0),
    );
    const [{ headers, body } = { headers: {}, body: '' }] = hooks;
    const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`;
    expect(headers['webhook-signature']).toBe(
      `v1,${createHmac('sha256', SECRET).update(signed).digest('base64')}`,
    );
    expect(JSON.parse(body)).toMatchObject({ type: 'lockdown.on', federation: 'test' });
    expect(mails[0]).toContain('LOCKDOWN');
    for (const text of [body, mails[0] ?? '']) expect(text).not.toMatch(/alice|stolen laptop/);
    const { notices } = NoticePage.parse(
      (await coordinator.call('/v1/notices', { key: await coordinator.key('admin') })).body,
    );
    const [notice] = notices;
    await eventually('both are noted as delivered', async () => {
      const page = NoticePage.parse(
        (await coordinator.call('/v1/notices', { key: await coordinator.key('admin') })).body,
      );
      return page.notices[0]?.targets.every(({ deliveredMs }) => deliveredMs !== null) ?? false;
    });
    expect(notice?.targets.map(({ kind }) => kind).toSorted()).toEqual(['smtp', 'webhook']);
    expect(JSON.stringify(notices)).not.toContain('/hook');
  });
});

/** What a crash leaves. */
const leave = ({ store }: CoordinatorHome, state: object, ...proposals: { id: string }[]): Promise<void> => {
  const put = (key: string, value: object) =>
    ({ type: 'put', key, value: utf8(JSON.stringify(value)) }) as const;
  return store.write([
    put('lockdown/state', { sinceMs: 1, by: null, count: 1, ...state }),
    ...proposals.map((one) => put(`proposal/${one.id}`, one)),
  ]);
};

describe('a lockdown that a crash cut short', () => {
  it('ends the sessions from before it, before anybody can come in again', async () => {
    const own = await startTestCoordinator();
    try {
      const alice = await own.admin('alice');
      await own.whileStopped((home) => leave(home, { on: true, reason: 'x', pending: true }));
      expect((await own.call('/v1/auth/me', { key: alice })).status).toBe(401);
      const key = await own.key('admin');
      expect(LockdownShown.parse((await own.call('/v1/lockdown', { key })).body).on).toBe(true);
    } finally {
      await own.close();
    }
  });
});

describe('the end of a lockdown', () => {
  it('that was decided before a crash comes with the next start, for that lockdown only', async () => {
    const own = await startTestCoordinator();
    try {
      const key = await own.key('admin');
      const isOn = async () => LockdownShown.parse((await own.call('/v1/lockdown', { key })).body).on;
      const approved = {
        id: 'f'.repeat(16),
        kind: 'lockdown.release',
        summary: 'End the lockdown',
        payload: {},
        status: 'approved',
        proposedBy: 'a'.repeat(32),
        proposedMs: 1,
        expiresMs: 2,
        decidedBy: 'b'.repeat(32),
        decidedMs: 2,
        signature: null,
        version: 2,
        proposer: 'a'.repeat(16),
        decider: 'b'.repeat(16),
        deciderRole: 'admin',
        basis: 1,
      };
      await own.whileStopped((home) =>
        leave(home, { on: true, reason: 'the next one', count: 2, pending: false }, approved),
      );
      expect(await isOn()).toBe(true);
      await own.whileStopped((home) =>
        leave(home, { on: true, reason: 'this one', pending: false }, approved),
      );
      expect(await isOn()).toBe(false);
      const task = { key, body: { spec: { kind: 'quantum', job: { type: 'chsh', seed: 1 } } } };
      expect((await own.call('/v1/tasks', task)).status).toBe(201);
    } finally {
      await own.close();
    }
  });

  it('is not to be had by one person: not with a key made in it, nor with an account reset or made in it', async () => {
    const own = await startTestCoordinator('security: {second_factor_roles: []}');
    try {
      const alice = await own.admin('alice');
      await own.admin('bob');
      const { accounts } = AccountPage.parse((await own.call('/v1/accounts', { key: alice })).body);
      await own.call('/v1/lockdown', { key: alice, body: { reason: 'a drill' } });
      const again = await own.again('alice');
      const { key } = ServiceKeyMade.parse(
        (
          await own.call('/v1/keys', {
            key: again,
            body: { name: 'x', role: 'admin', department: 'operations', dataClass: 'internal' },
          })
        ).body,
      );
      const bob = accounts.find(({ username }) => username === 'bob')?.id ?? '';
      const entered: string[] = [];
      const enter = async (username: string, password: string): Promise<void> => {
        const { accessToken } = Tokens.parse(
          (await own.call('/v1/auth/login', { body: { username, password } })).body,
        );
        const body = { current: password, next: TEST_PASSWORD };
        expect((await own.call('/v1/auth/password', { key: accessToken, body })).status).toBe(200);
        entered.push(accessToken);
      };
      const reset = (await own.call(`/v1/accounts/${bob}/reset`, { key, method: 'POST' })).body;
      await enter('bob', (reset as { oneTimePassword: string }).oneTimePassword);
      const made = await own.call('/v1/accounts', { key, body: { username: 'eve', role: 'admin' } });
      await enter('eve', AccountMade.parse(made.body).oneTimePassword ?? '');
      const { id } = ProposalShown.parse(
        (await own.call('/v1/proposals', { key: again, body: { kind: 'lockdown.release' } })).body,
      );
      for (const other of [key, ...entered])
        expect((await own.call(`/v1/proposals/${id}/approve`, { key: other, method: 'POST' })).status).toBe(
          403,
        );
      expect(LockdownShown.parse((await own.call('/v1/lockdown', { key })).body).on).toBe(true);
    } finally {
      await own.close();
    }
  });

  it('is signed by the coordinator, and everything goes on', async () => {
    const own = await startTestCoordinator();
    try {
      for (const name of ['alice', 'bob']) await own.admin(name);
      const admin = await own.key('admin');
      await own.call('/v1/lockdown', { key: admin, body: { reason: 'a drill' } });
      const { running } = own;
      const [alice, bob] = [await own.again('alice'), await own.again('bob')];
      const made = ProposalShown.parse(
        (await own.call('/v1/proposals', { key: alice, body: { kind: 'lockdown.release' } })).body,
      );
      expect(
        (await own.call(`/v1/proposals/${made.id}/approve`, { key: alice, method: 'POST' })).status,
      ).toBe(403);
      const done = ProposalShown.parse(
        (await own.call(`/v1/proposals/${made.id}/approve`, { key: bob, method: 'POST' })).body,
      );
      expect(done.status).toBe('done');
      const { ed25519, mldsa65 } = done.signature ?? { ed25519: '', mldsa65: '' };
      const signature = { ed25519: Buffer.from(ed25519, 'base64'), mldsa65: Buffer.from(mldsa65, 'base64') };
      const keys = running.home.vault.identity.publicKeys;
      expect(verifyHybrid(keys, DECISION_LABEL, decisionBytes(done), signature)).toBe(true);
      expect(
        verifyHybrid(keys, DECISION_LABEL, decisionBytes({ ...done, decidedBy: done.proposedBy }), signature),
      ).toBe(false);
      const task = { key: admin, body: { spec: { kind: 'quantum', job: { type: 'chsh', seed: 1 } } } };
      const again = await own.call('/v1/tasks', task);
      expect(again, JSON.stringify(again.body)).toMatchObject({ status: 201 });
    } finally {
      await own.close();
    }
  });
});
