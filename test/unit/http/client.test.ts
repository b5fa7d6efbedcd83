import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createHttpClient, errorOfAnswer, type HttpClientOptions } from '../../../shared/http/client.ts';
import { proxyFor } from '../../../shared/http/proxy.ts';
import { readSse } from '../../../shared/http/stream-parse.ts';
import {
  assertBindable,
  certificateFingerprint,
  loadTlsFiles,
  selfSignedTls,
} from '../../../shared/http/tls.ts';
import { DAY_MS, systemClock } from '../../../shared/clock.ts';
import { utf8 } from '../../../shared/bytes.ts';
import { startApp } from './fixture.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'qfl-http-'));
});
afterAll(() => rm(folder, { recursive: true }));

const clientOf = (baseUrl: string, rest: Partial<HttpClientOptions> = {}) =>
  createHttpClient({ baseUrl, env: {}, timeoutMs: 5_000, ...rest });
const Ok = z.object({ ok: z.boolean() });

describe('over plain HTTP to loopback', () => {
  it('reads JSON, NDJSON, and errors as what they were', async () => {
    const { app, doctor } = await startApp();
    const { url } = await app.listen({ host: '127.0.0.1', port: 0 });
    const client = clientOf(url, { apiKey: doctor });
    expect(await client.json('GET', '/open', Ok)).toEqual({ ok: true });
    const lines: unknown[] = [];
    for await (const line of client.ndjson('GET', '/lines', z.object({ n: z.int() }))) lines.push(line);
    expect(lines).toEqual([{ n: 1 }, { n: 2 }]);
    await expect(client.json('GET', '/budget', Ok)).rejects.toMatchObject({
      code: 'budget_exceeded',
      detail: 'spent',
      next: 'wait',
      facts: { ledger: 'user-day' },
    });
    await expect(client.json('GET', '/me', Ok)).rejects.toMatchObject({ code: 'protocol' });
    const body = { name: 1, parts: [] };
    await expect(client.json('POST', '/things/a', Ok, { body })).rejects.toThrowError(/body\.name/);
    await client.close();
    await app.close();
    await expect(clientOf(url).json('GET', '/open', Ok)).rejects.toMatchObject({ code: 'not_connected' });
  });

  it('ends open event streams when the program closes, after their last event', async () => {
    const { app } = await startApp();
    const { url } = await app.listen({ host: '127.0.0.1', port: 0 });
    const client = clientOf(url);
    const events: unknown[] = [];
    for await (const event of client.sse('GET', '/stream')) {
      events.push(event);
      if (events.length === 1) void app.close(50);
    }
    expect(events).toEqual([
      { event: 'message', data: 'first' },
      { event: 'error', data: 'stopped' },
    ]);
    expect(app.streams.size).toBe(0);
    await client.close();
  });

  it('tells the stream when the client goes away', async () => {
    const { app } = await startApp();
    const { url } = await app.listen({ host: '127.0.0.1', port: 0 });
    const client = clientOf(url);
    const abort = new AbortController();
    const read = async () => {
      for await (const { data } of client.sse('GET', '/stream', { signal: abort.signal })) {
        expect(data).toBe('first');
        abort.abort();
      }
    };
    await expect(read()).rejects.toMatchObject({ code: 'cancelled' });
    while (app.streams.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await client.close();
    await app.close();
  });

  it('refuses to send a key readable over a network', () => {
    expect(() => clientOf('http://10.0.0.1:8080')).toThrowError(/cannot be used as an address/);
    expect(() => clientOf('nonsense')).toThrowError(/nonsense/);
    expect(() => clientOf('https://a', { pinnedFingerprint: 'AB:CD' })).toThrowError(/64/);
    expect(() => clientOf('https://a', { caFile: '/nonexistent' })).toThrowError(/CA file/);
  });
});

/** A CONNECT proxy that counts. */
const startProxy = async (): Promise<{ server: Server; url: string; used: () => number }> => {
  let used = 0;
  const server = createServer();
  server.on('connect', (request, client) => {
    used += 1;
    const port = Number(request.url?.split(':').at(-1));
    const upstream = connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on('error', () => client.destroy());
    client.on('error', () => upstream.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  return { server, url: `http://127.0.0.1:${port}`, used: () => used };
};

describe('over TLS', () => {
  it('keeps a self-signed certificate in a private file, and pins it', async () => {
    const where = { folder: path.join(folder, 'a'), hosts: [] };
    const tls = await selfSignedTls(where, systemClock);
    expect((await selfSignedTls(where, systemClock)).fingerprint).toBe(tls.fingerprint);
    expect((await stat(path.join(where.folder, 'tls-self-signed.pem'))).mode & 0o777).toBe(0o600);
    expect(certificateFingerprint(tls.cert)).toBe(tls.fingerprint);
    const later = { ...systemClock, nowMs: () => tls.notAfterMs - 29 * DAY_MS };
    expect((await selfSignedTls(where, later)).fingerprint).not.toBe(tls.fingerprint);
    await writeFile(path.join(where.folder, 'tls-self-signed.pem'), 'damaged');
    await expect(selfSignedTls(where, systemClock)).rejects.toMatchObject({ code: 'config_invalid' });
  });

  it('speaks to the pinned certificate, to one of a private CA file, and to no other', async () => {
    const tls = await selfSignedTls({ folder: path.join(folder, 'b'), hosts: [] }, systemClock);
    const other = await selfSignedTls({ folder: path.join(folder, 'c'), hosts: [] }, systemClock);
    const { app } = await startApp({ tls });
    const { url } = await app.listen({ host: '127.0.0.1', port: 0 });
    const caFile = path.join(folder, 'ca.pem');
    await writeFile(caFile, tls.cert);
    const tries = [
      clientOf(url, { pinnedFingerprint: tls.fingerprint }),
      clientOf(url, { caFile }),
      clientOf(url.replace('127.0.0.1', 'localhost'), { caFile }),
      clientOf(url, { pinnedFingerprint: other.fingerprint }),
      clientOf(url),
    ];
    const results = await Promise.all(
      tries.map((client) =>
        client.json('GET', '/open', Ok).then(
          () => 'ok',
          (error: { code: string }) => error.code,
        ),
      ),
    );
    expect(results).toEqual(['ok', 'ok', 'ok', 'unknown_key', 'unknown_key']);
    await Promise.all(tries.map((client) => client.close()));
    await app.close();
  });

  it('accepts TLS 1.3 only', async () => {
    const tls = await selfSignedTls({ folder: path.join(folder, 'b'), hosts: [] }, systemClock);
    const { app } = await startApp({ tls });
    const { port } = await app.listen({ host: '127.0.0.1', port: 0 });
    const older = new Promise((resolve) => {
      const socket = tlsConnect({
        port,
        host: '127.0.0.1',
        maxVersion: 'TLSv1.2',
        rejectUnauthorized: false,
      });
      socket.once('error', () => resolve('refused'));
      socket.once('secureConnect', () => resolve('accepted'));
    });
    expect(await older).toBe('refused');
    await app.close();
  });

  it('goes through the proxy of the environment, still pinned', async () => {
    const tls = await selfSignedTls({ folder: path.join(folder, 'b'), hosts: [] }, systemClock);
    const { app } = await startApp({ tls });
    const { port } = await app.listen({ host: '127.0.0.1', port: 0 });
    const proxy = await startProxy();
    const env = { HTTPS_PROXY: proxy.url };
    // A name that only the proxy resolves (it sends everything to this machine).
    const url = `https://coordinator.invalid:${port}`;
    const pinned = clientOf(url, { pinnedFingerprint: tls.fingerprint, env });
    expect(await pinned.json('GET', '/open', Ok)).toEqual({ ok: true });
    expect(proxy.used()).toBe(1);
    const unpinned = clientOf(url, { env });
    await expect(unpinned.json('GET', '/open', Ok)).rejects.toMatchObject({ code: 'unknown_key' });
    await Promise.all([pinned.close(), unpinned.close()]);
    await app.close();
    proxy.server.closeAllConnections();
    proxy.server.close();
  });

  it('loads certificate files and refuses what does not fit', async () => {
    const tls = await selfSignedTls({ folder: path.join(folder, 'b'), hosts: [] }, systemClock);
    const other = await selfSignedTls({ folder: path.join(folder, 'c'), hosts: [] }, systemClock);
    const certFile = path.join(folder, 'cert.pem');
    const keyFile = path.join(folder, 'key.pem');
    await writeFile(certFile, tls.cert);
    await writeFile(keyFile, tls.key);
    expect((await loadTlsFiles({ certFile, keyFile }, systemClock)).fingerprint).toBe(tls.fingerprint);
    const expired = { ...systemClock, nowMs: () => tls.notAfterMs };
    await expect(loadTlsFiles({ certFile, keyFile }, expired)).rejects.toThrowError(/expired/);
    await writeFile(keyFile, other.key);
    await expect(loadTlsFiles({ certFile, keyFile }, systemClock)).rejects.toThrowError(/belong/);
    await expect(loadTlsFiles({ certFile, keyFile: '/none' }, systemClock)).rejects.toThrowError(
      /cannot be used/,
    );
    expect(await readFile(certFile, 'utf8')).toContain('BEGIN CERTIFICATE');
  });

  it('binds nothing but loopback without a certificate', async () => {
    for (const host of ['0.0.0.0', '::', '10.1.2.3', 'example.org', '::ffff:127.0.0.1']) {
      expect(() => assertBindable(host, undefined)).toThrowError(/certificate/);
    }
    for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost']) assertBindable(host, undefined);
    const { app } = await startApp();
    await expect(app.listen({ host: '0.0.0.0', port: 0 })).rejects.toMatchObject({ code: 'config_invalid' });
    await app.close();
  });
});

describe('small parts', () => {
  it.each([
    ['https://a.example', { HTTPS_PROXY: 'http://p:3128' }, 'http://p:3128/'],
    ['https://a.example', { https_proxy: 'p:3128' }, 'http://p:3128/'],
    ['wss://a.example', { HTTPS_PROXY: 'http://p:3128' }, 'http://p:3128/'],
    ['https://127.0.0.1', { HTTPS_PROXY: 'http://p:3128' }, undefined],
    ['https://a.example', { HTTPS_PROXY: 'http://p', NO_PROXY: 'b.example, .example' }, undefined],
    ['https://a.example:8443', { HTTPS_PROXY: 'http://p', NO_PROXY: 'a.example:443' }, 'http://p/'],
    ['https://nota.example', { HTTPS_PROXY: 'http://p', NO_PROXY: 'a.example' }, 'http://p/'],
    ['https://a.example', { HTTPS_PROXY: 'http://p', NO_PROXY: '*' }, undefined],
    ['https://a.example', {}, undefined],
  ])('%s with %j goes through %s', (url, env, expected) => {
    expect(proxyFor(new URL(url), env)?.href).toBe(expected);
  });

  it('reads event streams that break anywhere', async () => {
    const text = ': hi\r\n\r\nevent: a\ndata: ä1\ndata:2\n\ndata: last\n\ndata: cut';
    for (const size of [1, 2, 3, 7, 100]) {
      async function* chunks() {
        const bytes = utf8(text);
        for (let at = 0; at < bytes.length; at += size)
          yield await Promise.resolve(bytes.subarray(at, at + size));
      }
      const events: unknown[] = [];
      for await (const event of readSse(chunks())) events.push(event);
      expect(events).toEqual([
        { event: 'a', data: 'ä1\n2' },
        { event: 'message', data: 'last' },
      ]);
    }
  });

  it('reads errors of other servers by their status', () => {
    expect(errorOfAnswer(401, '<html>')).toMatchObject({ code: 'unauthenticated' });
    expect(errorOfAnswer(503, '')).toMatchObject({ code: 'internal' });
    const openAi = JSON.stringify({ error: { message: 'no such model', code: 'model_not_found' } });
    expect(errorOfAnswer(404, openAi)).toMatchObject({ code: 'not_found', detail: 'no such model' });
  });
});
