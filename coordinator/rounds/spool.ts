/**
 * Masked vectors on their way in: a file per site that grows chunk by chunk, each held against the hashes that the site sent before. Half an upload can be
 * dropped, or gone on with after a cut line or a crash; nothing of it says anything without the masks.
 */
import { mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { equalConstantTime } from '../../shared/bytes.ts';
import { HASH_BYTES } from '../../shared/crypto/hash.ts';
import { QflError } from '../../shared/errors.ts';
import type { RoundId, SiteId } from '../../shared/ids.ts';
import { CHUNK_BYTES, chunkCountOf, chunkHashOf } from '../../shared/rounds/messages.ts';
import { WORD_BYTES } from '../../shared/rounds/words.ts';
import { writeWholeFile } from '../../shared/whole-file.ts';

export interface Upload {
  readonly hashes: readonly Uint8Array[];
  /** Chunks that are here, from the first on. */
  readonly chunks: number;
}

export interface Spool {
  /** Begins or goes on: what is on the disk is held against the hashes. @throws QflError `conflict` for other hashes than before, `protocol` */
  begin(site: SiteId, hashes: Uint8Array): Promise<Upload>;
  /** Adds a chunk if it is the next one; another changes nothing. undefined before `begin`. @throws QflError `protocol`, `storage_failed` */
  add(site: SiteId, index: number, bytes: Uint8Array): Promise<Upload | undefined>;
  pathOf(site: SiteId): string;
  remove(): Promise<void>;
}

const refuse = (detail: string): QflError => new QflError('protocol', { detail });

const split = (bytes: Uint8Array): Uint8Array[] =>
  Array.from({ length: bytes.byteLength / HASH_BYTES }, (_, at) =>
    bytes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES),
  );

export const createSpool = (home: string, round: RoundId, words: number): Spool => {
  const folder = join(home, 'rounds', round);
  const count = chunkCountOf(words);
  const uploads = new Map<SiteId, Upload>();
  const pathOf = (site: SiteId): string => join(folder, `${site}.vector`);
  const hashesOf = (site: SiteId): string => join(folder, `${site}.hashes`);
  const lengthOf = (index: number): number => Math.min(CHUNK_BYTES, words * WORD_BYTES - index * CHUNK_BYTES);

  /** Whole chunks on the disk that are what they should be. */
  const checked = async (site: SiteId, hashes: readonly Uint8Array[]): Promise<number> => {
    const size = await stat(pathOf(site)).then(
      (found) => found.size,
      () => 0,
    );
    if (size === 0) return 0;
    const file = await open(pathOf(site));
    try {
      let chunks = 0;
      for (let at = 0; chunks < count && at + lengthOf(chunks) <= size; chunks += 1) {
        const length = lengthOf(chunks);
        const bytes = Buffer.alloc(length);
        await file.read(bytes, 0, length, at);
        if (!equalConstantTime(chunkHashOf(bytes), hashes[chunks]!)) break;
        at += length;
      }
      return chunks;
    } finally {
      await file.close();
    }
  };
  /** Chunks are appended: half a one, or what a crash made of it, must not stay before them. */
  const cutTo = async (site: SiteId, bytes: number): Promise<void> => {
    const file = await open(pathOf(site), 'a', 0o600);
    try {
      await file.truncate(bytes);
    } finally {
      await file.close();
    }
  };
  return {
    pathOf,
    async begin(site, bytes) {
      if (bytes.byteLength !== count * HASH_BYTES) throw refuse('not one hash a chunk');
      const known = await readFile(hashesOf(site)).catch(() => undefined);
      if (known !== undefined && !equalConstantTime(known, bytes))
        throw new QflError('conflict', { detail: 'this site began to send another vector in this round' });
      if (known === undefined) {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        await writeWholeFile(hashesOf(site), bytes);
      }
      const hashes = split(bytes);
      const chunks = uploads.get(site)?.chunks ?? (await checked(site, hashes));
      const upload = { hashes, chunks };
      await cutTo(site, Math.min(chunks * CHUNK_BYTES, words * WORD_BYTES));
      uploads.set(site, upload);
      return upload;
    },
    async add(site, index, bytes) {
      const upload = uploads.get(site);
      if (upload === undefined || index !== upload.chunks) return upload;
      if (
        bytes.byteLength !== lengthOf(index) ||
        !equalConstantTime(chunkHashOf(bytes), upload.hashes[index]!)
      )
        throw refuse('a chunk that is not what its hash says');
      const file = await open(pathOf(site), 'a', 0o600);
      try {
        // Whole or an error: a bare `write` may take a part of it on a disk that is nearly full.
        await file.appendFile(bytes);
        // What is acknowledged may be lost in a crash of the machine: the site keeps it until its receipt, and is asked again.
        if (index + 1 === count) await file.sync();
      } catch (cause) {
        // What lies there now is looked at again before the site goes on.
        uploads.delete(site);
        throw new QflError('storage_failed', { detail: 'a masked vector could not be written', cause });
      } finally {
        await file.close();
      }
      const next = { ...upload, chunks: index + 1 };
      uploads.set(site, next);
      return next;
    },
    async remove() {
      uploads.clear();
      await rm(folder, { recursive: true, force: true });
    },
  };
};
