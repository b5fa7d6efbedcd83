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
      `folder of a ${program} on this machine: uses the key its running program left there (or QFL_HOME)`,
    )
    .option('--json', 'print JSON');

const client = (
  baseUrl: string,
  apiKey: string | undefined,
  pin: string | null | undefined,
  ca: string | undefined,
): HttpClient =>
  createHttpClient({
    baseUrl,
    apiKey,
    pinnedFingerprint: pin ?? undefined,
    caFile: ca,
    env: process.env,
    timeoutMs: TIMEOUT_MS,
  });

/**
 * A client for what the options name. Without a key, the control file of a home folder is used, which needs to be on the same machine.
 * @throws QflError `invalid_request` when nothing is named, `not_connected` when nothing runs there
 */
export const connect = async (
  options: TargetOptions,
  program: 'coordinator' | 'agent',
  needsUserKey = false,
): Promise<HttpClient> => {
  const env = process.env;
  const key = options.key ?? env['QFL_API_KEY'];
  const home = options.home ?? env['QFL_HOME'] ?? (program === 'coordinator' ? COORDINATOR_HOME : AGENT_HOME);
  const control = await readControlFile(home);
  const url = options.url ?? env['QFL_URL'] ?? control?.url;
  const pin = options.pin ?? env['QFL_PIN'] ?? control?.tlsFingerprint;
  if (url === undefined) {
    throw new QflError('not_connected', {
      detail: `no ${program} is running from ${home}`,
      next: `Start it with "qfl ${program} start --home ${home}", or name another one with --url and --key.`,
    });
  }
  if (key !== undefined) return client(url, key, pin, options.ca);
  if (needsUserKey || control === undefined || control.url !== url) {
    throw new QflError('unauthenticated', {
      detail: 'no API key was given',
      next: 'Give --key or set QFL_API_KEY; "qfl agent key create" makes one.',
    });
  }
  return client(url, control.key, pin, options.ca);
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
