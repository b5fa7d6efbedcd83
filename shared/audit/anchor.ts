/**
 * The last checkpoint, kept outside the store. LevelDB opens without an error after its log file was cut, flipped or removed;
 * what it has forgotten then shows only against something it does not hold.
 */
import { readFile } from 'node:fs/promises';
import { QflError } from '../errors.ts';
import { isMissing, writeWholeFile } from '../whole-file.ts';

export interface CheckpointAnchor {
  /** The last note written, or undefined when there never was one. */
  read(): Promise<Uint8Array | undefined>;
  /** Durable when it returns; the old note or the new one survives any crash. */
  write(note: Uint8Array): Promise<void>;
}

const failed = (file: string, cause: unknown): QflError =>
  new QflError('storage_failed', { detail: `the checkpoint file ${file} could not be used`, cause });

/** One file, replaced by rename after fsync. */
export const fileAnchor = (file: string): CheckpointAnchor => ({
  async read() {
    try {
      return await readFile(file);
    } catch (cause) {
      if (isMissing(cause)) return undefined;
      throw failed(file, cause);
    }
  },
  async write(note) {
    try {
      await writeWholeFile(file, note);
    } catch (cause) {
      throw failed(file, cause);
    }
  },
});
