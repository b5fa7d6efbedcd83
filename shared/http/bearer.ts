/**
 * Who may use a route: every route declares its operation in `config.access`, and a route without a declaration does not register. The
 * token is checked before the body is read.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type AccessRules, authorizePrincipal } from '../access/authorize.ts';
import { isOperation, type Operation } from '../access/operations.ts';
import type { Authenticator, Principal } from '../access/principal.ts';
import { assert, InvariantError, QflError } from '../errors.ts';

/** `public`: nobody needs to say who they are, and it changes nothing that is not theirs. Else the operation of the access table. */
export type RouteAccess = 'public' | Operation;

/** What stands between a request and its operation beside the table: a lockdown, for example. @throws QflError */
export type Gate = (operation: Operation, principal: Principal) => void;

export interface HttpAccess {
  readonly authenticator: Authenticator;
  /** Asked for every request: roles follow a new configuration at once. */
  readonly rules: () => AccessRules;
  readonly gate?: Gate | undefined;
  /** Told of every refusal, for the audit log; must not throw. */
  readonly refused?: ((operation: Operation, principal: Principal) => void) | undefined;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: RouteAccess;
    /** `false` leaves the route out of the rate limits: probes and metrics. */
    rateLimit?: false;
  }
  interface FastifyRequest {
    /** Who sent it; null on public routes. */
    principal: Principal | null;
  }
}

/** Who sent a request to a route that is not public. */
export const principalOf = (request: FastifyRequest): Principal => {
  assert(
    request.principal !== null,
    'a route that asks for its principal declares an access other than public',
  );
  return request.principal;
};

const needsKey = (): QflError =>
  new QflError('unauthenticated', {
    detail: 'This needs a key or a sign-in.',
    next: 'Send "Authorization: Bearer …" with an API key (qfl_…) or the token of "qfl login".',
  });

const bearerOf = (request: FastifyRequest): string | undefined =>
  /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];

/** Checks `access` against the request. @throws QflError `unauthenticated`, `forbidden`, and what the gate throws */
export const authorize = async (
  http: HttpAccess | undefined,
  access: RouteAccess,
  request: FastifyRequest,
): Promise<Principal | null> => {
  if (access === 'public') return null;
  const token = bearerOf(request);
  if (token === undefined || http === undefined) throw needsKey();
  const principal = await http.authenticator.verify(token);
  try {
    authorizePrincipal(http.rules(), principal, access, request.ip);
  } catch (error) {
    http.refused?.(access, principal);
    throw error;
  }
  http.gate?.(access, principal);
  return principal;
};

/** Installs the rule on everything registered after it. */
export const installBearer = (app: FastifyInstance, http: HttpAccess | undefined): void => {
  app.addHook('onRoute', ({ url, method, config }) => {
    const access = config?.access;
    if (access === undefined || !(access === 'public' || isOperation(access)))
      throw new InvariantError(`route ${String(method)} ${url} does not declare who may use it`);
  });
  app.addHook('onRequest', async (request) => {
    const { access } = request.routeOptions.config;
    // Only what was registered before the rule (the API documents) and unknown paths have none.
    if (access !== undefined) request.principal = await authorize(http, access, request);
  });
};
