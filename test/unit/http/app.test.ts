import { pino } from 'pino';
import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createMetrics } from '../../../shared/http/metrics.ts';
import { startApp } from './fixture.ts';

describe('answers of the HTTP face', () => {
  it('names every part of a request that is wrong', async () => {
    const { app } = await startApp();
    const response = await app.fastify.inject({
      method: 'POST',
      url: '/things/a',
      payload: { name: 1, parts: [{ size: 1 }, { size: 'x' }], more: 1 },
    });
    expect(response.statusCode).toBe(400);
    expect(response.headers['content-type']).toContain('application/problem+json');
    const body: { errors: { path: string }[] } = response.json();
    expect(body).toMatchObject({
      type: 'urn:qfl:error:invalid_request',
      status: 400,
      code: 'invalid_request',
    });
    expect(body.errors.map(({ path }) => path)).toEqual(['body.name', 'body.parts.1.size', 'body']);
    const query = await app.fastify.inject({
      method: 'POST',
      url: '/things/a?limit=9',
      payload: { name: 'x', parts: [] },
    });
    expect(query.json()).toMatchObject({ errors: [{ path: 'query.limit' }] });
    await app.close();
  });

  it('answers a good request, echoes a harmless request id and replaces another', async () => {
    const { app } = await startApp();
    const ask = (id: string) =>
      app.fastify.inject({
        method: 'POST',
        url: '/things/a',
        payload: { name: 'x', parts: [{ size: 1 }] },
        headers: { 'x-request-id': id },
      });
    const response = await ask('abc-1');
    expect(response.json()).toEqual({ name: 'x', size: 1 });
    expect(response.headers).toMatchObject({
      'x-request-id': 'abc-1',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    });
    expect((await ask('a b<script>')).headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    await app.close();
  });

  it.each([
    ['POST', '/things/a', 'x'.repeat(3_000), 'application/json', 413, 'too_large'],
    ['POST', '/things/a', '{', 'application/json', 400, 'invalid_request'],
    ['POST', '/things/a', '<a/>', 'text/xml', 415, 'invalid_request'],
    ['GET', '/nothing', undefined, 'text/plain', 404, 'not_found'],
    ['DELETE', '/things/a', undefined, 'text/plain', 405, 'invalid_request'],
    ['GET', '/fails', undefined, 'text/plain', 500, 'internal'],
    ['GET', '/budget', undefined, 'text/plain', 403, 'budget_exceeded'],
  ] as const)('%s %s as a problem: %#', async (method, url, payload, type, status, code) => {
    const { app } = await startApp();
    const body = payload === undefined ? {} : { payload, headers: { 'content-type': type } };
    const response = await app.fastify.inject({ method, url, ...body });
    expect(response.json()).toMatchObject({ status, code });
    expect(response.statusCode).toBe(status);
    expect(response.body).not.toContain('secret inside');
    expect(response.headers['allow']).toBe(status === 405 ? 'POST' : undefined);
    await app.close();
  });

  it('uses OpenAI shapes under /v1/chat', async () => {
    const { app, doctor } = await startApp();
    const ask = async (payload: object, key = doctor) => {
      const headers = { authorization: `Bearer ${key}` };
      const response = await app.fastify.inject({
        method: 'POST',
        url: '/v1/chat/completions',
        payload,
        headers,
      });
      return { status: response.statusCode, body: response.json<unknown>() };
    };
    expect(await ask({ model: 'x' }, 'wrong')).toMatchObject({
      status: 401,
      body: { error: { type: 'authentication_error', code: 'invalid_api_key', param: null } },
    });
    expect(await ask({})).toMatchObject({
      status: 400,
      body: { error: { type: 'invalid_request_error', param: 'body.model' } },
    });
    expect(await ask({ model: 'none' })).toMatchObject({
      status: 404,
      body: { error: { code: 'model_not_found' } },
    });
    expect(await ask({ model: 'x' })).toMatchObject({ status: 502, body: { error: { type: 'api_error' } } });
    await app.close();
  });

  it('describes itself at /docs', async () => {
    const { app } = await startApp();
    const response = await app.fastify.inject({ url: '/docs/json' });
    const document: { paths: object; openapi: string } = response.json();
    expect(document.openapi).toBe('3.1.0');
    expect(Object.keys(document.paths)).toContain('/things/{id}');
    expect((await app.fastify.inject({ url: '/docs/' })).statusCode).toBe(200);
    await app.close();
  });
});

describe('rate limits', () => {
  it('are per address, say when to come back, and leave probes alone', async () => {
    const { app, clock } = await startApp({ rateLimit: { requestsMax: 3, windowMs: 3_000, keysMax: 10 } });
    const ask = (remoteAddress: string, url = '/open') => app.fastify.inject({ url, remoteAddress });
    for (const remaining of ['2', '1', '0']) {
      expect((await ask('10.0.0.1')).headers).toMatchObject({ 'ratelimit-remaining': remaining });
    }
    const refused = await ask('10.0.0.1');
    expect(refused.statusCode).toBe(429);
    expect(refused.headers).toMatchObject({ 'retry-after': '1', 'ratelimit-limit': '3' });
    expect((await ask('10.0.0.2')).statusCode).toBe(200);
    expect((await ask('10.0.0.1', '/probe')).statusCode).toBe(200);
    clock.timeMs += 1_000;
    expect((await ask('10.0.0.1')).statusCode).toBe(200);
    expect((await ask('10.0.0.1')).statusCode).toBe(429);
    await app.close();
  });

  it('are per key from any address', async () => {
    const { app, doctor } = await startApp({ rateLimit: { requestsMax: 2, windowMs: 2_000, keysMax: 10 } });
    const ask = (at: number) =>
      app.fastify.inject({
        url: '/me',
        remoteAddress: `10.0.1.${at}`,
        headers: { authorization: `Bearer ${doctor}` },
      });
    const statuses = [(await ask(1)).statusCode, (await ask(2)).statusCode, (await ask(3)).statusCode];
    expect(statuses).toEqual([200, 200, 429]);
    await app.close();
  });
});

describe('what is written down', () => {
  it('logs the route and never query, body or key; counts by route', async () => {
    const lines: string[] = [];
    const sink = new Writable({
      write(chunk, _encoding, done) {
        lines.push(String(chunk));
        done();
      },
    });
    const metrics = createMetrics('agent');
    const { app, doctor } = await startApp({ logger: pino({ level: 'trace' }, sink), metrics });
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.fastify.server.address() as { port: number };
    const response = await fetch(`http://127.0.0.1:${port}/things/Schmidt?limit=2`, {
      method: 'POST',
      headers: { authorization: `Bearer ${doctor}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'Huber', parts: [] }),
    });
    await response.text();
    await fetch(`http://127.0.0.1:${port}/fails?name=Meier`);
    await app.close();
    const text = lines.join('');
    expect(text).toContain('"route":"/things/:id"');
    for (const secret of ['Schmidt', 'Meier', 'Huber', doctor.slice(-20)]) expect(text).not.toContain(secret);
    const rendered = await metrics.render();
    expect(rendered).toContain(
      'http_requests_total{method="POST",route="/things/:id",status="200",program="agent"} 1',
    );
    expect(rendered).toContain('http_requests_in_flight{program="agent"} 0');
    expect(rendered).not.toContain('Schmidt');
  });
});
