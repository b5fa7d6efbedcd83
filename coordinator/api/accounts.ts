/** People and programs, as administrators look after them: accounts, sessions, service keys, roles. */
import { z } from 'zod';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { tableRows } from '../../shared/access/table.ts';
import { toBase64Url } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { ApiKeys } from '../../shared/http/api-keys.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { isUnchanged, notModified, sendEtag, wantedVersion } from '../../shared/http/conditional.ts';
import { AccountId, SessionId } from '../../shared/ids.ts';
import type { RandomBytes } from '../../shared/random.ts';
import {
  AccountChange,
  AccountListQuery,
  AccountMade,
  AccountPage,
  AccountRequest,
  AccountShown,
  Revoked,
  RolesShown,
  ServiceKeyMade,
  ServiceKeyPage,
  ServiceKeyRequest,
  ServiceKeyShown,
  SessionPage,
} from '../../shared/wire/accounts.ts';
import type { DataClass } from '../../shared/wire/envelope.ts';
import type { StoredAccount } from '../access/accounts.ts';
import { checkPassword, type PasswordPolicy } from '../access/password.ts';
import type { Access } from '../access/start.ts';
import { showAccount, showSession } from './show-account.ts';

export interface AccountRouteOptions {
  readonly access: Access;
  readonly apiKeys: ApiKeys;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: RandomBytes;
  readonly passwordPolicy: () => PasswordPolicy;
}

const Params = z.strictObject({ id: AccountId });
const KeyParams = z.strictObject({ id: z.string().max(40) });
const reads = { access: 'accounts.read' } as const;
const changes = { access: 'accounts.change' } as const;

/** @throws QflError `invalid_request` for a role that the table does not have */
const checkRole = ({ table }: Access, role: string): void => {
  const { roles } = table();
  if (!roles.includes(role))
    throw new QflError('invalid_request', {
      detail: `there is no role "${role}"`,
      next: `Choose one of ${roles.join(', ')}.`,
    });
};

/** @throws QflError `conflict` when nobody would be left who may make administrators */
const checkLastAdmin = (
  { accounts }: Access,
  { id, role }: StoredAccount,
  change: z.infer<typeof AccountChange>,
): void => {
  const losesAdmin =
    role === 'admin' &&
    (change.status === 'disabled' || (change.role !== undefined && change.role !== 'admin'));
  const isAnother = (one: StoredAccount): boolean =>
    one.role === 'admin' && one.status === 'active' && one.id !== id;
  if (losesAdmin && !accounts.list().some(isAnother))
    throw new QflError('conflict', {
      detail: 'this is the last administrator',
      next: 'Make another one first.',
    });
};

/** Long enough to need no rules: 24 random letters in four groups. */
const oneTimePassword = (random: RandomBytes): string =>
  [0, 1, 2, 3].map(() => toBase64Url(random(6)).slice(0, 6)).join('-');

const logger =
  ({ audit, access }: AccountRouteOptions) =>
  (
    action:
      | 'account.created'
      | 'account.changed'
      | 'account.unlocked'
      | 'tokens.revoked'
      | 'key.created'
      | 'key.revoked',
    by: { readonly id: string; readonly role: string },
    objects: readonly { kind: string; id: string }[],
  ) =>
    audit.record({ action, outcome: 'begun', ...access.pseudonyms.actorOf(by), objects });

const accountRoutes = ({ fastify }: HttpApp, options: AccountRouteOptions): void => {
  const { access, random, clock, passwordPolicy } = options;
  const nowMs = (): number => Math.trunc(clock.nowMs());
  const { accounts, sessions, hasher } = access;
  const log = logger(options);
  /** A lock comes and goes without a new version of the account. */
  const stateOf = ({ username }: StoredAccount): string | undefined =>
    access.lockout.isAccountLocked(username) ? 'locked' : undefined;
  const boundOf = (role: string): DataClass => access.table().bound(role, 'self.read') ?? 'public';
  fastify.get(
    '/v1/accounts',
    {
      config: reads,
      schema: { summary: 'List accounts', querystring: AccountListQuery, response: { 200: AccountPage } },
    },
    (request) => {
      const { role, status, after, limit } = request.query;
      const found = accounts
        .list()
        .filter(
          (one) =>
            (role === undefined || one.role === role) && (status === undefined || one.status === status),
        )
        .filter(({ username }) => after === undefined || username > after);
      const page = found.slice(0, limit);
      return {
        accounts: page.map((one) => showAccount(one, access)),
        next: found.length > limit ? (page.at(-1)?.username ?? null) : null,
      };
    },
  );
  fastify.post(
    '/v1/accounts',
    {
      config: changes,
      schema: { summary: 'Make an account', body: AccountRequest, response: { 201: AccountMade } },
    },
    async (request, reply) => {
      const { username, role, department, dataClass = boundOf(role), password } = request.body;
      checkRole(access, role);
      if (accounts.byName(username) !== undefined)
        throw new QflError('conflict', { detail: 'there is an account of that name already' });
      if (password !== undefined) checkPassword(password, passwordPolicy(), username);
      const made = password === undefined ? oneTimePassword(random) : null;
      const passwordHash = await hasher.hash(made ?? password ?? '');
      await log('account.created', principalOf(request), [{ kind: 'role', id: role }]);
      const account = await accounts.create({
        username,
        role,
        department,
        dataClass,
        passwordHash,
        passwordIsOneTime: made !== null,
      });
      sendEtag(reply, account.version, stateOf(account));
      return reply.code(201).send({ account: showAccount(account, access), oneTimePassword: made });
    },
  );
  fastify.get(
    '/v1/accounts/:id',
    {
      config: reads,
      schema: { summary: 'Show an account', params: Params, response: { 200: AccountShown } },
    },
    async (request, reply) => {
      const account = accounts.get(request.params.id);
      sendEtag(reply, account.version, stateOf(account));
      return isUnchanged(request, account.version, stateOf(account))
        ? notModified(reply)
        : showAccount(account, access);
    },
  );
  fastify.patch(
    '/v1/accounts/:id',
    {
      config: changes,
      schema: {
        summary: 'Change role, department, data class or status; sessions follow at once',
        params: Params,
        body: AccountChange,
        response: { 200: AccountShown },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { role, status } = request.body;
      if (role !== undefined) checkRole(access, role);
      checkLastAdmin(access, accounts.get(id), request.body);
      await log('account.changed', principalOf(request), [{ kind: 'account', id }]);
      const change = Object.fromEntries(
        Object.entries(request.body).filter(([, value]) => value !== undefined),
      );
      // Asked again in the step that changes it: two who demote each other at one moment must not leave nobody.
      const account = await accounts.update(
        id,
        (before) => {
          checkLastAdmin(access, before, request.body);
          const isAnother =
            (role ?? before.role) !== before.role || (status ?? before.status) !== before.status;
          return { ...change, ...(isAnother ? { trustedSinceMs: nowMs() } : {}) };
        },
        wantedVersion(request),
      );
      if (status === 'disabled') await sessions.endAll(id);
      sendEtag(reply, account.version, stateOf(account));
      return showAccount(account, access);
    },
  );
};

const helpRoutes = ({ fastify }: HttpApp, options: AccountRouteOptions): void => {
  const { access, random, clock } = options;
  const nowMs = (): number => Math.trunc(clock.nowMs());
  const { accounts, sessions, hasher, lockout } = access;
  const log = logger(options);
  const Made = z.strictObject({ oneTimePassword: z.string() });
  fastify.post(
    '/v1/accounts/:id/unlock',
    {
      config: changes,
      schema: { summary: 'End a lockout', params: Params, response: { 200: AccountShown } },
    },
    async (request) => {
      const account = accounts.get(request.params.id);
      await log('account.unlocked', principalOf(request), [{ kind: 'account', id: account.id }]);
      lockout.unlock(account.username);
      return showAccount(account, access);
    },
  );
  fastify.post(
    '/v1/accounts/:id/reset',
    {
      config: changes,
      schema: {
        summary: 'A new one-time password; second factor and sessions end',
        params: Params,
        response: { 200: Made },
      },
    },
    async (request) => {
      const { id } = request.params;
      if (accounts.get(id).external !== null)
        throw new QflError('conflict', { detail: 'this account signs in through an identity provider' });
      const password = oneTimePassword(random);
      const passwordHash = await hasher.hash(password);
      await log('account.changed', principalOf(request), [{ kind: 'account', id }]);
      await accounts.update(id, () => ({
        passwordHash,
        passwordIsOneTime: true,
        totp: null,
        trustedSinceMs: nowMs(),
      }));
      await sessions.endAll(AccountId.parse(id));
      return { oneTimePassword: password };
    },
  );
  fastify.get(
    '/v1/sessions',
    { config: reads, schema: { summary: 'Everybody who is signed in', response: { 200: SessionPage } } },
    () => ({ sessions: sessions.list().map((one) => showSession(one, access)) }),
  );
  fastify.delete(
    '/v1/sessions',
    {
      config: changes,
      schema: { summary: 'Revoke every token: everybody signs in again', response: { 200: Revoked } },
    },
    async (request) => {
      await log('tokens.revoked', principalOf(request), [{ kind: 'sessions', id: 'all' }]);
      const ended = await sessions.endAll();
      await access.tokenKeys.rotate(true);
      return { sessions: ended, keys: 0 };
    },
  );
  fastify.delete(
    '/v1/sessions/:session',
    {
      config: changes,
      schema: {
        summary: 'End one session',
        params: z.strictObject({ session: SessionId }),
        response: { 200: Revoked },
      },
    },
    async (request) => {
      const { session } = request.params;
      const found = sessions.list().some(({ id }) => id === session);
      if (!found) throw new QflError('not_found', { detail: 'There is no such session.' });
      await log('tokens.revoked', principalOf(request), [{ kind: 'session', id: session }]);
      await sessions.end(session);
      return { sessions: 1, keys: 0 };
    },
  );
};

const roleRoutes = ({ fastify }: HttpApp, { access }: AccountRouteOptions): void => {
  fastify.get(
    '/v1/roles',
    {
      config: { access: 'roles.read' },
      schema: { summary: 'Who may do what, cell by cell', response: { 200: RolesShown } },
    },
    () => {
      const table = access.table();
      return {
        roles: table.roles.map((role) => ({ role, grants: [...table.grants(role)] })),
        table: tableRows(table).map((row) => ({ ...row })),
      };
    },
  );
};

const keyRoutes = ({ fastify }: HttpApp, options: AccountRouteOptions): void => {
  const { access, apiKeys } = options;
  const log = logger(options);
  const keyReads = { access: 'keys.read' } as const;
  const keyChanges = { access: 'keys.change' } as const;
  const show = (record: Awaited<ReturnType<ApiKeys['revoke']>>) => ({
    ...record,
    scopes: record.scopes === null ? null : [...record.scopes],
  });
  fastify.get(
    '/v1/keys',
    { config: keyReads, schema: { summary: 'Service keys', response: { 200: ServiceKeyPage } } },
    async () => ({ keys: (await apiKeys.list()).map(show) }),
  );
  fastify.post(
    '/v1/keys',
    {
      config: keyChanges,
      schema: {
        summary: 'A key for a program, shown once; scopes limit it below its role',
        body: ServiceKeyRequest,
        response: { 201: ServiceKeyMade },
      },
    },
    async (request, reply) => {
      const { expiresMs, scopes, ...rest } = request.body;
      checkRole(access, rest.role);
      await log('key.created', principalOf(request), [{ kind: 'role', id: rest.role }]);
      const { key, record } = await apiKeys.mint({
        ...rest,
        ...(expiresMs === undefined ? {} : { expiresMs }),
        scopes: scopes ?? null,
      });
      return reply.code(201).send({ key, record: show(record) });
    },
  );
  fastify.delete(
    '/v1/keys/:id',
    {
      config: keyChanges,
      schema: { summary: 'Revoke a key at once', params: KeyParams, response: { 200: ServiceKeyShown } },
    },
    async (request) => {
      // An id that somebody made up is not written into the log.
      const { id } = await apiKeys.get(request.params.id);
      await log('key.revoked', principalOf(request), [{ kind: 'key', id }]);
      return show(await apiKeys.revoke(id));
    },
  );
};

export const registerAccountRoutes = (app: HttpApp, options: AccountRouteOptions): void => {
  accountRoutes(app, options);
  helpRoutes(app, options);
  roleRoutes(app, options);
  keyRoutes(app, options);
};
