/**
 * The journey through an identity provider: out with a state that only this browser can bring back, home with a code, and then either tokens at once
 * or, for a command line that waits on this user's own machine, a code good for one exchange (RFC 8252, loopback redirect).
 */
import { hash } from 'node:crypto';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { equalConstantTime, toBase64Url, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { MINUTE_MS } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { Username, type Tokens } from '../../shared/wire/accounts.ts';
import type { DataClass } from '../../shared/wire/envelope.ts';
import { type Accounts, normalName, type StoredAccount } from './accounts.ts';
import type { ActorPseudonyms } from './pseudonyms.ts';
import { type Identity, type PendingSignIn, type Provider, roleOf } from './providers.ts';
import type { Sessions } from './sessions.ts';
import type { SignIn } from './sign-in.ts';

const PENDING_MS = 10 * MINUTE_MS;
const HANDED_MS = MINUTE_MS;
/** Sign-ins under way at once; the oldest gives way. */
const PENDING_MAX = 1_000;

export interface HandOff {
  /** Port on which the command line listens at 127.0.0.1. */
  readonly port: number;
  /** Base64url of SHA-256 of what only that command knows. */
  readonly challenge: string;
}

interface Pending extends PendingSignIn {
  readonly provider: string;
  readonly handOff: HandOff | undefined;
  readonly untilMs: number;
}

export interface ProviderSignIn {
  names(): readonly string[];
  /** @returns where to send the browser, and the cookie that binds the answer to it */
  start(
    provider: string,
    redirectUri: string,
    handOff?: HandOff,
  ): Promise<{ readonly url: URL; readonly cookie: string }>;
  /** @throws QflError `unauthenticated`, `forbidden` when no role is mapped */
  finish(
    provider: string,
    answer: URL,
    cookie: string | undefined,
  ): Promise<{ readonly tokens: Tokens } | { readonly handOff: URL }>;
  /** @throws QflError `unauthenticated` */
  exchange(code: string, verifier: string): Promise<Tokens>;
}

export interface ProviderSignInOptions {
  /** Asked each time: whoever was struck off the configuration vouches for nobody any more. */
  readonly providers: () => readonly Provider[];
  readonly accounts: Accounts;
  readonly sessions: Pick<Sessions, 'endings'>;
  readonly signIn: Pick<SignIn, 'withProvider'>;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly pseudonyms: ActorPseudonyms;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: RandomBytes;
  /** The highest class of a role, for accounts that are made on the way. */
  readonly classOfRole: (role: string) => DataClass;
}

const refused = (): QflError =>
  new QflError('unauthenticated', {
    detail: 'This sign-in is not known here, or it took too long.',
    next: 'Begin it again.',
  });

export const createProviderSignIn = (options: ProviderSignInOptions): ProviderSignIn => {
  const { accounts, sessions, signIn, audit, pseudonyms, clock, random, classOfRole } = options;
  const names = (): readonly string[] => options.providers().map(({ config }) => config.name);
  const pending = new Map<string, Pending>();
  const handed = new Map<
    string,
    { account: StoredAccount; endings: number; provider: string; challenge: string; untilMs: number }
  >();

  const providerOf = (name: string): Provider => {
    const provider = options.providers().find(({ config }) => config.name === name);
    if (provider === undefined)
      throw new QflError('not_found', {
        detail: `there is no identity provider "${name}"`,
        next:
          names().length === 0
            ? 'None is configured: see auth.providers.'
            : `There are ${names().join(', ')}.`,
      });
    return provider;
  };
  const token = (): string => toBase64Url(random(32));
  const bounded = <V>(map: Map<string, V>): void => {
    for (const key of map.keys()) {
      if (map.size <= PENDING_MAX) return;
      map.delete(key);
    }
  };

  const log = (
    action: 'account.created' | 'account.changed' | 'account.sign_in_refused',
    provider: string,
    account?: StoredAccount,
  ) =>
    audit.record({
      action,
      outcome: action === 'account.sign_in_refused' ? 'refused' : 'begun',
      ...(account === undefined ? {} : pseudonyms.actorOf(account)),
      objects: [
        ...(account === undefined ? [] : [{ kind: 'account', id: account.id }]),
        { kind: 'provider', id: provider },
      ],
    });

  const create = async (
    { config }: Provider,
    { issuer, subject, username: shownName }: Identity,
    role: string,
  ): Promise<StoredAccount> => {
    const wanted = normalName(shownName).replaceAll(/[^a-z0-9._@+-]/g, '-');
    const username = Username.safeParse(wanted).success ? wanted : `${config.name}-${subject}`.toLowerCase();
    await log('account.created', config.name);
    return accounts.create({
      // A name that somebody has already is not taken over: only the provider's own number says who this is.
      username:
        accounts.byName(username) === undefined ? username : `${config.name}.${username}`.slice(0, 64),
      role,
      department: 'operations',
      dataClass: classOfRole(role),
      passwordHash: null,
      external: { provider: config.name, issuer, subject },
    });
  };

  /** Role and name follow the provider at each sign-in; whoever has no role there any more does not come in. */
  const accountOf = async (provider: Provider, identity: Identity): Promise<StoredAccount> => {
    const { config } = provider;
    const role = roleOf(config, identity.claims);
    const known = accounts.byExternal(identity.issuer, identity.subject);
    if (role === undefined || (known !== undefined && known.status !== 'active'))
      await log('account.sign_in_refused', config.name, known);
    if (role === undefined)
      throw new QflError('forbidden', {
        detail: `nothing that ${config.name} says about you gives a role here`,
        next: 'Ask the administrator to map one of your groups to a role.',
      });
    if (known === undefined) return create(provider, identity, role);
    if (known.status !== 'active') throw refused();
    if (known.role === role) return known;
    await log('account.changed', config.name, known);
    return accounts.update(known.id, () => ({
      role,
      dataClass: classOfRole(role),
      trustedSinceMs: Math.trunc(clock.nowMs()),
    }));
  };

  /** @throws QflError what the provider's answer is refused with, which is logged */
  const identify = async (provider: Provider, answer: URL, one: Pending): Promise<Identity> => {
    try {
      return await provider.identify(answer, one);
    } catch (error) {
      await log('account.sign_in_refused', provider.config.name);
      throw error;
    }
  };

  return {
    names,
    async start(name, redirectUri, handOff) {
      const provider = providerOf(name);
      const cookie = token();
      const one: Pending = {
        provider: name,
        state: token(),
        nonce: token(),
        verifier: token(),
        redirectUri,
        handOff,
        untilMs: clock.nowMs() + PENDING_MS,
      };
      const url = await provider.startUrl(one);
      pending.set(cookie, one);
      bounded(pending);
      return { url, cookie };
    },
    async finish(name, answer, cookie) {
      const one = cookie === undefined ? undefined : pending.get(cookie);
      if (cookie !== undefined) pending.delete(cookie);
      if (one === undefined || one.provider !== name || clock.nowMs() > one.untilMs) throw refused();
      const provider = providerOf(name);
      // The address that was registered, whatever name a proxy reached us under.
      const whole = new URL(one.redirectUri);
      whole.search = answer.search;
      const account = await accountOf(provider, await identify(provider, whole, one));
      const endings = sessions.endings(account.id);
      if (one.handOff === undefined) return { tokens: await signIn.withProvider(account, name, endings) };
      const code = token();
      const { challenge, port } = one.handOff;
      handed.set(code, { account, endings, provider: name, challenge, untilMs: clock.nowMs() + HANDED_MS });
      bounded(handed);
      return { handOff: new URL(`http://127.0.0.1:${port}/?code=${code}`) };
    },
    async exchange(code, verifier) {
      const one = handed.get(code);
      handed.delete(code);
      const given = utf8(hash('sha256', utf8(verifier), 'base64url'));
      if (one === undefined || clock.nowMs() > one.untilMs || !equalConstantTime(given, utf8(one.challenge)))
        throw refused();
      return signIn.withProvider(one.account, one.provider, one.endings);
    },
  };
};
