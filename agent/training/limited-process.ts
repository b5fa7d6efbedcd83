/** A program of the site's own choice, run under limits: time, memory, size of files, no environment. A limit, not a jail: it is the site's own program. */
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { abortedBy, QflError } from '../../shared/errors.ts';
import { createOutputTail } from './output-tail.ts';

export interface ProcessLimits {
  readonly timeMs: number;
  /** Of address space; null: as much as the machine gives. */
  readonly memoryBytes: number | null;
  /** Of each file that it writes. */
  readonly fileBytes: number;
}

export interface LimitedRun {
  /** First an absolute path; its arguments after it. */
  readonly command: readonly string[];
  /** Where it works, and all that it knows as its home. */
  readonly folder: string;
  readonly limits: ProcessLimits;
  readonly signal: AbortSignal;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** True where its time was over. */
  readonly isLate: boolean;
  /** The end of what it printed, without digits. */
  readonly tail: string;
}

/** Between asking it to end and ending it. */
const GRACE_MS = 2_000;
/** For the rest of what it printed, once it is over. */
const DRAIN_MS = 500;
const BLOCK_BYTES = 512;
/**
 * POSIX sh: no core files, which would hold what the program read; then its limits, then the program itself in the same process.
 * The limit of processor time is for a program whose agent was killed and that nobody ends: as much as all processors can give in its time.
 */
const WRAPPER = [
  'ulimit -c 0 || exit 126',
  'ulimit -f "$1" || exit 126',
  '[ "$2" = 0 ] || ulimit -v "$2" || exit 126',
  'ulimit -t "$3" || exit 126',
  'shift 3',
  'exec "$@"',
].join('\n');

const environmentOf = (folder: string): Record<string, string> => ({
  PATH: '/usr/local/bin:/usr/bin:/bin',
  HOME: folder,
  TMPDIR: folder,
  LANG: 'C.UTF-8',
});

const start = ({ command, folder, limits }: LimitedRun): ChildProcess => {
  const fileBlocks = Math.ceil(limits.fileBytes / BLOCK_BYTES);
  const memoryKib = limits.memoryBytes === null ? 0 : Math.floor(limits.memoryBytes / 1_024);
  const cpuSeconds = Math.ceil(limits.timeMs / 1_000) * availableParallelism();
  const numbers = [fileBlocks, memoryKib, cpuSeconds].map(String);
  return spawn('/bin/sh', ['-c', WRAPPER, 'sh', ...numbers, ...command], {
    cwd: folder,
    env: environmentOf(folder),
    // A group of its own: whatever it starts ends with it.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
};

/** To the whole group; nothing where it is gone. */
const signalGroup = ({ pid }: ChildProcess, signal: NodeJS.Signals): void => {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
};

type Exit = Pick<Ended, 'code' | 'signal'>;

const exitOf = (child: ChildProcess): Promise<Exit> =>
  new Promise((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new QflError('trainer_failed', { detail: 'the program could not be started', cause })),
    );
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });

/** Asks it to end, and ends it when it does not. */
const endGroup = async (child: ChildProcess, exit: Promise<Exit>): Promise<Exit> => {
  signalGroup(child, 'SIGTERM');
  const isOver = await Promise.race([exit.then(() => true), delay(GRACE_MS, false)]);
  if (!isOver) signalGroup(child, 'SIGKILL');
  return exit;
};

/**
 * Runs the program to its end, or ends it and all it started when its time is over or the signal comes.
 * @throws QflError what the signal was aborted with; `trainer_failed` where it cannot be started
 */
export const runLimited = async (run: LimitedRun): Promise<Ended> => {
  const { limits, signal } = run;
  if (signal.aborted) throw abortedBy(signal);
  const tail = createOutputTail();
  const child = start(run);
  const exit = exitOf(child);
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (piece: Uint8Array) => tail.add(piece));
  const timer = new AbortController();
  const stopped = AbortSignal.any([signal, timer.signal]);
  const late = setTimeout(() => timer.abort(), limits.timeMs);
  let ending: Promise<Exit> | undefined;
  const end = (): void => {
    ending = endGroup(child, exit);
    // It is awaited below; a fault before that is the same one as of `exit`.
    ending.catch(() => undefined);
  };
  stopped.addEventListener('abort', end, { once: true });
  try {
    const ended = await exit;
    if (ending !== undefined) await ending;
    // What it left behind in its group goes, and with it whoever holds its pipes; what is in them is still read.
    signalGroup(child, 'SIGKILL');
    await Promise.race([closed, delay(DRAIN_MS)]);
    if (signal.aborted) throw abortedBy(signal);
    return { ...ended, isLate: timer.signal.aborted, tail: tail.text() };
  } finally {
    clearTimeout(late);
    stopped.removeEventListener('abort', end);
    signalGroup(child, 'SIGKILL');
    child.stdout?.destroy();
    child.stderr?.destroy();
  }
};
