/** Files that are there whole, and on the disk, or not at all. */
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Did reading fail because there is no such file? */
export const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

/** A new or a removed name is on the disk once its folder is. */
export const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

export const moveFile = async (from: string, to: string): Promise<void> => {
  await rename(from, to);
  await syncFolder(dirname(to));
};

type Pieces = AsyncIterable<string | Uint8Array>;

const writeSynced = async (file: string, content: Uint8Array | Pieces): Promise<number> => {
  const handle = await open(file, 'w', 0o600);
  try {
    // One that was left by a crash kept the mode it had.
    await handle.chmod(0o600);
    for await (const piece of content instanceof Uint8Array ? [content] : content)
      await handle.writeFile(piece);
    await handle.sync();
    const { size } = await handle.stat();
    return size;
  } finally {
    await handle.close();
  }
};

/**
 * Writes a file that only its owner can read: beside its name first, fsync, rename, fsync of the folder. Whatever fails, what had the name
 * before stays, and nothing else is left.
 * @param check looks at what was written, under the path it is given, before it takes its name
 * @returns length in bytes
 */
export const writeWholeFile = async (
  file: string,
  content: Uint8Array | Pieces,
  check: (partial: string) => Promise<void> = () => Promise.resolve(),
): Promise<number> => {
  const partial = `${file}.partial`;
  try {
    const bytes = await writeSynced(partial, content);
    await check(partial);
    await moveFile(partial, file);
    return bytes;
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
};
