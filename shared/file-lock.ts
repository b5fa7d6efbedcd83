/** One process after another, by a file that only one can make. For what several commands of one user do to one file. */
import { link, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { SECOND_MS } from './clock.ts';
import { QflError } from './errors.ts';
import { randomHex, secureRandomBytes } from './random.ts';

/** Older ones were left by somebody who is gone: whoever holds one is done sooner. */
export const LOCK_LIFE_MS = 30 * SECOND_MS;
const LOOK_AGAIN_MS = 50;

const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
/** @returns undefined when the file is not there */
const orGone = async <T>(action: Promise<T>): Promise<T | undefined> => {
  try {
    return await action;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
};

/** @returns false when somebody else has it */
const take = async (file: string, owner: string): Promise<boolean> => {
  try {
    const handle = await open(file, 'wx', 0o600);
    try {
      await handle.writeFile(owner);
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
};

const isDead = (owner: string): boolean => {
  const [, pid, host] = /^(\d+)@(\S+) /.exec(owner) ?? [];
  if (pid === undefined || host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return codeOf(error) === 'ESRCH';
  }
};

/** Takes a lock away whose owner is gone. It is moved first: of two who do so at one moment only one moves it, and who moved a newer one puts it back. */
const breakStale = async (file: string, own: string): Promise<void> => {
  // In this order: an age that is read later is never older than the owner's.
  const owner = await orGone(readFile(file, 'utf8'));
  const seen = await orGone(stat(file));
  if (seen === undefined || owner === undefined) return;
  if (Date.now() - seen.mtimeMs < LOCK_LIFE_MS && !isDead(owner)) return;
  const aside = `${file}.${own.split(' ')[1] ?? ''}`;
  if ((await orGone(rename(file, aside).then(() => true))) === undefined) return;
  const moved = await readFile(aside, 'utf8');
  if (moved !== owner) await link(aside, file).catch(() => undefined);
  await rm(aside, { force: true });
};

/**
 * @param file made and removed; its folder has to be there
 * @throws QflError `timeout` when others have it for too long, and what `action` throws
 */
export const withFileLock = async <T>(file: string, action: () => Promise<T>): Promise<T> => {
  const owner = `${process.pid}@${hostname()} ${randomHex(secureRandomBytes, 8)}`;
  const untilMs = Date.now() + 2 * LOCK_LIFE_MS;
  while (!(await take(file, owner))) {
    await breakStale(file, owner);
    if (Date.now() > untilMs)
      throw new QflError('timeout', {
        detail: `another command holds ${file}`,
        next: 'Wait for it, or remove the file when there is none.',
      });
    await delay(LOOK_AGAIN_MS);
  }
  try {
    return await action();
  } finally {
    // One that was taken away for its age is somebody else's now.
    if ((await orGone(readFile(file, 'utf8'))) === owner) await rm(file, { force: true });
  }
};
