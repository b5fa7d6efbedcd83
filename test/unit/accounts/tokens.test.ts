import { createHmac, generateKeyPairSync } from 'node:crypto';
import { SignJWT, UnsecuredJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { verifyCompact } from '../../../coordinator/access/tokens.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../../shared/clock.ts';
import { hasShared, readSharedJson, whyMissing } from '../../fixtures/shared-data.ts';
import { createHeldStore } from '../../fixtures/held-store.ts';
import type { QflError } from '../../../shared/errors.ts';
import type { AccountId } from '../../../shared/ids.ts';
import type { Tokens } from '../../../shared/wire/accounts.ts';
import { ADDRESS, type Desk, openDesk, PASSWORD } from './fixture.ts';

const signedIn = async (options = {}) => {
  const desk = await openDesk(options);
  const account = await desk.person('alice');
  const tokens = await desk.signIn.withPassword({ username: 'alice', password: PASSWORD }, ADDRESS);
  return { desk, account, tokens };
};
const refused = { code: 'unauthenticated' };

describe.each(['RS256', 'EdDSA'] as const)('access tokens with %s', (algorithm) => {
  it('say who and which session, live an hour, and are refused once anything of them is changed', async () => {
    const { desk, account, tokens } = await signedIn({ algorithm });
    const { accessToken } = tokens;
    expect(await desk.authenticator.verify(accessToken)).toMatchObject({ id: account.id, kind: 'account' });
    const [head = '', body = '', signature = ''] = accessToken.split('.');
    const headers = JSON.parse(Buffer.from(head, 'base64url').toString()) as Record<string, unknown>;
    expect(headers['alg']).toBe(algorithm);
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>;
    expect(Object.keys(claims).toSorted()).toEqual(['aud', 'exp', 'iat', 'iss', 'jti', 'sid', 'sub']);
    const forged = Buffer.from(JSON.stringify({ ...claims, sub: '0'.repeat(16) })).toString('base64url');
    for (const bad of [
      `${head}.${forged}.${signature}`,
      `${head}.${body}.`,
      `${head}.${body}.${signature.slice(4)}AAAA`,
    ])
      await expect(desk.authenticator.verify(bad)).rejects.toMatchObject(refused);
    // A minute past its end; the session itself was used in between.
    for (let at = 0; at < 5; at += 1) {
      desk.clock.timeMs += 12 * MINUTE_MS;
      desk.sessions.use(tokens.session);
    }
    desk.clock.timeMs += MINUTE_MS;
    await expect(desk.authenticator.verify(accessToken)).rejects.toMatchObject(refused);
  });

  it('are not taken unsigned, from another key, for another audience, or in another algorithm', async () => {
    const { desk, account, tokens } = await signedIn({ algorithm });
    const key = await desk.tokenKeys.signing();
    const nowS = Math.floor(desk.clock.timeMs / 1000);
    const make = (audience: string, type = 'at+jwt') =>
      new SignJWT({ sid: tokens.session })
        .setProtectedHeader({ alg: key.algorithm, kid: key.kid, typ: type })
        .setSubject(account.id)
        .setIssuer('urn:qfl:test')
        .setAudience(audience)
        .setJti('1')
        .setIssuedAt(nowS)
        .setExpirationTime(nowS + 60);
    await desk.authenticator.verify(await make('qfl-coordinator').sign(key.privateKey));
    await expect(
      desk.authenticator.verify(await make('someone-else').sign(key.privateKey)),
    ).rejects.toMatchObject(refused);
    await expect(
      desk.authenticator.verify(await make('qfl-coordinator', 'JWT').sign(key.privateKey)),
    ).rejects.toMatchObject(refused);
    const other =
      key.algorithm === 'RS256'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ed25519');
    await expect(
      desk.authenticator.verify(await make('qfl-coordinator').sign(other.privateKey)),
    ).rejects.toMatchObject(refused);
    const unsigned = new UnsecuredJWT({ sid: tokens.session }).setSubject(account.id).encode();
    await expect(desk.authenticator.verify(unsigned)).rejects.toMatchObject(refused);
    // Algorithm confusion: the public key as an HMAC secret.
    const pem = key.publicKey.export({ type: 'spki', format: 'pem' });
    const head = Buffer.from(JSON.stringify({ alg: 'HS256', kid: key.kid, typ: 'at+jwt' })).toString(
      'base64url',
    );
    const body = tokens.accessToken.split('.')[1] ?? '';
    const mac = createHmac('sha256', pem).update(`${head}.${body}`).digest('base64url');
    await expect(desk.authenticator.verify(`${head}.${body}.${mac}`)).rejects.toMatchObject(refused);
  });
});

describe('token keys', () => {
  it('are renewed at day 75 of 90; the old one verifies as long as its tokens can live', async () => {
    const { desk } = await signedIn();
    const first = await desk.tokenKeys.signing();
    desk.clock.timeMs += 74 * DAY_MS;
    expect((await desk.tokenKeys.signing()).kid).toBe(first.kid);
    desk.clock.timeMs += 2 * DAY_MS;
    const second = await desk.tokenKeys.signing();
    expect(second.kid).not.toBe(first.kid);
    expect(desk.tokenKeys.find(first.kid)).toBeDefined();
    desk.clock.timeMs += HOUR_MS + 1;
    expect(desk.tokenKeys.find(first.kid)).toBeUndefined();
    expect(desk.tokenKeys.jwks().keys).toHaveLength(1);
  });

  it('are forgotten at once in an emergency, and outlive a restart otherwise', async () => {
    const { desk, tokens } = await signedIn();
    const again = await openDesk({ store: desk.store, clock: desk.clock });
    await again.authenticator.verify(tokens.accessToken);
    await again.tokenKeys.rotate(true);
    await expect(again.authenticator.verify(tokens.accessToken)).rejects.toMatchObject(refused);
  });

  it('show no private part', async () => {
    const { desk } = await signedIn({ algorithm: 'RS256' });
    const [key] = desk.tokenKeys.jwks().keys;
    expect(Object.keys(key ?? {}).toSorted()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use']);
  });
});

describe('sessions', () => {
  it('end after eight hours whatever happens, and after half an hour without a request', async () => {
    const { desk, tokens } = await signedIn();
    for (let at = 0; at < 19; at += 1) {
      desk.clock.timeMs += 25 * MINUTE_MS;
      expect(desk.sessions.use(tokens.session)).toBeDefined();
    }
    desk.clock.timeMs += 6 * MINUTE_MS;
    expect(desk.sessions.use(tokens.session)).toBeUndefined();
    const idle = await signedIn();
    idle.desk.clock.timeMs += 31 * MINUTE_MS;
    expect(idle.desk.sessions.use(idle.tokens.session)).toBeUndefined();
  });

  it('are over at once when revoked, and when the account is closed', async () => {
    const { desk, account, tokens } = await signedIn();
    await desk.sessions.end(tokens.session);
    await expect(desk.authenticator.verify(tokens.accessToken)).rejects.toMatchObject(refused);
    await expect(desk.signIn.refresh(tokens.refreshToken)).rejects.toMatchObject(refused);
    const second = await desk.signIn.withPassword({ username: 'alice', password: PASSWORD }, ADDRESS);
    await desk.accounts.update(account.id, () => ({ status: 'disabled' }));
    await expect(desk.authenticator.verify(second.accessToken)).rejects.toMatchObject(refused);
    await expect(desk.signIn.refresh(second.refreshToken)).rejects.toMatchObject(refused);
  });

  it('give a refresh token that works once; an old one shown again ends the session', async () => {
    const { desk, tokens } = await signedIn();
    const next = await desk.signIn.refresh(tokens.refreshToken);
    expect(next.refreshToken).not.toBe(tokens.refreshToken);
    await desk.authenticator.verify(next.accessToken);
    await expect(desk.signIn.refresh(tokens.refreshToken)).rejects.toMatchObject(refused);
    expect(desk.events.at(-1)?.action).toBe('session.token_reused');
    await expect(desk.signIn.refresh(next.refreshToken)).rejects.toMatchObject(refused);
    await expect(desk.authenticator.verify(next.accessToken)).rejects.toMatchObject(refused);
  });

  it('do not end for a made-up token, nor give two successors to one', async () => {
    const { desk, tokens } = await signedIn();
    const [, session, , mac = ''] = tokens.refreshToken.split('_');
    const bad = ['', 'x', `qflr_${session}_5_${mac}`, `qflr_${session}_0_${'A'.repeat(43)}`];
    for (const token of bad) await expect(desk.signIn.refresh(token)).rejects.toMatchObject(refused);
    await desk.authenticator.verify(tokens.accessToken);
    const both = await Promise.allSettled([
      desk.signIn.refresh(tokens.refreshToken),
      desk.signIn.refresh(tokens.refreshToken),
    ]);
    expect(both.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(1);
  });

  it.each([
    ['this one is ended', (desk: Desk, { session }: Tokens) => desk.sessions.end(session)],
    ['those of the account are', (desk: Desk, _: Tokens, id: AccountId) => desk.sessions.endAll(id)],
    ['all are', (desk: Desk) => desk.sessions.endAll()],
  ])('do not come back when %s while a refresh is being kept', async (_name, end) => {
    const store = createHeldStore();
    const { desk, account, tokens } = await signedIn({ store });
    const letGo = store.hold();
    const refreshing = desk.signIn.refresh(tokens.refreshToken).catch((error: unknown) => error);
    await store.waiting();
    const ending = end(desk, tokens, account.id);
    expect(desk.sessions.use(tokens.session)).toBeUndefined();
    letGo();
    expect(await refreshing).toMatchObject(refused);
    await ending;
    expect(desk.sessions.list()).toEqual([]);
    await expect(desk.authenticator.verify(tokens.accessToken)).rejects.toMatchObject(refused);
    expect((await openDesk({ store, clock: desk.clock })).sessions.list()).toEqual([]);
  });

  it('are not begun by a sign-in that all were ended in the middle of', async () => {
    for (const end of [
      (desk: Desk) => desk.sessions.endAll(),
      (desk: Desk, id: AccountId) => desk.sessions.endAll(id),
    ]) {
      const desk = await openDesk();
      const { id } = await desk.person('alice');
      const letGo = desk.hasher.hold();
      const signingIn = desk.signIn
        .withPassword({ username: 'alice', password: PASSWORD }, ADDRESS)
        .catch((error: unknown) => error);
      await end(desk, id);
      letGo();
      expect(await signingIn).toMatchObject(refused);
      expect(desk.sessions.list()).toEqual([]);
    }
  });

  it('are not begun by a sign-in that is being kept when all are ended, or the account is closed', async () => {
    for (const end of [
      (desk: Desk) => desk.sessions.endAll(),
      (desk: Desk, id: AccountId) => desk.accounts.update(id, () => ({ status: 'disabled' })),
    ]) {
      const store = createHeldStore();
      const desk = await openDesk({ store });
      const { id } = await desk.person('alice');
      const letGo = store.hold();
      const signingIn = desk.signIn
        .withPassword({ username: 'alice', password: PASSWORD }, ADDRESS)
        .catch((error: unknown) => error);
      await store.waiting();
      const ending = end(desk, id);
      letGo();
      await Promise.all([signingIn, ending]);
      const outcome = (await signingIn) as Tokens | QflError;
      expect(outcome).toMatchObject(refused);
      expect(desk.sessions.list()).toEqual([]);
      expect((await openDesk({ store, clock: desk.clock })).sessions.list()).toEqual([]);
    }
  });

  it('are at most twenty for one account: the oldest gives way', async () => {
    const { desk, account, tokens } = await signedIn();
    for (let at = 0; at < 20; at += 1) {
      desk.clock.timeMs += 1;
      await desk.sessions.begin(account.id, 'password');
    }
    expect(desk.sessions.list(account.id)).toHaveLength(20);
    expect(desk.sessions.use(tokens.session)).toBeUndefined();
  });
});

const Vectors = z.looseObject({
  testGroups: z.array(
    z.looseObject({
      public: z.record(z.string(), z.unknown()).optional(),
      private: z.record(z.string(), z.unknown()).optional(),
      tests: z.array(z.looseObject({ tcId: z.int(), jws: z.string(), result: z.string() })),
    }),
  ),
});

const FILE = 'vectors/wycheproof-jws-even.json';

describe.skipIf(!hasShared(FILE))(`the check of a compact JWS against Wycheproof${whyMissing(FILE)}`, () => {
  it('refuses every invalid one, and takes RS256 only', async () => {
    const { testGroups } = Vectors.parse(readSharedJson(FILE));
    let [accepted, cases] = [0, 0];
    for (const { public: publicKey, private: privateKey, tests } of testGroups)
      for (const { tcId, jws, result } of tests) {
        cases += 1;
        const key = (publicKey ?? privateKey ?? {}) as { alg?: string };
        // The key stands for every kid; it is the algorithm of the header that must not choose.
        const isTaken = await verifyCompact(jws, () => ({ publicKey: key, algorithm: 'RS256' })).then(
          () => true,
          () => false,
        );
        const header = /^[\w-]+/.exec(jws)?.[0] ?? '';
        const alg = /"alg"\s*:\s*"(\w+)"/.exec(Buffer.from(header, 'base64url').toString())?.[1];
        const wanted =
          result === 'valid' && alg === 'RS256' && (key.alg === undefined || key.alg === 'RS256');
        expect(isTaken, `case ${tcId}`).toBe(wanted);
        accepted += isTaken ? 1 : 0;
      }
    expect(cases).toBe(200);
    expect(accepted).toBeGreaterThan(0);
  });
});
