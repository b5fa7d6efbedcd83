/** How a command finds the program it talks to: named by options or environment, or running on this machine in a home folder. */
import type { Command } from 'commander';
import { QflError } from '../errors.ts';
import { readControlFile } from '../http/control.ts';
import { createHttpClient, type HttpClient } from '../http/client.ts';
import { loginToken } from './login-file.ts';

const TIMEOUT_MS = 130_000;

export interface TargetOptions {
  readonly url?: string;
  readonly key?: string;
  readonly pin?: string;
  readonly ca?: string;
  readonly home?: string;
  readonly json?: boolean;
}

export const COORDINATOR_HOME = './coordinator-home';
export const AGENT_HOME = './agent-home';

/** Adds the options that name a program. */
export const withTarget = (command: Command, program: 'coordinator' | 'agent'): Command =>
  command
    .option('--url <URL>', `address of the ${program} (or QFL_URL)`)
    .option('--key <KEY>', 'API key (or QFL_API_KEY)')
    .option('--pin <HEX>', "SHA-256 fingerprint of the server's self-signed certificate (or QFL_PIN)")
    .option('--ca <FILE>', 'PEM file of a private certificate authority')
    .option(
      '--home <DIR>',
      `folder of ${program === 'agent' ? 'an agent' : 'a coordinator'} on this machine: uses the key its running program left there (or QFL_HOME)`,
    )
    .option('--json', 'print JSON');

interface Target {
  readonly url: string | undefined;
  /** Named by an option or the environment. */
  readonly key: string | undefined;
  /** Of the program that runs in the home folder. */
  readonly controlKey: string | undefined;
  readonly pin: string | null | undefined;
}

/** `--home` means the program of that folder; without it the environment may name one, and then the default folder. */
const targetOf = async (options: TargetOptions, home: string): Promise<Target> => {
  const env = options.home === undefined ? process.env : {};
  const control = await readControlFile(home);
  const url = options.url ?? (env['QFL_URL'] || undefined) ?? control?.url;
  const isOwn = control?.url === url;
  return {
    url: url?.replace(/\/$/, ''),
    key: options.key ?? (env['QFL_API_KEY'] || undefined),
    controlKey: isOwn ? control?.key : undefined,
    pin: options.pin ?? env['QFL_PIN'] ?? (isOwn ? control?.tlsFingerprint : undefined),
  };
};

/**
 * `user`: whoever asks about patients; the key of the machine does not. `person`: somebody who signed in, where the machine's own key would not be
 * one of two people. `nobody`: signing in itself.
 */
export type Caller = 'anyone' | 'user' | 'person' | 'nobody';

export interface Connected {
  readonly client: HttpClient;
  readonly url: string;
}

/**
 * A client for what the options name. Without a key, a sign-in at that address is used, and then the control file of a home folder, which needs to be
 * on the same machine.
 * @throws QflError `not_connected` when nothing is named or runs there, `unauthenticated` without a key
 */
export const connectTo = async (
  options: TargetOptions,
  program: 'coordinator' | 'agent',
  caller: Caller,
): Promise<Connected> => {
  const home =
    options.home ?? process.env['QFL_HOME'] ?? (program === 'coordinator' ? COORDINATOR_HOME : AGENT_HOME);
  const { url, key, controlKey, pin } = await targetOf(options, home);
  if (url === undefined) {
    throw new QflError('not_connected', {
      detail: `no ${program} is running from ${home}`,
      next: `Start it with "qfl ${program} start --home ${home}", or name another one with --url and --key.`,
    });
  }
  const open = (apiKey: string | undefined): HttpClient =>
    createHttpClient({
      baseUrl: url,
      apiKey,
      pinnedFingerprint: pin ?? undefined,
      caFile: options.ca,
      env: process.env,
      timeoutMs: TIMEOUT_MS,
    });
  if (caller === 'nobody') return { client: open(undefined), url };
  const signedIn =
    program === 'coordinator' && key === undefined
      ? await loginToken(url, () => Promise.resolve(open(undefined))).catch((error: unknown) => {
          // Over, or the coordinator is away: the key of this machine may do, where it may.
          if (caller === 'anyone' && controlKey !== undefined) return undefined;
          throw error;
        })
      : undefined;
  const chosen = key ?? signedIn ?? (caller === 'anyone' ? controlKey : undefined);
  if (chosen === undefined) throw noKey(program, caller, url);
  return { client: open(chosen), url };
};

const noKey = (program: 'coordinator' | 'agent', caller: Caller, url: string): QflError =>
  new QflError('unauthenticated', {
    detail: caller === 'person' ? 'this needs somebody who signed in' : 'no API key was given',
    next:
      program === 'agent'
        ? 'Give --key or set QFL_API_KEY; "qfl agent key create" makes one.'
        : `Sign in with "qfl login --url ${url}", or give --key.`,
  });

export const connect = async (
  options: TargetOptions,
  program: 'coordinator' | 'agent',
  caller: Caller = 'anyone',
): Promise<HttpClient> => (await connectTo(options, program, caller)).client;

export const withClient = async <T>(
  opening: Promise<HttpClient>,
  use: (client: HttpClient) => Promise<T>,
): Promise<T> => {
  const opened = await opening;
  try {
    return await use(opened);
  } finally {
    await opened.close();
  }
};
