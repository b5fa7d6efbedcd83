/** Every route of the coordinator for every role: as the access table says, cell by cell, and nobody without a token. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { isOperation } from '../../shared/access/operations.ts';
import { COORDINATOR_ROUTES } from '../../shared/client/coordinator-routes.ts';
import type { Route } from '../../shared/client/route.ts';
import { startTestCoordinator, type TestCoordinator } from '../fixtures/coordinator.ts';
import { TEST_RULES } from '../unit/http/fixture.ts';

const Document = z.object({
  openapi: z.string(),
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.looseObject({
        description: z.string().optional(),
        summary: z.string().optional(),
        security: z.array(z.unknown()).optional(),
        responses: z.record(z.string(), z.unknown()),
      }),
    ),
  ),
});

interface Documented {
  readonly method: string;
  readonly path: string;
  readonly operation: string | undefined;
  readonly summary: string | undefined;
  readonly responses: readonly string[];
}

let coordinator: TestCoordinator;
let routes: readonly Documented[] = [];
let version = '';

/** Ids that nobody has: what is allowed ends in 404 or 400, never in a change. */
const addressOf = (path: string): string =>
  path
    .replace('{session}', '0'.repeat(32))
    .replace('{site}', 'nobody')
    .replace('{provider}', 'none')
    .replace('{queryId}', '0'.repeat(32))
    .replace('{name}', 'none')
    .replace('{version}', '1')
    .replace('{index}', '999999999')
    .replace('*', '0/x')
    .replace(/\{id\}/, /^\/v1\/(tasks|experiments)/.test(path) ? '0'.repeat(32) : '0'.repeat(16));
/** Nothing that could be carried out: what reads its body refuses this one. */
const bodyOf = (method: string): Record<string, unknown> =>
  method === 'get' || method === 'delete' ? {} : { body: { nothing: 'of this' } };

beforeAll(async () => {
  coordinator = await startTestCoordinator('limits:\n  requests_per_minute: 6000\n');
  const document = Document.parse((await coordinator.call('/docs/json')).body);
  version = document.openapi;
  routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { description = '', summary, responses }]) => ({
      method,
      path,
      operation: /^Operation `([\w.]+)`/.exec(description)?.[1],
      summary,
      responses: Object.keys(responses),
    })),
  );
});
afterAll(() => coordinator.close());

describe('the routes', () => {
  it('are many, and each says in a sentence what it does and which errors it answers', () => {
    expect(version).toBe('3.1.0');
    expect(routes.length).toBeGreaterThan(50);
    expect(
      routes.filter(({ summary }) => summary === undefined).map(({ method, path }) => `${method} ${path}`),
    ).toEqual([]);
    for (const { path, operation, responses } of routes) {
      expect(responses, path).toContain('429');
      if (operation !== undefined) expect(responses, path).toEqual(expect.arrayContaining(['401', '403']));
    }
  });

  it('are what the typed client has, no more and no less', () => {
    const pages = [
      '/health',
      '/ready',
      '/metrics',
      '/v1/auth/providers/{provider}/start',
      '/v1/auth/providers/{provider}/callback',
    ];
    const documented = routes
      .filter(({ path }) => !pages.includes(path) && !path.startsWith('/v1/log/'))
      .map(({ method, path }) => `${method} ${path}`);
    const clients = Object.values<Readonly<Record<string, Route>>>(COORDINATOR_ROUTES)
      .flatMap((verbs) => Object.values(verbs))
      .map(({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
    expect(clients.toSorted()).toEqual(documented.toSorted());
  });

  it('need a token but for the public ones, of which this is the list', async () => {
    const open: string[] = [];
    for (const { method, path, operation } of routes) {
      if (operation === undefined) {
        open.push(`${method} ${path}`);
        continue;
      }
      const { status } = await coordinator.call(addressOf(path), {
        method: method.toUpperCase(),
        ...bodyOf(method),
      });
      expect(status, `${method} ${path}`).toBe(401);
    }
    expect(open.toSorted()).toEqual([
      'get /.well-known/jwks.json',
      'get /health',
      'get /metrics',
      'get /ready',
      'get /v1/auth/providers',
      'get /v1/auth/providers/{provider}/callback',
      'get /v1/auth/providers/{provider}/start',
      'get /v1/directory/leaves',
      'get /v1/federation',
      'get /v1/log/audit/checkpoint',
      'get /v1/log/audit/tile/{*}',
      'get /v1/log/keys/checkpoint',
      'get /v1/log/keys/tile/entries/{*}',
      'get /v1/log/keys/tile/{*}',
      'get /v1/log/policy',
      'post /v1/auth/login',
      'post /v1/auth/providers/exchange',
      'post /v1/auth/refresh',
      'post /v1/auth/setup',
    ]);
  });

  it.each(TEST_RULES.table.roles.map((role) => [role] as const))(
    'answer a key of role %s as the table says',
    async (role) => {
      const key = await coordinator.key(role);
      for (const { method, path, operation } of routes) {
        if (operation === undefined || !isOperation(operation)) continue;
        // Acts without a body that would be carried out.
        if (method === 'post' && path === '/v1/audit/export') continue;
        // Streams until it is closed.
        if (path.endsWith('/watch')) continue;
        const answer = await coordinator.call(addressOf(path), {
          method: method.toUpperCase(),
          key,
          ...bodyOf(method),
        });
        const { detail = '' } = z.looseObject({ detail: z.string().optional() }).catch({}).parse(answer.body);
        const isDenied = answer.status === 403 && detail.startsWith(`the role "${role}" may not do`);
        expect(isDenied, `${role}: ${method} ${path} answered ${answer.status} ${detail}`).toBe(
          TEST_RULES.table.bound(role, operation) === null,
        );
      }
    },
  );
});
