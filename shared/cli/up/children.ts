/** The separate processes of a federation on this machine: each is the `qfl` command itself, its output goes to a file. */
import { type ChildProcess, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { once } from 'node:events';
import { QflError } from '../../errors.ts';

const MAIN = fileURLToPath(new URL('../main.js', import.meta.url));
const STOP_DEADLINE_MS = 20_000;

const node = (args: readonly string[]): string[] => ['--enable-source-maps', MAIN, ...args];

/** Runs one command to its end and returns its output. @throws QflError with what it printed */
export const qfl = async (args: readonly string[]): Promise<string> => {
  const child = spawn(process.execPath, node(args), { stdio: ['ignore', 'pipe', 'pipe'] });
  const parts: Record<'out' | 'err', string> = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (parts.out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (parts.err += text));
  const [code]: unknown[] = await once(child, 'close');
  if (code === 0) return parts.out;
  throw new QflError('internal', {
    detail: `"qfl ${args.slice(0, 2).join(' ')}" failed: ${(parts.err || parts.out).trim()}`,
  });
};

export interface Service {
  readonly name: string;
  readonly pid: number;
  /** The JSON it printed once it was ready. */
  readonly ready: unknown;
  /** Resolves when the process is gone. */
  readonly gone: Promise<void>;
  /** Asks it to stop and waits; kills it when it does not. */
  stop(): Promise<void>;
}

/** The first complete JSON value of a stream of lines that `accept` takes. */
const readReady = async (child: ChildProcess, accept: (value: unknown) => boolean): Promise<unknown> => {
  let text = '';
  if (child.stdout === null) return undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    text += line;
    if (line !== '}') continue;
    const value: unknown = JSON.parse(text);
    text = '';
    if (accept(value)) return value;
  }
  return undefined;
};

const isReady = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'pid' in value && 'url' in value;

/** Starts a service and waits until it says that it is ready. @throws QflError when it ends before */
export const startService = async (
  name: string,
  args: readonly string[],
  logFile: string,
): Promise<Service> => {
  const log = openSync(logFile, 'a', 0o600);
  // A process group of its own: Ctrl-C reaches `qfl up` alone, which then stops them in order. The pipe ends them should it be killed.
  const child = spawn(process.execPath, node(args), {
    stdio: ['pipe', 'pipe', log],
    detached: true,
    env: { ...process.env, QFL_STOP_WITH_STDIN: '1' },
  });
  child.stdin?.on('error', () => undefined);
  const gone = once(child, 'close').then(() => undefined);
  const ready = await Promise.race([readReady(child, isReady), gone]);
  if (ready === undefined || child.pid === undefined)
    throw new QflError('internal', { detail: `${name} did not start`, next: `See ${logFile}.` });
  child.stdout?.resume();
  return {
    name,
    pid: child.pid,
    ready,
    gone,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
      await gone;
      clearTimeout(timer);
    },
  };
};
