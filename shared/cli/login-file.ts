/** Where `qfl login` keeps its tokens: one private file of the user, an entry per coordinator. An access token is renewed when it is about to end. */
import { mkdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { utf8 } from '../bytes.ts';
import { MINUTE_MS } from '../clock.ts';
import { QflError } from '../errors.ts';
import { LOCK_LIFE_MS, withFileLock } from '../file-lock.ts';
import type { HttpClient } from '../http/client.ts';
import { writeWholeFile } from '../whole-file.ts';
import { Tokens } from '../wire/accounts.ts';

const LoginFile = z.record(z.string(), Tokens);
type LoginFile = z.infer<typeof LoginFile>;

/** Renewed so long before its end that a command that runs a while does not lose it. */
const RENEW_BEFORE_MS = 2 * MINUTE_MS;
/** Shorter than a lock lives: nobody else begins to renew meanwhile. */
const RENEWAL_MS = LOCK_LIFE_MS / 2;

export const loginFilePath = (env: Readonly<Record<string, string | undefined>> = process.env): string =>
  env['QFL_LOGIN_FILE'] || join(env['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'qfl', 'login.json');

const read = async (): Promise<LoginFile> => {
  try {
    return LoginFile.parse(JSON.parse(await readFile(loginFilePath(), 'utf8')));
  } catch {
    return {};
  }
};

const write = (file: LoginFile): Promise<unknown> =>
  writeWholeFile(loginFilePath(), utf8(`${JSON.stringify(file, null, 2)}\n`));

/** One command after another: each reads what the one before wrote, and loses no entry of another coordinator. */
const alone = async <T>(action: () => Promise<T>): Promise<T> => {
  const path = loginFilePath();
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  return withFileLock(`${path}.lock`, action);
};

const put = async (url: string, tokens: Tokens | undefined): Promise<void> => {
  const { [url]: _before, ...rest } = await read();
  await write(tokens === undefined ? rest : { ...rest, [url]: tokens });
};

export const keepLogin = (url: string, tokens: Tokens): Promise<void> => alone(() => put(url, tokens));

export const forgetLogin = (url: string): Promise<void> => alone(() => put(url, undefined));

const isFresh = ({ accessExpiresMs }: Tokens): boolean => Date.now() < accessExpiresMs - RENEW_BEFORE_MS;

/** @throws QflError `unauthenticated` when the sign-in is over; then it is forgotten */
const renew = async (url: string, refreshToken: string, open: () => Promise<HttpClient>): Promise<Tokens> => {
  const client = await open();
  try {
    const next = await client.json('POST', '/v1/auth/refresh', Tokens, {
      body: { refreshToken },
      signal: AbortSignal.timeout(RENEWAL_MS),
    });
    await put(url, next);
    return next;
  } catch (error) {
    if (!(error instanceof QflError && error.code === 'unauthenticated')) throw error;
    await put(url, undefined);
    throw new QflError('unauthenticated', {
      detail: 'the sign-in is over',
      next: `Run: qfl login --url ${url}`,
    });
  } finally {
    await client.close();
  }
};

/**
 * The access token of a sign-in at `url`, renewed where needed; undefined when there is none. A refresh token works once, and one that is shown again ends
 * the session: of two commands at one moment one renews, and the other reads what it got.
 * @param open a client without a key, to renew with
 */
export const loginToken = async (
  url: string,
  open: () => Promise<HttpClient>,
): Promise<string | undefined> => {
  const before = (await read())[url];
  if (before === undefined || isFresh(before)) return before?.accessToken;
  return alone(async () => {
    const now = (await read())[url];
    if (now === undefined || isFresh(now)) return now?.accessToken;
    return (await renew(url, now.refreshToken, open)).accessToken;
  });
};
