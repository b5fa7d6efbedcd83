import { describe, expect, it } from 'vitest';
import { createApiKeys } from '../../../shared/http/api-keys.ts';
import { addressKey, createRateLimiter } from '../../../shared/http/rate-limit.ts';
import { InvariantError } from '../../../shared/errors.ts';
import { fromUtf8 } from '../../../shared/bytes.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { startApp, TestClock } from './fixture.ts';

const request = { name: 'ward', role: 'doctor', department: 'icu', dataClass: 'confidential' } as const;
const open = () => {
  const store = createMemoryStore();
  const clock = new TestClock();
  return { store, clock, keys: createApiKeys({ store, prefix: 'k/', clock, random: secureRandomBytes }) };
};

describe('API keys', () => {
  it('are minted once, verified, listed without their secret, and revoked', async () => {
    const { keys, store } = open();
    const { key, record } = await keys.mint(request);
    expect(key).toMatch(/^qfl_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
    expect(await keys.verify(key)).toEqual(record);
    expect(await keys.list()).toEqual([record]);
    const stored: string[] = [];
    for await (const { value } of store.list({ prefix: '' })) stored.push(fromUtf8(value));
    expect(stored.join('')).not.toContain(key.slice(21));
    expect(await keys.revoke(record.id)).toMatchObject({ revoked: true });
    await expect(keys.verify(key)).rejects.toMatchObject({ code: 'unauthenticated' });
    await expect(keys.revoke('0'.repeat(16))).rejects.toMatchObject({ code: 'not_found' });
    await expect(keys.revoke('../x')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('end at their date', async () => {
    const { keys, clock } = open();
    const { key } = await keys.mint({ ...request, expiresMs: clock.timeMs + 1_000 });
    await keys.verify(key);
    clock.timeMs += 1_000;
    await expect(keys.verify(key)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('are refused in the same words whatever is wrong', async () => {
    const { keys } = open();
    const { key } = await keys.mint(request);
    const wrong = [
      '',
      'qfl_',
      key.slice(0, -1),
      `${key.slice(0, 25)}${key[25] === 'A' ? 'B' : 'A'}${key.slice(26)}`,
      `qfl_${'0'.repeat(16)}_${key.slice(21)}`,
      `qfl_${'f'.repeat(16)}_${key.slice(21)}`,
    ];
    const answers = await Promise.all(wrong.map((text) => keys.verify(text).then(() => 'accepted', String)));
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).not.toBe('accepted');
  });

  it('need a role, a department and a data class', async () => {
    const { keys } = open();
    const bad = { ...request, role: '', department: 'ICU 1' };
    await expect(keys.mint(bad)).rejects.toThrowError(/department.*role|role.*department/);
  });
});

const ask = async (url: string, authorization?: string) => {
  const { app, keys, doctor } = await startApp();
  const admin = await keys.mint({ ...request, role: 'admin' });
  const header = authorization?.replace('DOCTOR', doctor).replace('ADMIN', admin.key);
  const headers = header === undefined ? {} : { authorization: header };
  const response = await app.fastify.inject({ url, headers });
  await app.close();
  return response;
};

describe('access to routes', () => {
  it.each([
    ['/open', undefined, 200],
    ['/me', undefined, 401],
    ['/me', 'Bearer x', 401],
    ['/me', 'Basic DOCTOR', 401],
    ['/me', 'Bearer DOCTOR', 200],
    ['/me', 'bearer DOCTOR', 200],
    ['/admin', 'Bearer DOCTOR', 403],
    ['/admin', 'Bearer ADMIN', 200],
  ])('%s with %s answers %i', async (url, authorization, status) => {
    const response = await ask(url, authorization);
    expect(response.statusCode).toBe(status);
    expect(response.headers['www-authenticate']).toBe(status === 401 ? 'Bearer' : undefined);
  });

  it('is denied by default: a route that does not declare it cannot be registered', async () => {
    const { app } = await startApp();
    expect(() => app.fastify.get('/forgotten', () => 'x')).toThrowError(InvariantError);
    await app.close();
  });

  it('keeps an unauthenticated body unread', async () => {
    const { app } = await startApp();
    const payload = 'x'.repeat(5_000);
    const response = await app.fastify.inject({ method: 'POST', url: '/v1/chat/completions', payload });
    expect(response.statusCode).toBe(401);
    await app.close();
  });
});

describe('the rate limiter', () => {
  it('never lets more than burst plus rate through, and forgets beyond its bound', () => {
    const clock = new TestClock();
    const limiter = createRateLimiter({ requestsMax: 10, windowMs: 1_000, keysMax: 2 }, clock);
    let allowed = 0;
    for (let at = 0; at < 2_000; at += 1) {
      if (limiter.take('a').allowed) allowed += 1;
      clock.timeMs += 1;
    }
    expect(allowed).toBe(30 - 1);
    for (let at = 0; at < 10; at += 1) limiter.take('b');
    expect(limiter.take('b').allowed).toBe(false);
    limiter.take('c');
    limiter.take('d');
    expect(limiter.take('b').allowed).toBe(true);
  });

  it.each([
    ['10.1.2.3', '10.1.2.3'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
  ])('knows %s as %s', (address, key) => {
    expect(addressKey(address)).toBe(key);
  });
});
