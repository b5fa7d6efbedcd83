/** Faults of the door: each is put in, and the check that guards it is shown to notice. */
import { describe, expect, it } from 'vitest';
import { SignJWT } from 'jose';
import { createHmac } from 'node:crypto';
import { createAuthenticator } from '../../coordinator/access/authenticator.ts';
import type { Lockout } from '../../coordinator/access/lockout.ts';
import { SETTLING_MS } from '../../coordinator/emergency/proposals.ts';
import { createProposals, LOCKED_MS } from '../fixtures/proposals.ts';
import { useCode, newTotp } from '../../coordinator/access/second-factor.ts';
import { createAccessTokens } from '../../coordinator/access/tokens.ts';
import { authorizePrincipal } from '../../shared/access/authorize.ts';
import type { Principal } from '../../shared/access/principal.ts';
import { DepartmentId } from '../../shared/ids.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { ADDRESS, codeOf, openDesk, PASSWORD } from '../unit/accounts/fixture.ts';
import { TEST_RULES, TestClock } from '../unit/http/fixture.ts';

const isRefused = (attempt: Promise<unknown>): Promise<boolean> =>
  attempt.then(
    () => false,
    () => true,
  );

/** Forty guesses at one moment at the sign-in that people use, the last of them right: may it come in? */
const lastGuessComesIn = async (fault?: (lockout: Lockout) => Lockout): Promise<boolean> => {
  const desk = await openDesk(fault === undefined ? {} : { lockout: fault });
  await desk.person('alice');
  // All wait at the slow part together.
  const letGo = desk.hasher.hold();
  const guesses = Array.from({ length: 40 }, (_, at) =>
    isRefused(
      desk.signIn.withPassword(
        { username: 'alice', password: at === 39 ? PASSWORD : 'wrong' },
        `198.51.100.${at}`,
      ),
    ),
  );
  letGo();
  return (await Promise.all(guesses)).at(-1) === false;
};

/** What it says of an account is what was so when all of them came. */
const askedBefore = (lockout: Lockout): Lockout => ({ ...lockout, isAccountLocked: () => false });

describe('the lockout', () => {
  it('catches a lock that is not asked again after the slow part', async () => {
    expect(await lastGuessComesIn(askedBefore)).toBe(true);
    expect(await lastGuessComesIn()).toBe(false);
  });
});

describe('tokens', () => {
  it('catches a key that would verify any algorithm', async () => {
    const desk = await openDesk({ algorithm: 'RS256' });
    const account = await desk.person('alice');
    const { session } = await desk.sessions.begin(account.id, 'password');
    const key = await desk.tokenKeys.signing();
    const nowS = Math.floor(desk.clock.timeMs / 1000);
    // Signed in another algorithm of the same key.
    const confused = await new SignJWT({ sid: session.id })
      .setProtectedHeader({ alg: 'PS256', kid: key.kid, typ: 'at+jwt' })
      .setSubject(account.id)
      .setIssuer('urn:qfl:test')
      .setAudience('qfl-coordinator')
      .setJti('1')
      .setIssuedAt(nowS)
      .setExpirationTime(nowS + 60)
      .sign(key.privateKey);
    expect(await isRefused(desk.authenticator.verify(confused))).toBe(true);
    // Without the rule, a header that says so chooses how the key is used.
    const { jwtVerify } = await import('jose');
    const lax = await jwtVerify(confused, key.publicKey, { currentDate: new Date(desk.clock.timeMs) });
    expect(lax.payload.sub).toBe(account.id);
  });

  it('catches sessions that are not asked: a revoked one would go on for an hour', async () => {
    const desk = await openDesk();
    await desk.person('alice');
    const tokens = await desk.signIn.withPassword({ username: 'alice', password: PASSWORD }, ADDRESS);
    const session = desk.sessions.list()[0]!;
    const careless = createAuthenticator({
      keys: desk.authenticator,
      tokens: createAccessTokens({
        keys: desk.tokenKeys,
        issuer: 'urn:qfl:test',
        clock: desk.clock,
        random: secureRandomBytes,
        lifeMs: () => 1,
      }),
      sessions: { use: () => session },
      accounts: desk.accounts,
      signIn: desk.signIn,
    });
    await desk.sessions.end(tokens.session);
    expect(await isRefused(careless.verify(tokens.accessToken))).toBe(false);
    expect(await isRefused(desk.authenticator.verify(tokens.accessToken))).toBe(true);
  });

  it('catches refresh tokens whose reuse is not noticed', async () => {
    const desk = await openDesk();
    await desk.person('alice');
    const stolen = await desk.signIn.withPassword({ username: 'alice', password: PASSWORD }, ADDRESS);
    const own = await desk.signIn.refresh(stolen.refreshToken);
    // A check of the seal alone takes the old one too.
    const [, id = '', generation = '', mac = ''] =
      /^qflr_([0-9a-f]+)_(\d+)_(.+)$/.exec(stolen.refreshToken) ?? [];
    const kept = desk.sessions.list()[0]!;
    const seal = createHmac('sha256', Buffer.from(kept.key, 'hex'))
      .update(`refresh ${id} ${generation}`)
      .digest('base64url');
    expect(seal).toBe(mac);
    expect(await isRefused(desk.signIn.refresh(stolen.refreshToken))).toBe(true);
    expect(await isRefused(desk.signIn.refresh(own.refreshToken))).toBe(true);
  });
});

describe('the second factor', () => {
  it('catches a code that works twice', async () => {
    const clock = new TestClock();
    const totp = newTotp();
    const code = await codeOf(totp.secret, clock);
    const next = await useCode(totp, code, clock.timeMs);
    expect(next?.lastStep).toBeGreaterThan(0);
    expect(await useCode(next!, code, clock.timeMs)).toBeUndefined();
    // Forgetting the step lets it in again.
    expect(await useCode({ ...next!, lastStep: 0 }, code, clock.timeMs)).toBeDefined();
  });
});

const person = (id: string, rest: Partial<Principal> = {}): Principal => ({
  kind: 'account',
  id,
  name: id,
  role: 'admin',
  department: DepartmentId.parse('operations'),
  dataClass: 'restricted',
  scopes: null,
  sessionId: null,
  isRestricted: false,
  ...rest,
});

describe('two people', () => {
  const [alice, bob] = ['a'.repeat(16), 'b'.repeat(16)];

  it('catches one who approves what she proposed, and a key that stands in for a person', async () => {
    const { proposals, done } = await createProposals();
    const made = await proposals.propose('lockdown.release', {}, person(alice));
    for (const by of [person(alice), person(bob, { kind: 'key' }), person(bob, { kind: 'operator' })])
      expect(await isRefused(proposals.approve(made.id, by))).toBe(true);
    expect(done()).toBe(0);
    await proposals.approve(made.id, person(bob));
    expect(done()).toBe(1);
  });

  it('catches one who made or reset the account of the other just before, or after the wish', async () => {
    const startMs = new TestClock().nowMs();
    const fresh = await createProposals({ [bob]: startMs - 1 });
    // As proposer too: who reset it would approve with the own one.
    expect(await isRefused(fresh.proposals.propose('policy.epsilon', {}, person(bob)))).toBe(true);
    const made = await fresh.proposals.propose('policy.epsilon', {}, person(alice));
    expect(await isRefused(fresh.proposals.approve(made.id, person(bob)))).toBe(true);
    fresh.clock.timeMs = startMs + SETTLING_MS - 2;
    expect(await isRefused(fresh.proposals.approve(made.id, person(bob)))).toBe(true);
    fresh.clock.timeMs += 1;
    await fresh.proposals.approve(made.id, person(bob));
    expect(fresh.done()).toBe(1);
  });

  it('catches an account made in a lockdown that would end it; one from just before may', async () => {
    const carol = 'c'.repeat(16);
    const { proposals, done } = await createProposals({ [bob]: LOCKED_MS + 1, [carol]: LOCKED_MS });
    const made = await proposals.propose('lockdown.release', {}, person(alice));
    expect(await isRefused(proposals.approve(made.id, person(bob)))).toBe(true);
    expect(done()).toBe(0);
    await proposals.approve(made.id, person(carol));
    expect(done()).toBe(1);
  });

  it.each([false, true])(
    'catches a decision that a crash loses, or carries out twice (carried out before it: %s)',
    async (wasDone) => {
      const first = await createProposals();
      const made = await first.proposals.propose('policy.epsilon', {}, person(alice));
      first.before(() => Promise.reject(new Error('the machine stops here')));
      await expect(first.proposals.approve(made.id, person(bob))).rejects.toThrow('stops here');
      // Decided and signed, before anything was done about it.
      const after = await createProposals({}, first.store);
      const kept = after.proposals.get(made.id);
      expect(kept).toMatchObject({ status: 'approved', decidedBy: expect.stringMatching(/./) as string });
      expect(kept.signature).not.toBeNull();
      if (wasDone) after.wasDone();
      await after.proposals.complete();
      await after.proposals.complete();
      expect(after.done()).toBe(1);
      expect(after.proposals.get(made.id).status).toBe('done');
      await expect(after.proposals.refuse(made.id, person(alice))).rejects.toMatchObject({
        code: 'conflict',
      });
    },
  );

  it('goes on with what is approved when that is asked for again, by a person', async () => {
    const { proposals, before, done } = await createProposals();
    const made = await proposals.propose('policy.epsilon', {}, person(alice));
    before(() => Promise.reject(new Error('a fault')));
    await expect(proposals.approve(made.id, person(bob))).rejects.toThrow('a fault');
    before(() => Promise.resolve());
    expect(await isRefused(proposals.approve(made.id, person(bob, { kind: 'key' })))).toBe(true);
    expect((await proposals.approve(made.id, person(alice))).status).toBe('done');
    expect(done()).toBe(1);
  });

  it('catches an act without an entry: a log that fails stops it', async () => {
    const { proposals, done, breakLog } = await createProposals();
    const made = await proposals.propose('lockdown.release', {}, person(alice));
    breakLog();
    expect(await isRefused(proposals.approve(made.id, person(bob)))).toBe(true);
    expect(done()).toBe(0);
  });
});

describe('scopes', () => {
  it('catches a key whose scopes are not looked at', () => {
    const scoped = person('c', { kind: 'key', scopes: ['sites.read'] });
    const attempt = (who: Principal): string => {
      try {
        authorizePrincipal(TEST_RULES, who, 'accounts.change', '192.0.2.1');
        return 'in';
      } catch {
        return 'refused';
      }
    };
    expect(attempt(scoped)).toBe('refused');
    expect(attempt({ ...scoped, scopes: null })).toBe('in');
  });
});
