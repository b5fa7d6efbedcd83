/** Signing in and out, and the own account: `/v1/auth/…`. The keys that verify access tokens are public. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { AccountId, SessionId } from '../../shared/ids.ts';
import {
  AccountShown,
  PasswordChange,
  ProviderShown,
  RefreshRequest,
  SessionPage,
  SetupRequest,
  SignInRequest,
  Tokens,
  TotpBegun,
  TotpConfirm,
  TotpConfirmed,
  Whoami,
} from '../../shared/wire/accounts.ts';
import type { Access } from '../access/start.ts';
import type { OwnSession } from '../access/sign-in.ts';
import { showAccount, showSession } from './show-account.ts';

export interface AuthRouteOptions {
  readonly access: Access;
  readonly audit: Pick<AuditLog, 'record'>;
  /** Where people reach this coordinator; null: where they just did. */
  readonly publicUrl: () => string | null;
}

const COOKIE = 'qfl_sign_in';
const open = { access: 'public' } as const;
const own = { access: 'self.change' } as const;
const Done = z.strictObject({ ok: z.literal(true) });
const DONE = { ok: true as const };

/** Only people have what these routes look after. @throws QflError `forbidden` */
const accountOf = (request: FastifyRequest): AccountId => {
  const { kind, id } = principalOf(request);
  if (kind !== 'account')
    throw new QflError('forbidden', { detail: 'this is for people who signed in, not for keys' });
  return AccountId.parse(id);
};

/** @throws QflError `forbidden` */
const ownSessionOf = (request: FastifyRequest): OwnSession => ({
  account: accountOf(request),
  session: SessionId.parse(principalOf(request).sessionId),
  ip: request.ip,
});

const signInRoutes = ({ fastify }: HttpApp, { access }: AuthRouteOptions): void => {
  const { signIn } = access;
  fastify.post(
    '/v1/auth/setup',
    {
      config: open,
      schema: {
        summary: 'Make the first administrator with the setup code',
        body: SetupRequest,
        response: { 201: AccountShown },
      },
    },
    async (request, reply) => {
      const account = await signIn.setUp(request.body);
      return reply.code(201).send(showAccount(account, access));
    },
  );
  fastify.post(
    '/v1/auth/login',
    {
      config: open,
      schema: { summary: 'Sign in with name and password', body: SignInRequest, response: { 200: Tokens } },
    },
    (request) => signIn.withPassword(request.body, request.ip),
  );
  fastify.post(
    '/v1/auth/refresh',
    {
      config: open,
      schema: {
        summary: 'New tokens for a refresh token, which works once',
        body: RefreshRequest,
        response: { 200: Tokens },
      },
    },
    (request) => signIn.refresh(request.body.refreshToken),
  );
  fastify.get(
    '/.well-known/jwks.json',
    {
      config: open,
      schema: {
        summary: 'Public keys of access tokens (RFC 7517)',
        response: { 200: z.object({ keys: z.array(z.record(z.string(), z.unknown())) }) },
      },
    },
    () => ({ keys: access.tokenKeys.jwks().keys.map((key) => ({ ...key })) }),
  );
};

const ownRoutes = ({ fastify }: HttpApp, { access, audit }: AuthRouteOptions): void => {
  const { sessions, pseudonyms, signIn } = access;
  fastify.get(
    '/v1/auth/me',
    { config: { access: 'self.read' }, schema: { summary: 'Who this token is', response: { 200: Whoami } } },
    (request) => {
      const { kind, id, name, role, department, dataClass, scopes, sessionId, isRestricted } =
        principalOf(request);
      return {
        kind,
        id,
        name,
        role,
        department,
        dataClass,
        scopes: scopes === null ? null : [...scopes],
        session: SessionId.nullable().parse(sessionId),
        restricted: isRestricted,
      };
    },
  );
  fastify.post(
    '/v1/auth/logout',
    { config: own, schema: { summary: 'End this session', response: { 200: Done } } },
    async (request) => {
      const by = principalOf(request);
      accountOf(request);
      await audit.record({ action: 'account.signed_out', outcome: 'ok', ...pseudonyms.actorOf(by) });
      if (by.sessionId !== null) await sessions.end(SessionId.parse(by.sessionId));
      return DONE;
    },
  );
  fastify.get(
    '/v1/auth/sessions',
    { config: own, schema: { summary: 'Where this account is signed in', response: { 200: SessionPage } } },
    (request) => ({ sessions: sessions.list(accountOf(request)).map((one) => showSession(one, access)) }),
  );
  fastify.post(
    '/v1/auth/password',
    {
      config: own,
      schema: {
        summary: 'Set another password; other sessions of the account end',
        body: PasswordChange,
        response: { 200: Done },
      },
    },
    async (request) => {
      const { current, next } = request.body;
      await signIn.changePassword(ownSessionOf(request), current, next);
      return DONE;
    },
  );
};

const secondFactorRoutes = ({ fastify }: HttpApp, { access: { signIn } }: AuthRouteOptions): void => {
  fastify.post(
    '/v1/auth/totp',
    { config: own, schema: { summary: 'Begin a second factor', response: { 200: TotpBegun } } },
    (request) => signIn.beginSecondFactor(accountOf(request)),
  );
  fastify.post(
    '/v1/auth/totp/confirm',
    {
      config: own,
      schema: {
        summary: 'Confirm it with a first code; answers with recovery codes, shown once',
        body: TotpConfirm,
        response: { 200: TotpConfirmed },
      },
    },
    async (request) => ({
      recoveryCodes: [...(await signIn.confirmSecondFactor(ownSessionOf(request), request.body.code))],
    }),
  );
  fastify.post(
    '/v1/auth/totp/remove',
    {
      config: own,
      schema: { summary: 'Remove it, with a code of it', body: TotpConfirm, response: { 200: Done } },
    },
    async (request) => {
      await signIn.removeSecondFactor(ownSessionOf(request), request.body.code);
      return DONE;
    },
  );
};

const HandOffQuery = z.union([
  z.strictObject({}),
  z.strictObject({
    handoff: z.coerce.number().int().min(1024).max(65_535),
    challenge: z.string().regex(/^[\w-]{43}$/),
  }),
]);
const ProviderParams = z.strictObject({ provider: z.string().max(40) });

const providerRoutes = ({ fastify }: HttpApp, { access, publicUrl }: AuthRouteOptions): void => {
  const { providers } = access;
  const baseOf = (request: FastifyRequest): string =>
    publicUrl()?.replace(/\/$/, '') ?? `${request.protocol}://${request.host}`;
  const pathOf = (provider: string, end: string): string => `/v1/auth/providers/${provider}/${end}`;
  /** For the address people have, not the one we listen at: behind a proxy that ends TLS the cookie is still for TLS only. */
  const cookie = (request: FastifyRequest, value: string, seconds: number): string =>
    `${COOKIE}=${value}; Path=/v1/auth/providers; HttpOnly; SameSite=Lax; Max-Age=${seconds}${baseOf(request).startsWith('https:') ? '; Secure' : ''}`;
  const cookieOf = (request: FastifyRequest): string | undefined =>
    new RegExp(`(?:^|;\\s*)${COOKIE}=([\\w-]{43})(?:;|$)`).exec(request.headers.cookie ?? '')?.[1];
  fastify.get(
    '/v1/auth/providers',
    {
      config: open,
      schema: { summary: 'Identity providers to sign in with', response: { 200: ProviderShown } },
    },
    () => ({ providers: providers.names().map((name) => ({ name, startUrl: pathOf(name, 'start') })) }),
  );
  fastify.get(
    '/v1/auth/providers/:provider/start',
    {
      config: open,
      schema: { summary: 'Go to the provider', params: ProviderParams, querystring: HandOffQuery },
    },
    async (request, reply) => {
      const { provider } = request.params;
      const handOff =
        'handoff' in request.query
          ? { port: request.query.handoff, challenge: request.query.challenge }
          : undefined;
      const begun = await providers.start(provider, baseOf(request) + pathOf(provider, 'callback'), handOff);
      return reply.header('set-cookie', cookie(request, begun.cookie, 600)).redirect(begun.url.href, 302);
    },
  );
  const answered = async (request: FastifyRequest, reply: FastifyReply, provider: string) => {
    const here = new URL(request.url, baseOf(request));
    const outcome = await providers.finish(provider, here, cookieOf(request));
    void reply.header('set-cookie', cookie(request, '', 0));
    return 'handOff' in outcome ? reply.redirect(outcome.handOff.href, 302) : reply.send(outcome.tokens);
  };
  fastify.get(
    '/v1/auth/providers/:provider/callback',
    { config: open, schema: { summary: 'Back from the provider', params: ProviderParams } },
    (request, reply) => answered(request, reply, request.params.provider),
  );
  fastify.post(
    '/v1/auth/providers/exchange',
    {
      config: open,
      schema: {
        summary: 'Tokens for the code that a waiting command line was handed',
        body: z.strictObject({ code: z.string().max(100), verifier: z.string().max(200) }),
        response: { 200: Tokens },
      },
    },
    (request) => providers.exchange(request.body.code, request.body.verifier),
  );
};

export const registerAuthRoutes = (app: HttpApp, options: AuthRouteOptions): void => {
  signInRoutes(app, options);
  ownRoutes(app, options);
  secondFactorRoutes(app, options);
  providerRoutes(app, options);
};
