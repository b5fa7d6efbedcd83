/**
 * How a person comes in: with a name and a password, and a code where the account has a second factor. Every answer to a wrong attempt is the same in
 * words and in time, whether the name, the password or the code is wrong or the account is locked.
 */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { Clock } from '../../shared/clock.ts';
import { SECOND_MS } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import { addressKey } from '../../shared/http/rate-limit.ts';
import type { AccountId, SessionId } from '../../shared/ids.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { createSerial } from '../../shared/serial.ts';
import type { Tokens } from '../../shared/wire/accounts.ts';
import { type Accounts, type NewAccount, normalName, type StoredAccount } from './accounts.ts';
import type { Lockout } from './lockout.ts';
import { checkPassword, type PasswordHasher, type PasswordPolicy } from './password.ts';
import type { ActorPseudonyms } from './pseudonyms.ts';
import { newRecoveryCodes, newTotp, type Totp, totpUri, useCode } from './second-factor.ts';
import type { Session, Sessions } from './sessions.ts';
import type { SetupCodes } from './setup-code.ts';
import type { AccessTokens } from './tokens.ts';

export interface SignInOptions {
  readonly accounts: Accounts;
  readonly sessions: Sessions;
  readonly tokens: AccessTokens;
  readonly hasher: PasswordHasher;
  readonly lockout: Lockout;
  readonly setupCodes: SetupCodes;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly pseudonyms: ActorPseudonyms;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly federation: string;
  readonly passwordPolicy: () => PasswordPolicy;
  /** Roles that must have a second factor. */
  readonly secondFactorRoles: () => ReadonlySet<string>;
  /** May anybody sign in at all? @throws QflError */
  readonly gate: (role: string) => void;
}

/** A person who changes what they sign in with: the session it is done in, and where from. */
export interface OwnSession {
  readonly account: AccountId;
  readonly session: SessionId;
  readonly ip: string;
}

export interface SignIn {
  /** @throws QflError `token_refused`, `invalid_request`, `conflict` */
  setUp(request: { code: string; username: string; password: string }): Promise<StoredAccount>;
  /** @throws QflError `unauthenticated`, `rate_limited` */
  withPassword(
    request: { username: string; password: string; code?: string | undefined },
    address: string,
  ): Promise<Tokens>;
  /** For somebody an identity provider vouches for. @param endings of the account's sessions when it did */
  withProvider(account: StoredAccount, provider: string, endings: number): Promise<Tokens>;
  refresh(token: string): Promise<Tokens>;
  /**
   * Ends the person's other sessions: whoever was in with what no longer counts is out.
   * @throws QflError `unauthenticated` for a wrong current password, which counts as a failed sign-in; `rate_limited`; `invalid_request` for a bad new one
   */
  changePassword(by: OwnSession, current: string, next: string): Promise<void>;
  beginSecondFactor(id: string): Promise<{ secret: string; uri: string }>;
  /** Ends the person's other sessions: they began without it. */
  confirmSecondFactor(by: OwnSession, code: string): Promise<readonly string[]>;
  /** Needs a code of it; a wrong one counts as a failed sign-in. Ends the person's other sessions. */
  removeSecondFactor(by: OwnSession, code: string): Promise<void>;
  /** True until what the account's role needs is there. */
  isRestricted(account: StoredAccount): boolean;
}

const notAccepted = (): QflError =>
  new QflError('unauthenticated', {
    detail: 'Name, password or code is not right, or there were too many attempts.',
    next: 'Check them; after five failures an account is locked for half an hour, and an administrator can unlock it.',
  });

const codeNeeded = (): QflError =>
  new QflError('unauthenticated', {
    detail: 'This account has a second factor.',
    next: 'Send its code as well: "qfl login --code 123456".',
    facts: { secondFactor: true },
  });

export const createSignIn = (options: SignInOptions): SignIn => {
  const { accounts, sessions, tokens, hasher, lockout, setupCodes, audit, pseudonyms, clock, random } =
    options;
  const subjectOf = ({ id }: Pick<StoredAccount, 'id'>) => [{ kind: 'account', id }];

  const isRestricted = ({ role, totp, external, passwordIsOneTime }: StoredAccount): boolean =>
    passwordIsOneTime ||
    // An identity provider has its own second factor, which is its business.
    (external === null && options.secondFactorRoles().has(role) && totp?.confirmed !== true);

  const tokensOf = async (
    account: StoredAccount,
    session: Session,
    refresh: { readonly token: string; readonly expiresMs: number },
  ): Promise<Tokens> => {
    const access = await tokens.issue(account.id, session.id);
    return {
      tokenType: 'Bearer',
      accessToken: access.token,
      accessExpiresMs: Math.min(access.expiresMs, session.expiresMs),
      refreshToken: refresh.token,
      refreshExpiresMs: Math.trunc(refresh.expiresMs),
      session: session.id,
      restricted: isRestricted(account),
      mustChangePassword: account.passwordIsOneTime,
    };
  };

  /** Asked before the entry in the log, and again of the account as it is once its session is there. @throws QflError */
  const mayEnter = ({ role, status }: StoredAccount): void => {
    if (status !== 'active') throw notAccepted();
    options.gate(role);
  };

  /** @param endings of the account's sessions when its proof was looked at */
  const begin = async (
    account: StoredAccount,
    method: string,
    endings: number,
    vouching: readonly { readonly kind: string; readonly id: string }[] = [],
  ): Promise<Tokens> => {
    mayEnter(account);
    await audit.record({
      action: 'account.signed_in',
      outcome: 'ok',
      ...pseudonyms.actorOf(account),
      objects: [...subjectOf(account), ...vouching],
    });
    const { session, refresh } = await sessions.begin(account.id, method, endings);
    try {
      mayEnter(accounts.get(account.id));
    } catch (error) {
      await sessions.end(session.id);
      throw error;
    }
    const lastSignInMs = Math.trunc(clock.nowMs());
    return tokensOf(await accounts.update(account.id, () => ({ lastSignInMs })), session, refresh);
  };

  const fail = async (name: string, address: string, account: StoredAccount | undefined): Promise<never> => {
    const isLocked = lockout.failed(name, address);
    await audit.record({
      action: isLocked ? 'account.locked' : 'account.sign_in_refused',
      outcome: 'refused',
      ...(account === undefined ? {} : { ...pseudonyms.actorOf(account), objects: subjectOf(account) }),
    });
    throw notAccepted();
  };

  /** The account's state after its code; undefined when it has no second factor. */
  const checkCode = async (
    account: StoredAccount,
    code: string | undefined,
  ): Promise<Totp | 'wrong' | 'missing' | undefined> => {
    if (account.totp?.confirmed !== true) return undefined;
    if (code === undefined) return 'missing';
    return (await useCode(account.totp, code, clock.nowMs())) ?? 'wrong';
  };

  /** @throws QflError `rate_limited` while the address has to wait */
  const addressOf = (ip: string): string => {
    const address = addressKey(ip);
    const waitMs = lockout.addressWaitMs(address);
    if (waitMs <= 0) return address;
    throw new QflError('rate_limited', {
      detail: 'Too many failed sign-ins from this address.',
      next: `Try again in ${Math.ceil(waitMs / SECOND_MS)} s.`,
      facts: { retryAfterS: Math.ceil(waitMs / SECOND_MS) },
    });
  };

  const withPassword: SignIn['withPassword'] = async ({ username, password, code }, ip) => {
    const address = addressOf(ip);
    const name = normalName(username);
    const found = accounts.byName(name);
    const endings = found === undefined ? 0 : sessions.endings(found.id);
    const isRight = await hasher.verify(password, found?.passwordHash ?? null);
    // After the slow part: attempts side by side must not all get in under one count.
    if (found === undefined || !isRight || found.status !== 'active' || lockout.isAccountLocked(name))
      return fail(name, address, found);
    const totp = await checkCode(found, code);
    if (totp === 'missing') throw codeNeeded();
    if (totp === 'wrong') return fail(name, address, found);
    if (totp !== undefined) await spendCode(found, totp, name, address);
    lockout.succeeded(name);
    return begin(found, totp === undefined ? 'password' : 'password+totp', endings);
  };

  /** Kept before anybody is let in: a code works once, also for two requests at one moment. */
  const spendCode = async (
    account: StoredAccount,
    totp: Totp,
    name: string,
    address: string,
  ): Promise<void> => {
    try {
      await accounts.update(account.id, () => ({ totp }), account.version);
    } catch (error) {
      // A disk that fails is no guess of a code: it neither counts as one nor is it told as one.
      if (!(error instanceof QflError && error.code === 'conflict')) throw error;
      await fail(name, address, account);
    }
  };

  /** One after another: of two requests with the code at one moment, the second finds it spent. */
  const settingUp = createSerial();
  const setUp: SignIn['setUp'] = async ({ code, username, password }) => {
    await setupCodes.check(code);
    checkPassword(password, options.passwordPolicy(), username);
    const passwordHash = await hasher.hash(password);
    const first: NewAccount = {
      username,
      role: 'admin',
      department: 'operations',
      dataClass: 'restricted',
      passwordHash,
    };
    const account = await settingUp(async () => {
      await setupCodes.check(code);
      return accounts.create(first, [setupCodes.spending()]);
    });
    await audit.record({
      action: 'account.created',
      outcome: 'ok',
      ...pseudonyms.actorOf(account),
      objects: subjectOf(account),
    });
    return account;
  };

  const refresh: SignIn['refresh'] = async (token) => {
    const next = await sessions.refresh(token, async (session) => {
      await audit.record({
        action: 'session.token_reused',
        outcome: 'refused',
        actor: pseudonyms.of(session.account),
        objects: [{ kind: 'account', id: session.account }],
      });
    });
    const account = accounts.get(next.session.account);
    mayEnter(account);
    return tokensOf(account, next.session, next.refresh);
  };

  const changed = (account: StoredAccount) =>
    audit.record({
      action: 'account.changed',
      outcome: 'ok',
      ...pseudonyms.actorOf(account),
      objects: subjectOf(account),
    });

  return {
    isRestricted,
    setUp,
    withPassword,
    withProvider: (account, provider, endings) =>
      begin(account, provider, endings, [{ kind: 'provider', id: provider }]),
    refresh,
    async changePassword({ account: id, session, ip }, current, next) {
      const address = addressOf(ip);
      const account = accounts.get(id);
      const isRight = await hasher.verify(current, account.passwordHash);
      // A stolen session must not be a way to guess the password past the lock.
      if (!isRight || lockout.isAccountLocked(account.username))
        await fail(account.username, address, account);
      checkPassword(next, options.passwordPolicy(), account.username);
      if (next === current)
        throw new QflError('invalid_request', { detail: 'the new password is the old one' });
      const passwordHash = await hasher.hash(next);
      await changed(account);
      const passwordChangedMs = Math.trunc(clock.nowMs());
      await accounts.update(id, () => ({ passwordHash, passwordChangedMs, passwordIsOneTime: false }));
      await sessions.endAll(id, session);
    },
    async beginSecondFactor(id) {
      const account = accounts.get(id);
      if (account.totp?.confirmed === true)
        throw new QflError('conflict', {
          detail: 'the account has a second factor',
          next: 'Remove it first, with a code of it.',
        });
      const totp = newTotp();
      await accounts.update(id, () => ({ totp }));
      return { secret: totp.secret, uri: totpUri(totp.secret, options.federation, account.username) };
    },
    async confirmSecondFactor({ account: id, session }, code) {
      const account = accounts.get(id);
      const next = account.totp === null ? undefined : await useCode(account.totp, code, clock.nowMs());
      if (next === undefined || account.totp?.confirmed === true)
        throw new QflError('unauthenticated', {
          detail: 'The code is not right, or nothing waits for one.',
          next: 'Check the clock of the telephone, or begin anew.',
        });
      const { codes, hashes } = newRecoveryCodes(random);
      await changed(account);
      await accounts.update(
        id,
        () => ({ totp: { ...next, confirmed: true, recovery: [...hashes] } }),
        account.version,
      );
      await sessions.endAll(id, session);
      return codes;
    },
    async removeSecondFactor({ account: id, session, ip }, code) {
      const address = addressOf(ip);
      const account = accounts.get(id);
      const totp = await checkCode(account, code);
      if (typeof totp !== 'object' || lockout.isAccountLocked(account.username))
        await fail(account.username, address, account);
      await changed(account);
      await accounts.update(id, () => ({ totp: null }), account.version);
      await sessions.endAll(id, session);
    },
  };
};
