/** Files of models in a program's home, each under its digest: there whole or not at all. */
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { QflError } from '../errors.ts';
import { isMissing, writeWholeFile } from '../whole-file.ts';

export const MODELS_FOLDER = 'models';
const SUFFIX = '.safetensors';

export interface ModelShelf {
  write(digest: string, file: Uint8Array): Promise<void>;
  read(digest: string): Readable;
  /** @throws QflError `not_found` */
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
  return {
    write: async (digest, file) => void (await writeWholeFile(pathOf(digest), file)),
    read: (digest) => createReadStream(pathOf(digest)),
    async whole(digest) {
      try {
        return await readFile(pathOf(digest));
      } catch (cause) {
        if (!isMissing(cause)) throw cause;
        throw new QflError('not_found', {
          detail: 'the file of this model is not here any more',
          next: 'Fetch it again: qfl agent model pull',
          cause,
        });
      }
    },
    async piece(digest, at, length) {
      const handle = await open(pathOf(digest));
      try {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, at);
        return buffer.subarray(0, bytesRead);
      } finally {
        await handle.close();
      }
    },
    remove: (digest) => rm(pathOf(digest), { force: true }),
  };
};
