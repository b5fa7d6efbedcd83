/** `qfl login|logout|whoami`: signing in at a coordinator as a person. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Command } from 'commander';
import { toBase64Url } from '../bytes.ts';
import { MINUTE_MS } from '../clock.ts';
import { QflError } from '../errors.ts';
import type { CoordinatorClient } from '../client/client.ts';
import type { Tokens } from '../wire/accounts.ts';
import { type TargetOptions, withTarget } from './connect.ts';
import { withCoordinator } from './coordinator.ts';
import { forgetLogin, keepLogin } from './login-file.ts';
import { note, printJson, run, say } from './output.ts';
import { readSecret } from './secret-input.ts';

const WAIT_MS = 5 * MINUTE_MS;

interface LoginOptions extends TargetOptions {
  readonly username?: string;
  readonly code?: string;
  readonly provider?: string;
  readonly browser: boolean;
}

const withPassword = async (
  { auth }: CoordinatorClient,
  username: string,
  password: string,
  code: string | undefined,
): Promise<Tokens> => {
  const ask = (given: string | undefined): Promise<Tokens> =>
    auth.login({ body: { username, password, ...(given === undefined ? {} : { code: given }) } });
  try {
    return await ask(code);
  } catch (error) {
    const needsCode = error instanceof QflError && error.facts?.['secondFactor'] === true;
    if (!needsCode || code !== undefined) throw error;
    return ask(await readSecret('Code of the second factor'));
  }
};

/** Opens a page in the user's browser; the address is printed anyway. */
const openBrowser = (url: string): void => {
  const [command, ...args] =
    process.platform === 'darwin'
      ? ['open']
      : process.platform === 'win32'
        ? ['cmd', '/c', 'start', '']
        : ['xdg-open'];
  const child = spawn(command ?? 'xdg-open', [...args, url], { stdio: 'ignore', detached: true });
  child.on('error', () => undefined);
  child.unref();
};

const PAGE =
  '<!doctype html><meta charset="utf-8"><title>qfl</title><p>You are signed in. This page can be closed.</p>';

/** The code that the coordinator hands over by way of the browser. */
const handedCode = (server: Server): Promise<string> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new QflError('timeout', { detail: 'nobody signed in within five minutes' })),
      WAIT_MS,
    );
    server.on('request', (request, response) => {
      const code = new URL(request.url ?? '/', 'http://127.0.0.1').searchParams.get('code');
      response.writeHead(code === null ? 404 : 200, { 'content-type': 'text/html', connection: 'close' });
      response.end(code === null ? '' : PAGE);
      if (code === null) return;
      clearTimeout(timer);
      resolve(code);
    });
  });

const withProvider = async (
  { auth }: CoordinatorClient,
  url: string,
  provider: string,
  browser: boolean,
): Promise<Tokens> => {
  const verifier = toBase64Url(randomBytes(32));
  const challenge = createHash('sha256').update(verifier).digest('base64url');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const start = `${url}/v1/auth/providers/${encodeURIComponent(provider)}/start?handoff=${port}&challenge=${challenge}`;
    note(`Sign in with your browser:\n\n  ${start}\n`);
    const code = handedCode(server);
    if (browser) openBrowser(start);
    return await auth.exchange({ body: { code: await code, verifier } });
  } finally {
    server.close();
    server.closeAllConnections();
  }
};

const login = (options: LoginOptions): Promise<void> =>
  withCoordinator(
    options,
    async (coordinator, url) => {
      const { username, provider, code } = options;
      if (provider === undefined && username === undefined)
        throw new QflError('invalid_request', {
          detail: 'whose sign-in is it?',
          next: 'Give --username NAME, or --provider NAME for an identity provider.',
        });
      const tokens =
        provider === undefined
          ? await withPassword(coordinator, username ?? '', await readSecret('Password'), code)
          : await withProvider(coordinator, url, provider, options.browser);
      await keepLogin(url, tokens);
      if (options.json === true) {
        const { session, accessExpiresMs, refreshExpiresMs, restricted, mustChangePassword } = tokens;
        return printJson({ url, session, accessExpiresMs, refreshExpiresMs, restricted, mustChangePassword });
      }
      say(`Signed in at ${url} until ${new Date(tokens.refreshExpiresMs).toISOString()}.`);
      if (tokens.mustChangePassword)
        say('The password was for one time: set your own with "qfl account password".');
      else if (tokens.restricted) say('Your role needs a second factor: set it up with "qfl account totp".');
    },
    'nobody',
  );

const logout = (options: TargetOptions): Promise<void> =>
  withCoordinator(
    options,
    async ({ auth }, url) => {
      try {
        await auth.logout();
      } finally {
        await forgetLogin(url);
      }
      if (options.json === true) return printJson({ url, signedOut: true });
      say(`Signed out at ${url}.`);
    },
    'person',
  );

const whoami = (options: TargetOptions): Promise<void> =>
  withCoordinator(options, async ({ auth }) => {
    const me = await auth.me();
    if (options.json === true) return printJson(me);
    say(
      `${me.name} (${me.kind} ${me.id}), role ${me.role}, department ${me.department}, data up to ${me.dataClass}`,
    );
    if (me.restricted) say('Limited until the second factor, or the password, is set.');
  });

export const registerLogin = (program: Command): void => {
  withTarget(program.command('login').description('sign in at a coordinator as a person'), 'coordinator')
    .option('--username <NAME>', 'your account; the password is asked for, or read from standard input')
    .option('--code <CODE>', 'code of your second factor, or a recovery code')
    .option('--provider <NAME>', 'sign in through this identity provider, with the browser')
    .option('--no-browser', 'print the address of the provider and open nothing')
    .action((options: LoginOptions) => run(() => login(options), options.json ?? false));
  withTarget(program.command('logout').description('end this sign-in'), 'coordinator').action(
    (options: TargetOptions) => run(() => logout(options), options.json ?? false),
  );
  withTarget(
    program.command('whoami').description('who the coordinator takes you for'),
    'coordinator',
  ).action((options: TargetOptions) => run(() => whoami(options), options.json ?? false));
};
