/** Files of models in a program's home, each under its digest: there whole or not at all. */
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { QflError } from '../errors.ts';
import { isMissing, writeWholeFile } from '../whole-file.ts';

export const MODELS_FOLDER = 'models';
const SUFFIX = '.safetensors';

export interface ModelShelf {
  write(digest: string, file: Uint8Array): Promise<void>;
  /** @throws QflError `not_found`, as the two that follow */
  read(digest: string): Promise<Readable>;
  whole(digest: string): Promise<Uint8Array>;
  /** At most `length` bytes from `at` on. */
  piece(digest: string, at: number, length: number): Promise<Uint8Array>;
  remove(digest: string): Promise<void>;
}

/** Opens the folder, and takes out what no version owns: what a crash left between a file and its record. */
export const openModelShelf = async (
  home: string,
  isOwned: (digest: string) => boolean,
): Promise<ModelShelf> => {
  const folder = join(home, MODELS_FOLDER);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const name of await readdir(folder))
    if (!name.endsWith(SUFFIX) || !isOwned(name.slice(0, -SUFFIX.length)))
      await rm(join(folder, name), { force: true });
  const pathOf = (digest: string): string => join(folder, digest + SUFFIX);
  const opened = (digest: string): Promise<FileHandle> =>
    open(pathOf(digest)).catch((cause: unknown) => {
      if (!isMissing(cause)) throw cause;
      throw new QflError('not_found', {
        detail: 'the file of this model is not here any more',
        next: 'At a hospital fetch it again: qfl agent model pull. At the coordinator it is in a backup, if anywhere.',
        cause,
      });
    });
  return {
    write: async (digest, file) => void (await writeWholeFile(pathOf(digest), file)),
    async whole(digest) {
      const handle = await opened(digest);
      try {
        return await handle.readFile();
      } finally {
        await handle.close();
      }
    },
    async piece(digest, at, length) {
      const handle = await opened(digest);
      try {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, at);
        return buffer.subarray(0, bytesRead);
      } finally {
        await handle.close();
      }
    },
    read: async (digest) => (await opened(digest)).createReadStream(),
    remove: (digest) => rm(pathOf(digest), { force: true }),
  };
};
