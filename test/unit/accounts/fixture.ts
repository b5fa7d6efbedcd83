/** Everything that people sign in with, over a store in memory and a clock that tests own. */
import { generate } from 'otplib';
import { openAccounts } from '../../../coordinator/access/accounts.ts';
import { createLockout, type Lockout } from '../../../coordinator/access/lockout.ts';
import type { PasswordHasher } from '../../../coordinator/access/password.ts';
import { createActorPseudonyms } from '../../../coordinator/access/pseudonyms.ts';
import { openSessions } from '../../../coordinator/access/sessions.ts';
import { createSetupCodes } from '../../../coordinator/access/setup-code.ts';
import { createSignIn } from '../../../coordinator/access/sign-in.ts';
import { openTokenKeys, type TokenAlgorithm } from '../../../coordinator/access/token-keys.ts';
import { createAccessTokens } from '../../../coordinator/access/tokens.ts';
import { createAuthenticator } from '../../../coordinator/access/authenticator.ts';
import type { AuditEvent } from '../../../shared/audit/audit-log.ts';
import { HOUR_MS, MINUTE_MS } from '../../../shared/clock.ts';
import { createApiKeys, keyAuthenticator } from '../../../shared/http/api-keys.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import { TestClock } from '../http/fixture.ts';

export const PASSWORD = 'Nine green bottles, 9 of them';

export const POLICY = {
  lengthMin: 12,
  needsUppercase: true,
  needsLowercase: true,
  needsDigit: true,
  needsSpecial: true,
};

/** Tells right from wrong without the work of Argon2. */
export const quickHasher = (): PasswordHasher & {
  readonly verified: (string | null)[];
  /** Verifications from now on wait. @returns lets them go */
  hold(): () => void;
} => {
  const verified: (string | null)[] = [];
  let gate: Promise<void> = Promise.resolve();
  return {
    verified,
    hash: (password) => Promise.resolve(`quick:${password}`),
    hold() {
      let open = (): void => undefined;
      gate = new Promise((resolve) => (open = resolve));
      return () => open();
    },
    async verify(password, passwordHash) {
      verified.push(passwordHash);
      await gate;
      return passwordHash === `quick:${password}`;
    },
  };
};

export interface DeskOptions {
  readonly algorithm?: TokenAlgorithm;
  readonly store?: Store;
  readonly secondFactorRoles?: readonly string[];
  readonly clock?: TestClock;
  /** A fault that is put into the lockout. */
  readonly lockout?: (lockout: Lockout) => Lockout;
}

export const openDesk = async (options: DeskOptions = {}) => {
  const store = options.store ?? createMemoryStore();
  const clock = options.clock ?? new TestClock();
  const random = secureRandomBytes;
  const events: AuditEvent[] = [];
  const audit = {
    record: (event: AuditEvent) => {
      events.push(event);
      return Promise.resolve({ index: events.length - 1, leafHash: new Uint8Array(32), id: '' });
    },
  };
  const accounts = await openAccounts(store, clock, random);
  const sessions = await openSessions(store, clock, random, () => ({
    lifeMs: 8 * HOUR_MS,
    idleMs: 30 * MINUTE_MS,
    refreshLifeMs: 24 * HOUR_MS,
  }));
  const tokenKeys = await openTokenKeys({
    store,
    clock,
    random,
    algorithm: () => options.algorithm ?? 'EdDSA',
    lifeDays: () => 90,
    tokenLifeMs: () => HOUR_MS,
  });
  const tokens = createAccessTokens({
    keys: tokenKeys,
    issuer: 'urn:qfl:test',
    clock,
    random,
    lifeMs: () => HOUR_MS,
  });
  const hasher = quickHasher();
  const sound = createLockout(clock, () => ({ failuresMax: 5, lockedMs: 30 * MINUTE_MS }));
  const lockout = options.lockout?.(sound) ?? sound;
  const setupCodes = createSetupCodes(store, clock, random);
  const apiKeys = createApiKeys({ store, prefix: 'apikey/', clock, random });
  const signIn = createSignIn({
    accounts,
    sessions,
    tokens,
    hasher,
    lockout,
    setupCodes,
    audit,
    pseudonyms: createActorPseudonyms(new Uint8Array(32)),
    clock,
    random,
    federation: 'test',
    passwordPolicy: () => POLICY,
    secondFactorRoles: () => new Set(options.secondFactorRoles ?? []),
    gate: () => undefined,
  });
  const authenticator = createAuthenticator({
    keys: keyAuthenticator(apiKeys),
    tokens,
    sessions,
    accounts,
    signIn,
  });
  const person = (username: string, role = 'admin') =>
    accounts.create({
      username,
      role,
      department: 'operations',
      dataClass: 'restricted',
      passwordHash: `quick:${PASSWORD}`,
    });
  return {
    store,
    clock,
    events,
    accounts,
    sessions,
    tokenKeys,
    tokens,
    hasher,
    lockout,
    setupCodes,
    apiKeys,
    signIn,
    authenticator,
    person,
  };
};
export type Desk = Awaited<ReturnType<typeof openDesk>>;

/** The code that an authenticator app shows at the test's time. */
export const codeOf = (secret: string, clock: TestClock): Promise<string> =>
  generate({ secret, epoch: Math.floor(clock.timeMs / 1000) });

export const ADDRESS = '192.0.2.7';
