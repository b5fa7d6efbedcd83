/** Where `qfl login` keeps its tokens: one private file of the user, an entry per coordinator. An access token is renewed when it is about to end. */
import { mkdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { utf8 } from '../bytes.ts';
import { MINUTE_MS } from '../clock.ts';
import { QflError } from '../errors.ts';
import type { HttpClient } from '../http/client.ts';
import { writeWholeFile } from '../whole-file.ts';
import { Tokens } from '../wire/accounts.ts';

const LoginFile = z.record(z.string(), Tokens);
type LoginFile = z.infer<typeof LoginFile>;

/** Renewed so long before its end that a command that runs a while does not lose it. */
const RENEW_BEFORE_MS = 2 * MINUTE_MS;

export const loginFilePath = (env: Readonly<Record<string, string | undefined>> = process.env): string =>
  env['QFL_LOGIN_FILE'] || join(env['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'qfl', 'login.json');

const read = async (): Promise<LoginFile> => {
  try {
    return LoginFile.parse(JSON.parse(await readFile(loginFilePath(), 'utf8')));
  } catch {
    return {};
  }
};

const write = async (file: LoginFile): Promise<void> => {
  await mkdir(dirname(loginFilePath()), { recursive: true, mode: 0o700 });
  await writeWholeFile(loginFilePath(), utf8(`${JSON.stringify(file, null, 2)}\n`));
};

export const keepLogin = async (url: string, tokens: Tokens): Promise<void> =>
  write({ ...(await read()), [url]: tokens });

export const forgetLogin = async (url: string): Promise<void> => {
  const { [url]: _gone, ...rest } = await read();
  await write(rest);
};

/**
 * The access token of a sign-in at `url`, renewed where needed; undefined when there is none.
 * @param open a client without a key, to renew with
 */
export const loginToken = async (
  url: string,
  open: () => Promise<HttpClient>,
): Promise<string | undefined> => {
  const tokens = (await read())[url];
  if (tokens === undefined) return undefined;
  if (Date.now() < tokens.accessExpiresMs - RENEW_BEFORE_MS) return tokens.accessToken;
  const client = await open();
  try {
    const next = await client.json('POST', '/v1/auth/refresh', Tokens, {
      body: { refreshToken: tokens.refreshToken },
    });
    await keepLogin(url, next);
    return next.accessToken;
  } catch (error) {
    if (!(error instanceof QflError && error.code === 'unauthenticated')) throw error;
    await forgetLogin(url);
    throw new QflError('unauthenticated', {
      detail: 'the sign-in is over',
      next: `Run: qfl login --url ${url}`,
    });
  } finally {
    await client.close();
  }
};
