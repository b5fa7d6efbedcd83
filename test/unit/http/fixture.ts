import { z } from 'zod';
import { accessRulesOf } from '../../../shared/access/rules.ts';
import { type ApiKeys, createApiKeys, keyAuthenticator } from '../../../shared/http/api-keys.ts';
import { createHttpApp, type HttpApp, type HttpAppOptions } from '../../../shared/http/app.ts';
import { principalOf } from '../../../shared/http/bearer.ts';
import { openSse } from '../../../shared/http/sse.ts';
import type { Clock } from '../../../shared/clock.ts';
import { QflError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/log.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';

export class TestClock implements Clock {
  timeMs = 1_790_000_000_000;
  nowMs(): number {
    return this.timeMs;
  }
  monotonicMs(): number {
    return this.timeMs;
  }
}

/** The roles of the default configuration. */
export const TEST_RULES = accessRulesOf({
  rolePermissions: new Map([
    ['doctor', ['query', 'planning', 'measurement']],
    ['nurse', ['query', 'basic_planning']],
    ['researcher', ['query']],
    ['admin', ['all']],
  ]),
  roleDataClasses: new Map(),
  adminAllowedAddresses: [],
});

export interface TestApp {
  readonly app: HttpApp;
  readonly keys: ApiKeys;
  readonly clock: TestClock;
  readonly doctor: string;
}

const Answer = z.object({ name: z.string(), size: z.int() });

const addRoutes = ({ fastify, streams }: HttpApp): void => {
  fastify.get('/open', { config: { access: 'public' } }, () => ({ ok: true }));
  fastify.get('/probe', { config: { access: 'public', rateLimit: false } }, () => ({ ok: true }));
  fastify.get('/me', { config: { access: 'self.read' } }, (request) => ({ role: principalOf(request).role }));
  fastify.get('/admin', { config: { access: 'sites.change' } }, () => ({ ok: true }));
  fastify.post(
    '/things/:id',
    {
      config: { access: 'public' },
      schema: {
        params: z.object({ id: z.string() }),
        querystring: z.strictObject({ limit: z.coerce.number().int().max(5).optional() }),
        body: z.strictObject({ name: z.string(), parts: z.array(z.strictObject({ size: z.int() })) }),
        response: { 200: Answer },
      },
    },
    ({ body }) => ({ name: body.name, size: body.parts.length }),
  );
  fastify.get('/fails', { config: { access: 'public' } }, () => {
    throw new Error('secret inside');
  });
  fastify.get('/budget', { config: { access: 'public' } }, () => {
    throw new QflError('budget_exceeded', { detail: 'spent', next: 'wait', facts: { ledger: 'user-day' } });
  });
  fastify.post(
    '/v1/chat/completions',
    { config: { access: 'chat.ask' }, schema: { body: z.object({ model: z.string() }) } },
    ({ body }) => {
      if (body.model === 'none')
        throw new QflError('not_found', { detail: 'The model none does not exist.' });
      throw new QflError('backend_failed');
    },
  );
  fastify.get('/stream', { config: { access: 'public' } }, async (_request, reply) => {
    const stream = openSse(reply, streams);
    await stream.send('first');
    await new Promise((resolve) => stream.signal.addEventListener('abort', resolve, { once: true }));
    await stream.send('stopped', 'error');
    stream.end();
    return reply;
  });
  fastify.get('/lines', { config: { access: 'public' } }, (_request, reply) =>
    reply.type('application/x-ndjson').send('{"n":1}\n{"n":2}\n'),
  );
};

export const startApp = async (rest: Partial<HttpAppOptions> = {}): Promise<TestApp> => {
  const clock = new TestClock();
  const keys = createApiKeys({ store: createMemoryStore(), prefix: 'k/', clock, random: secureRandomBytes });
  const app = await createHttpApp({
    logger: silentLogger,
    clock,
    title: 'Test',
    version: '1.0.0',
    bodyLimitBytes: 2_000,
    rateLimit: { requestsMax: 1_000, windowMs: 60_000, keysMax: 100 },
    access: { authenticator: keyAuthenticator(keys), rules: () => TEST_RULES },
    ...rest,
  });
  addRoutes(app);
  const { key } = await keys.mint({ name: 'd', role: 'doctor', department: 'icu', dataClass: 'internal' });
  return { app, keys, clock, doctor: key };
};
