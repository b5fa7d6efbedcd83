/** How a command finds the program it talks to: named by options or environment, or running on this machine in a home folder. */
import type { Command } from 'commander';
import { QflError } from '../errors.ts';
import { readControlFile } from '../http/control.ts';
import { createHttpClient, type HttpClient } from '../http/client.ts';

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
  readonly key: string | undefined;
  readonly pin: string | null | undefined;
}

/** `--home` means the program of that folder; without it the environment may name one, and then the default folder. */
const targetOf = async (options: TargetOptions, home: string, needsUserKey: boolean): Promise<Target> => {
  const env = options.home === undefined ? process.env : {};
  const control = await readControlFile(home);
  const url = options.url ?? (env['QFL_URL'] || undefined) ?? control?.url;
  const key = options.key ?? (env['QFL_API_KEY'] || undefined);
  // The control key belongs to the program that wrote it, and asks no questions about patients.
  const own = !needsUserKey && control?.url === url ? control?.key : undefined;
  return {
    url,
    key: key ?? own,
    pin: options.pin ?? env['QFL_PIN'] ?? (control?.url === url ? control?.tlsFingerprint : undefined),
  };
};

/**
 * A client for what the options name. Without a key, the control file of a home folder is used, which needs to be on the same machine.
 * @throws QflError `not_connected` when nothing is named or runs there, `unauthenticated` without a key
 */
export const connect = async (
  options: TargetOptions,
  program: 'coordinator' | 'agent',
  needsUserKey = false,
): Promise<HttpClient> => {
  const home =
    options.home ?? process.env['QFL_HOME'] ?? (program === 'coordinator' ? COORDINATOR_HOME : AGENT_HOME);
  const { url, key, pin } = await targetOf(options, home, needsUserKey);
  if (url === undefined) {
    throw new QflError('not_connected', {
      detail: `no ${program} is running from ${home}`,
      next: `Start it with "qfl ${program} start --home ${home}", or name another one with --url and --key.`,
    });
  }
  if (key === undefined) {
    throw new QflError('unauthenticated', {
      detail: 'no API key was given',
      next: 'Give --key or set QFL_API_KEY; "qfl agent key create" makes one.',
    });
  }
  return createHttpClient({
    baseUrl: url,
    apiKey: key,
    pinnedFingerprint: pin ?? undefined,
    caFile: options.ca,
    env: process.env,
    timeoutMs: TIMEOUT_MS,
  });
};

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
