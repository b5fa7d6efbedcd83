/** Accounts, sessions, tokens and identity providers of a coordinator, put together. */
import type { AccessRules } from '../../shared/access/authorize.ts';
import type { Authenticator } from '../../shared/access/principal.ts';
import { accessRulesOf } from '../../shared/access/rules.ts';
import type { AccessTable } from '../../shared/access/table.ts';
import type { Clock } from '../../shared/clock.ts';
import type { CoordinatorConfig } from '../../shared/config/config.ts';
import { keyAuthenticator } from '../../shared/http/api-keys.ts';
import type { Logger } from '../../shared/log.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { blind } from '../../shared/store/encrypted.ts';
import { createRecordStore } from '../../shared/store/records.ts';
import type { DataClass } from '../../shared/wire/envelope.ts';
import type { CoordinatorHome } from '../home.ts';
import { type Accounts, openAccounts } from './accounts.ts';
import { createAuthenticator } from './authenticator.ts';
import { createLockout, type Lockout, LockoutEntry } from './lockout.ts';
import { createPasswordHasher, type PasswordHasher } from './password.ts';
import { createProviderSignIn, type ProviderSignIn } from './provider-sign-in.ts';
import { createProvider, type Provider } from './providers.ts';
import type { ActorPseudonyms } from './pseudonyms.ts';
import { openSessions, type Sessions } from './sessions.ts';
import { createSetupCodes } from './setup-code.ts';
import { createSignIn, type SignIn } from './sign-in.ts';
import { openTokenKeys, type TokenKeys } from './token-keys.ts';
import { createAccessTokens } from './tokens.ts';

export interface Access {
  readonly accounts: Accounts;
  readonly sessions: Sessions;
  readonly signIn: SignIn;
  readonly providers: ProviderSignIn;
  readonly tokenKeys: TokenKeys;
  readonly hasher: PasswordHasher;
  readonly lockout: Lockout;
  readonly authenticator: Authenticator;
  readonly pseudonyms: ActorPseudonyms;
  readonly table: () => AccessTable;
  readonly rules: () => AccessRules;
}

export interface AccessDeps {
  readonly home: CoordinatorHome;
  readonly pseudonyms: ActorPseudonyms;
  /** Asked each time: a new configuration counts at once. */
  readonly settings: () => CoordinatorConfig;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** May anybody of this role sign in now? @throws QflError */
  readonly gate: (role: string) => void;
}

/** The state outlives a restart, under blinded names; a write that is lost costs a count, so it need not be waited for. */
const openLockout = async ({ home, settings, clock, logger }: AccessDeps): Promise<Lockout> => {
  const secret = home.vault.secretFor('lockout');
  const records = createRecordStore(home.store, 'lockout/', LockoutEntry);
  const kept: [string, LockoutEntry][] = [];
  for await (const key of home.store.keys({ prefix: 'lockout/' })) {
    const name = key.slice('lockout/'.length);
    const entry = await records.get(name);
    if (entry !== undefined) kept.push([name, entry]);
  }
  const lockout = createLockout(
    clock,
    () => settings().accounts.lockout,
    (name, entry) =>
      void home.store
        .write([entry === undefined ? records.deleting(name) : records.putting(name, entry)], {
          durable: false,
        })
        .catch((error: unknown) => logger.error({ err: error }, 'a failed sign-in could not be counted')),
    kept.toSorted(([, a], [, b]) => a.lastMs - b.lastMs),
  );
  const blinded = (name: string): string => blind(secret, 'account name', name);
  return {
    isAccountLocked: (name) => lockout.isAccountLocked(blinded(name)),
    addressWaitMs: (address) => lockout.addressWaitMs(address),
    failed: (name, address) => lockout.failed(blinded(name), address),
    succeeded: (name) => lockout.succeeded(blinded(name)),
    unlock: (name) => lockout.unlock(blinded(name)),
  };
};

/** The table is made again only when its part of the configuration changed. */
const createRules = (settings: () => CoordinatorConfig): (() => AccessRules) => {
  let made: { readonly of: CoordinatorConfig['security']; readonly rules: AccessRules } | undefined;
  return () => {
    const { security } = settings();
    if (made?.of !== security)
      made = {
        of: security,
        rules: accessRulesOf(security),
      };
    return made.rules;
  };
};

/** Made again only when their part of the configuration changed: each remembers what it found out about its provider. */
const createProviders = (
  configs: () => CoordinatorConfig['accounts']['providers'],
  env: AccessDeps['env'],
): (() => readonly Provider[]) => {
  let made: { readonly of: ReturnType<typeof configs>; readonly providers: readonly Provider[] } | undefined;
  return () => {
    const of = configs();
    if (made?.of !== of)
      made = {
        of,
        providers: of.map(({ clientSecretEnv, ...config }) =>
          createProvider({
            ...config,
            clientSecret: clientSecretEnv === null ? undefined : env[clientSecretEnv],
          }),
        ),
      };
    return made.providers;
  };
};

export const startAccess = async (deps: AccessDeps): Promise<Access> => {
  const { home, settings, clock, random, env, pseudonyms } = deps;
  const { store, audit } = home;
  const accounts = await openAccounts(store, clock, random);
  const sessions = await openSessions(store, clock, random, () => ({
    lifeMs: settings().accounts.sessionLifeMs,
    idleMs: settings().accounts.sessionIdleMs,
    refreshLifeMs: settings().accounts.tokens.refreshLifeMs,
  }));
  const tokenKeys = await openTokenKeys({
    store,
    clock,
    random,
    algorithm: () => settings().accounts.tokens.algorithm,
    lifeDays: () => settings().accounts.tokens.keyLifeDays,
    tokenLifeMs: () => settings().accounts.tokens.lifeMs,
  });
  const tokens = createAccessTokens({
    keys: tokenKeys,
    issuer: `urn:qfl:${home.name}`,
    clock,
    random,
    lifeMs: () => settings().accounts.tokens.lifeMs,
  });
  const [hasher, lockout] = await Promise.all([createPasswordHasher(), openLockout(deps)]);
  const signIn = createSignIn({
    accounts,
    sessions,
    tokens,
    hasher,
    lockout,
    setupCodes: createSetupCodes(store, clock, random),
    audit,
    pseudonyms,
    clock,
    random,
    federation: home.name,
    passwordPolicy: () => settings().accounts.passwordPolicy,
    secondFactorRoles: () => settings().accounts.secondFactorRoles,
    gate: deps.gate,
  });
  const rules = createRules(settings);
  const classOfRole = (role: string): DataClass => rules().table.bound(role, 'self.read') ?? 'public';
  const providers = createProviderSignIn({
    providers: createProviders(() => settings().accounts.providers, env),
    accounts,
    sessions,
    signIn,
    audit,
    pseudonyms,
    clock,
    random,
    classOfRole,
  });
  return {
    accounts,
    sessions,
    signIn,
    providers,
    tokenKeys,
    hasher,
    lockout,
    authenticator: createAuthenticator({
      keys: keyAuthenticator(home.apiKeys),
      tokens,
      sessions,
      accounts,
      signIn,
    }),
    pseudonyms,
    table: () => rules().table,
    rules,
  };
};
