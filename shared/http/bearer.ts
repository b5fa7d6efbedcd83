/**
 * Who may use a route: every route declares it in `config.access`, and a route without a declaration does not register. The
 * key is checked before the body is read.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { assert, InvariantError, QflError } from '../errors.ts';
import type { ApiKeyRecord, ApiKeys } from './api-keys.ts';

/** `public`: no key needed, changes nothing. `any-key`: any valid key. A list: keys of these roles. */
export type RouteAccess = 'public' | 'any-key' | readonly string[];

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: RouteAccess;
    /** `false` leaves the route out of the rate limits: probes and metrics. */
    rateLimit?: false;
  }
  interface FastifyRequest {
    /** The verified key; null on public routes without one. */
    principal: ApiKeyRecord | null;
  }
}

/** The verified key of a route that needs one. */
export const principalOf = (request: FastifyRequest): ApiKeyRecord => {
  assert(
    request.principal !== null,
    'a route that asks for its principal declares an access other than public',
  );
  return request.principal;
};

const needsKey = (): QflError =>
  new QflError('unauthenticated', {
    detail: 'This needs an API key.',
    next: 'Send "Authorization: Bearer qfl_…".',
  });

const bearerOf = (request: FastifyRequest): string | undefined =>
  /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];

/** Checks `access` against the request. @throws QflError `unauthenticated`, `forbidden` */
export const authorize = async (
  apiKeys: ApiKeys | undefined,
  access: RouteAccess,
  request: FastifyRequest,
): Promise<ApiKeyRecord | null> => {
  if (access === 'public') return null;
  const key = bearerOf(request);
  if (key === undefined || apiKeys === undefined) throw needsKey();
  const principal = await apiKeys.verify(key);
  if (access === 'any-key' || access.includes(principal.role)) return principal;
  throw new QflError('forbidden', {
    detail: `This needs a key of role ${access.join(' or ')}; this key has role ${principal.role}.`,
  });
};

/** Installs the rule on everything registered after it. */
export const installBearer = (app: FastifyInstance, apiKeys: ApiKeys | undefined): void => {
  app.addHook('onRoute', ({ url, method, config }) => {
    const access = config?.access;
    const isDeclared = typeof access === 'string' || (Array.isArray(access) && access.length > 0);
    if (!isDeclared)
      throw new InvariantError(`route ${String(method)} ${url} does not declare who may use it`);
  });
  app.addHook('onRequest', async (request) => {
    const { access } = request.routeOptions.config;
    // Only what was registered before the rule (the API documents) and unknown paths have none.
    if (access !== undefined) request.principal = await authorize(apiKeys, access, request);
  });
};
