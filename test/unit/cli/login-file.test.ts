import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { forgetLogin, keepLogin, loginToken } from '../../../shared/cli/login-file.ts';
import { QflError } from '../../../shared/errors.ts';
import { LOCK_LIFE_MS, withFileLock } from '../../../shared/file-lock.ts';
import type { HttpClient } from '../../../shared/http/client.ts';
import type { SessionId } from '../../../shared/ids.ts';
import type { Tokens } from '../../../shared/wire/accounts.ts';

const URL_HERE = 'http://127.0.0.1:9';
let folder = '';
let file = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfl-login-'));
  file = join(folder, 'login.json');
  vi.stubEnv('QFL_LOGIN_FILE', file);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const tokensOf = (generation: number, accessLifeMs: number): Tokens => ({
  tokenType: 'Bearer',
  accessToken: `access-${generation}`,
  accessExpiresMs: Date.now() + accessLifeMs,
  refreshToken: `refresh-${generation}`,
  refreshExpiresMs: Date.now() + 3_600_000,
  session: '0'.repeat(32) as SessionId,
  restricted: false,
  mustChangePassword: false,
});

/** As the coordinator: each refresh token once; one that comes again ends the session. */
const startServer = () => {
  let [generation, isOver, refreshes] = [0, false, 0];
  const json = async (_method: string, _path: string, _schema: unknown, options?: { body?: unknown }) => {
    refreshes += 1;
    const body = options?.body as { refreshToken: string } | undefined;
    if (body?.refreshToken !== `refresh-${generation}`) isOver = true;
    if (isOver) throw new QflError('unauthenticated');
    generation += 1;
    const next = tokensOf(generation, 3_600_000);
    await delay(20);
    return next;
  };
  const open = () => Promise.resolve({ json, close: () => Promise.resolve() } as unknown as HttpClient);
  return { open, refreshes: () => refreshes };
};

describe('the sign-in of a command line', () => {
  it('is renewed by one of many commands at one moment, and none ends the session', async () => {
    const { open, refreshes } = startServer();
    await keepLogin(URL_HERE, tokensOf(0, 1_000));
    const tokens = await Promise.all(Array.from({ length: 8 }, () => loginToken(URL_HERE, open)));
    expect(new Set(tokens)).toEqual(new Set(['access-1']));
    expect(refreshes()).toBe(1);
    expect(readdirSync(folder)).toEqual(['login.json']);
  });

  it('does not cost another one that is kept at the same moment', async () => {
    const urls = Array.from({ length: 8 }, (_, at) => `${URL_HERE}${at}`);
    await Promise.all(urls.map((url) => keepLogin(url, tokensOf(0, 3_600_000))));
    const { open } = startServer();
    for (const url of urls) expect(await loginToken(url, open)).toBe('access-0');
    await forgetLogin(urls[0] ?? '');
    expect(await loginToken(urls[0] ?? '', open)).toBeUndefined();
    expect(await loginToken(urls[1] ?? '', open)).toBe('access-0');
  });
});

describe('a lock', () => {
  const lock = (): string => join(folder, 'x.lock');

  it('lets one in at a time, and goes when its holder fails', async () => {
    let [inside, most] = [0, 0];
    const enter = (at: number) =>
      withFileLock(lock(), async () => {
        inside += 1;
        most = Math.max(most, inside);
        await delay(5);
        inside -= 1;
        if (at % 2 === 0) throw new Error('it failed');
      }).catch(() => undefined);
    await Promise.all(Array.from({ length: 6 }, (_, at) => enter(at)));
    expect(most).toBe(1);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('of a process that is gone, or of long ago, is taken over by one', async () => {
    const leave = (ageMs: number, owner: string): void => {
      writeFileSync(lock(), owner);
      const then = (Date.now() - ageMs) / 1000;
      utimesSync(lock(), then, then);
    };
    for (const left of [
      () => leave(0, `999999999@${hostname()} abc`),
      () => leave(LOCK_LIFE_MS + 1, '1@elsewhere abc'),
    ]) {
      left();
      let [inside, most] = [0, 0];
      const enter = () =>
        withFileLock(lock(), async () => {
          inside += 1;
          most = Math.max(most, inside);
          await delay(5);
          inside -= 1;
        });
      await Promise.all([enter(), enter(), enter()]);
      expect(most).toBe(1);
      expect(readdirSync(folder)).toEqual([]);
    }
  });
});
