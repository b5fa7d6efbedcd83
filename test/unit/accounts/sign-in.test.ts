import { describe, expect, it } from 'vitest';
import { MINUTE_MS } from '../../../shared/clock.ts';
import { QflError } from '../../../shared/errors.ts';
import { type AccountId, SessionId } from '../../../shared/ids.ts';
import type { Tokens } from '../../../shared/wire/accounts.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import { createHeldStore } from '../../fixtures/held-store.ts';
import { ADDRESS, codeOf, type Desk, type DeskOptions, openDesk, PASSWORD } from './fixture.ts';

const textOf = (error: unknown): string =>
  error instanceof QflError ? `${error.code}|${error.message}|${error.next ?? ''}` : String(error);
const attempt = (desk: Desk, username: string, password: string, code?: string, address = ADDRESS) =>
  desk.signIn.withPassword({ username, password, code }, address).then(() => 'in', textOf);

/** In its own session; in none that there is, where it does not matter which. */
const ownOf = (account: AccountId, session: string = '0'.repeat(32), ip = ADDRESS) => ({
  account,
  session: SessionId.parse(session),
  ip,
});

describe('the first administrator', () => {
  it('comes in with the setup code, once', async () => {
    const desk = await openDesk();
    const code = await desk.setupCodes.create();
    const request = { code, username: 'alice', password: PASSWORD };
    await expect(desk.signIn.setUp({ ...request, code: `${code}x` })).rejects.toMatchObject({
      code: 'token_refused',
    });
    await expect(desk.signIn.setUp({ ...request, password: 'weak' })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    expect(await desk.signIn.setUp(request)).toMatchObject({ username: 'alice', role: 'admin' });
    await expect(desk.signIn.setUp({ ...request, username: 'bob' })).rejects.toMatchObject({
      code: 'token_refused',
    });
    expect(desk.accounts.size).toBe(1);
  });

  it('is one, also for two requests with the code at one moment', async () => {
    const store = createHeldStore();
    const desk = await openDesk({ store });
    const code = await desk.setupCodes.create();
    const letGo = store.hold();
    const both = Promise.allSettled(
      ['alice', 'bob'].map((username) => desk.signIn.setUp({ code, username, password: PASSWORD })),
    );
    await store.waiting();
    letGo();
    const outcomes = await both;
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(desk.accounts.size).toBe(1);
  });

  it('is made in the write that spends the code: a crash leaves both or neither', async () => {
    const memory = createMemoryStore();
    let writes = 0;
    const store: Store = {
      ...memory,
      async write(operations, options) {
        writes += 1;
        if (writes > 1) throw new QflError('storage_failed');
        await memory.write(operations, options);
      },
    };
    const before = await openDesk({ store: memory });
    const code = await before.setupCodes.create();
    const desk = await openDesk({ store });
    writes = 0;
    await desk.signIn.setUp({ code, username: 'alice', password: PASSWORD }).catch(() => undefined);
    const after = await openDesk({ store: memory });
    expect(after.accounts.size).toBe(1);
    await expect(after.setupCodes.check(code)).rejects.toMatchObject({ code: 'token_refused' });
  });

  it('has no way in with a code that is seven days old, or was replaced', async () => {
    const desk = await openDesk();
    const first = await desk.setupCodes.create();
    const second = await desk.setupCodes.create();
    await expect(desk.setupCodes.check(first)).rejects.toMatchObject({ code: 'token_refused' });
    await desk.setupCodes.check(second);
    desk.clock.timeMs += 7 * 24 * 60 * MINUTE_MS;
    await expect(desk.setupCodes.check(second)).rejects.toMatchObject({ code: 'token_refused' });
  });
});

describe('signing in', () => {
  it('says the same of a wrong name, a wrong password, a closed and a locked account, and works as much', async () => {
    const desk = await openDesk();
    await desk.person('alice');
    const closed = await desk.person('closed');
    await desk.accounts.update(closed.id, () => ({ status: 'disabled' }));
    await desk.person('locked');
    for (let at = 0; at < 5; at += 1) await attempt(desk, 'locked', 'wrong', undefined, `198.51.100.${at}`);
    const answers = [
      await attempt(desk, 'nobody', PASSWORD),
      await attempt(desk, 'alice', 'wrong'),
      await attempt(desk, 'closed', PASSWORD),
      await attempt(desk, 'locked', PASSWORD),
    ];
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain('unauthenticated');
    // One verification each, with a hash or without.
    expect(desk.hasher.verified).toHaveLength(5 + 4);
    expect(await attempt(desk, 'Alice ', PASSWORD)).toBe('in');
  });

  it('locks after five failures for half an hour, and counts names that nobody has alike', async () => {
    const desk = await openDesk();
    await desk.person('alice');
    for (const name of ['alice', 'nobody'])
      for (let at = 0; at < 5; at += 1) await attempt(desk, name, 'wrong', undefined, `198.51.100.${at}`);
    expect(desk.lockout.isAccountLocked('alice')).toBe(true);
    expect(desk.lockout.isAccountLocked('nobody')).toBe(true);
    expect(await attempt(desk, 'alice', PASSWORD, undefined, '203.0.113.1')).not.toBe('in');
    desk.clock.timeMs += 31 * MINUTE_MS;
    expect(await attempt(desk, 'alice', PASSWORD, undefined, '203.0.113.2')).toBe('in');
  });

  it('neither lengthens a lock nor tells of it anew for what comes meanwhile', async () => {
    const desk = await openDesk();
    await desk.person('alice');
    for (let at = 0; at < 5; at += 1) await attempt(desk, 'alice', 'wrong', undefined, `198.51.100.${at}`);
    desk.clock.timeMs += 29 * MINUTE_MS;
    await attempt(desk, 'alice', 'wrong', undefined, '203.0.113.1');
    const actions = desk.events.map(({ action }) => action);
    expect(actions.filter((action) => action === 'account.locked')).toHaveLength(1);
    expect(actions.at(-1)).toBe('account.sign_in_refused');
    desk.clock.timeMs += 2 * MINUTE_MS;
    expect(await attempt(desk, 'alice', PASSWORD, undefined, '203.0.113.2')).toBe('in');
  });

  it('lets at most the allowed failures through when they come at one moment', async () => {
    const desk = await openDesk();
    await desk.person('alice');
    const guesses = Array.from({ length: 40 }, (_, at) =>
      attempt(desk, 'alice', at === 39 ? PASSWORD : 'wrong', undefined, `198.51.100.${at}`),
    );
    const answers = await Promise.all(guesses);
    expect(answers.at(-1)).not.toBe('in');
  });

  it('makes an address that fails often wait, ever longer', async () => {
    const desk = await openDesk();
    for (let at = 0; at < 10; at += 1) await attempt(desk, `name${at}`, 'wrong');
    expect(await attempt(desk, 'other', 'wrong')).toContain('rate_limited');
    const waits: number[] = [];
    for (let at = 0; at < 6; at += 1) {
      const waitMs = desk.lockout.addressWaitMs(ADDRESS);
      waits.push(waitMs);
      desk.clock.timeMs += waitMs;
      await attempt(desk, `more${at}`, 'wrong');
    }
    expect(waits).toEqual(waits.toSorted((a, b) => a - b));
    expect(waits.at(-1)).toBeGreaterThan(8 * (waits[0] ?? 0));
    // Another address is not held up.
    expect(await attempt(desk, 'other', 'wrong', undefined, '203.0.113.9')).toContain('unauthenticated');
  });
});

describe('the second factor', () => {
  const withFactor = async (options: DeskOptions = {}) => {
    const desk = await openDesk({ secondFactorRoles: ['admin'], ...options });
    const { id } = await desk.person('alice');
    const { secret } = await desk.signIn.beginSecondFactor(id);
    const recovery = await desk.signIn.confirmSecondFactor(ownOf(id), await codeOf(secret, desk.clock));
    desk.clock.timeMs += MINUTE_MS;
    return { desk, id, secret, recovery };
  };

  it('is needed once it is there, and a code works once', async () => {
    const { desk, secret } = await withFactor();
    expect(await attempt(desk, 'alice', PASSWORD)).toContain('second factor');
    const code = await codeOf(secret, desk.clock);
    expect(await attempt(desk, 'alice', PASSWORD, code)).toBe('in');
    expect(await attempt(desk, 'alice', PASSWORD, code)).not.toBe('in');
    desk.clock.timeMs += 30_000;
    expect(await attempt(desk, 'alice', PASSWORD, await codeOf(secret, desk.clock))).toBe('in');
  });

  it('takes one code for one of two requests at one moment', async () => {
    const { desk, secret } = await withFactor();
    const code = await codeOf(secret, desk.clock);
    const answers = await Promise.all([
      attempt(desk, 'alice', PASSWORD, code),
      attempt(desk, 'alice', PASSWORD, code),
    ]);
    expect(answers.filter((answer) => answer === 'in')).toHaveLength(1);
  });

  it('takes a recovery code once, and counts a wrong code as a failure', async () => {
    const { desk, recovery } = await withFactor();
    const [first = ''] = recovery;
    expect(recovery).toHaveLength(10);
    expect(await attempt(desk, 'alice', PASSWORD, first)).toBe('in');
    expect(await attempt(desk, 'alice', PASSWORD, first)).not.toBe('in');
    for (let at = 0; at < 4; at += 1) await attempt(desk, 'alice', PASSWORD, '000000', `198.51.100.${at}`);
    expect(desk.lockout.isAccountLocked('alice')).toBe(true);
  });

  it('lets nobody in with a code that could not be noted as used, and says that it was the disk', async () => {
    const memory = createMemoryStore();
    let isBroken = false;
    const store: Store = {
      ...memory,
      write: (operations, options) =>
        isBroken ? Promise.reject(new QflError('storage_failed')) : memory.write(operations, options),
    };
    const { desk, recovery } = await withFactor({ store });
    isBroken = true;
    for (let at = 0; at < 6; at += 1)
      expect(await attempt(desk, 'alice', PASSWORD, recovery[0])).toContain('storage_failed');
    expect(desk.lockout.isAccountLocked('alice')).toBe(false);
    expect(desk.sessions.list()).toEqual([]);
    isBroken = false;
    expect(await attempt(desk, 'alice', PASSWORD, recovery[0])).toBe('in');
  });

  it('is asked of roles that need it: until then the account may only look after itself', async () => {
    const desk = await openDesk({ secondFactorRoles: ['admin'] });
    const { id } = await desk.person('alice');
    const tokens = await desk.signIn.withPassword({ username: 'alice', password: PASSWORD }, ADDRESS);
    expect(tokens.restricted).toBe(true);
    expect(await desk.authenticator.verify(tokens.accessToken)).toMatchObject({ isRestricted: true });
    const { secret } = await desk.signIn.beginSecondFactor(id);
    await desk.signIn.confirmSecondFactor(ownOf(id, tokens.session), await codeOf(secret, desk.clock));
    expect(await desk.authenticator.verify(tokens.accessToken)).toMatchObject({ isRestricted: false });
  });

  it('is removed only with a code of it', async () => {
    const { desk, id, secret } = await withFactor();
    await expect(desk.signIn.removeSecondFactor(ownOf(id), '000000')).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    await desk.signIn.removeSecondFactor(ownOf(id), await codeOf(secret, desk.clock));
    expect(desk.accounts.get(id).totp).toBeNull();
  });
});

describe('the own password', () => {
  it('is changed with the current one, and a one-time password has to be', async () => {
    const desk = await openDesk();
    const { id } = await desk.person('alice');
    await desk.accounts.update(id, () => ({ passwordIsOneTime: true }));
    const tokens = await desk.signIn.withPassword({ username: 'alice', password: PASSWORD }, ADDRESS);
    expect(tokens).toMatchObject({ mustChangePassword: true, restricted: true });
    const next = 'Ten blue bottles, 10 of them';
    await expect(desk.signIn.changePassword(ownOf(id, tokens.session), 'wrong', next)).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    await expect(
      desk.signIn.changePassword(ownOf(id, tokens.session), PASSWORD, PASSWORD),
    ).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await desk.signIn.changePassword(ownOf(id, tokens.session), PASSWORD, next);
    expect(await desk.authenticator.verify(tokens.accessToken)).toMatchObject({ isRestricted: false });
    expect(await attempt(desk, 'alice', next)).toBe('in');
  });

  it('is never in what is logged', async () => {
    const desk = await openDesk();
    await desk.person('alice');
    await attempt(desk, 'alice', 'secret-guess-1');
    await attempt(desk, 'alice', PASSWORD);
    const text = JSON.stringify(desk.events);
    expect(text).not.toContain('alice');
    expect(text).not.toContain('secret-guess-1');
    expect(desk.events.map(({ action }) => action)).toEqual(['account.sign_in_refused', 'account.signed_in']);
  });
});

describe('whoever changes what they sign in with', () => {
  const NEXT = 'Ten blue bottles, 10 of them';
  const twice = async (code?: string) => {
    const desk = await openDesk();
    const { id } = await desk.person('alice');
    const signIn = () =>
      desk.signIn.withPassword({ username: 'alice', password: PASSWORD, code }, '203.0.113.5');
    return { desk, id, stolen: await signIn(), own: await signIn() };
  };
  const expectOthersOver = async (desk: Desk, stolen: Tokens, own: Tokens): Promise<void> => {
    await expect(desk.authenticator.verify(stolen.accessToken)).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    await expect(desk.signIn.refresh(stolen.refreshToken)).rejects.toMatchObject({ code: 'unauthenticated' });
    await desk.authenticator.verify(own.accessToken);
    await desk.signIn.refresh(own.refreshToken);
  };

  it('ends the other sessions with the old password, and goes on in the own', async () => {
    const { desk, id, stolen, own } = await twice();
    await desk.signIn.changePassword(ownOf(id, own.session), PASSWORD, NEXT);
    await expectOthersOver(desk, stolen, own);
  });

  it('ends them too when a second factor comes, and when it goes', async () => {
    const { desk, id, stolen, own } = await twice();
    const { secret } = await desk.signIn.beginSecondFactor(id);
    await desk.signIn.confirmSecondFactor(ownOf(id, own.session), await codeOf(secret, desk.clock));
    await expectOthersOver(desk, stolen, own);
    desk.clock.timeMs += MINUTE_MS;
    const other = await desk.sessions.begin(id, 'password+totp');
    desk.clock.timeMs += MINUTE_MS;
    await desk.signIn.removeSecondFactor(ownOf(id, own.session), await codeOf(secret, desk.clock));
    expect(desk.sessions.list(id).map((one) => one.id)).toEqual([own.session]);
    expect(desk.sessions.use(other.session.id)).toBeUndefined();
  });

  it('does not let a sign-in in whose old password was looked at before', async () => {
    const { desk, id, own } = await twice();
    const letGo = desk.hasher.hold();
    const late = attempt(desk, 'alice', PASSWORD, undefined, '203.0.113.9');
    const changing = desk.signIn.changePassword(ownOf(id, own.session), PASSWORD, NEXT);
    letGo();
    await Promise.all([late, changing]);
    expect(desk.sessions.list(id).map((one) => one.id)).toEqual([own.session]);
  });

  it('cannot guess the password by it: each wrong one counts, and the lock holds for the right one', async () => {
    const { desk, id, own } = await twice();
    const guess = (current: string, at: number) =>
      desk.signIn
        .changePassword(ownOf(id, own.session, `198.51.100.${at}`), current, NEXT)
        .then(() => 'in', textOf);
    for (let at = 0; at < 5; at += 1) await guess(`guess ${at}`, at);
    expect(desk.lockout.isAccountLocked('alice')).toBe(true);
    expect(desk.events.at(-1)?.action).toBe('account.locked');
    expect(await guess(PASSWORD, 6)).toContain('unauthenticated');
    for (let at = 0; at < 10; at += 1) await guess('again', 7);
    expect(await guess(PASSWORD, 7)).toContain('rate_limited');
  });

  it('cannot guess the code of the second factor by it', async () => {
    const { desk, id, own } = await twice();
    const { secret } = await desk.signIn.beginSecondFactor(id);
    await desk.signIn.confirmSecondFactor(ownOf(id, own.session), await codeOf(secret, desk.clock));
    const remove = (code: string, at: number) =>
      desk.signIn
        .removeSecondFactor(ownOf(id, own.session, `198.51.100.${at}`), code)
        .then(() => 'in', textOf);
    for (let at = 0; at < 5; at += 1) await remove('000000', at);
    desk.clock.timeMs += MINUTE_MS;
    expect(await remove(await codeOf(secret, desk.clock), 6)).toContain('unauthenticated');
    expect(desk.accounts.get(id).totp?.confirmed).toBe(true);
  });
});
