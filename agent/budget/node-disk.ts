/** The ledger's folder on a real disk. */
import { type FileHandle, mkdir, open, rm, statfs } from 'node:fs/promises';
import path from 'node:path';
import { openLevelStore } from '../../shared/store/level.ts';
import { moveFile, syncFolder } from '../../shared/whole-file.ts';
import type { DurableFile, LedgerFolder } from './disk.ts';

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const LOCK_NAME = 'ledger.lock';

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;

const writeAll = async (handle: FileHandle, bytes: Uint8Array, offset: number): Promise<void> => {
  let done = 0;
  while (done < bytes.byteLength) {
    // A nearly full disk may take a part of a write without an error.
    const { bytesWritten } = await handle.write(bytes, done, bytes.byteLength - done, offset + done);
    if (bytesWritten === 0) throw new Error('the disk took no more bytes');
    done += bytesWritten;
  }
};

const readUpTo = async (handle: FileHandle, offset: number, length: number): Promise<Uint8Array> => {
  const bytes = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
};

const durableFile = (handle: FileHandle): DurableFile => ({
  write: (bytes, offset) => writeAll(handle, bytes, offset),
  // fdatasync also makes a changed length durable; only times are left out.
  sync: () => handle.datasync(),
  read: (offset, length) => readUpTo(handle, offset, length),
  size: async () => (await handle.stat()).size,
  truncate: (size) => handle.truncate(size),
  close: () => handle.close(),
});

/** Opens `folder` (made if absent, readable by its owner only) as a ledger's place. */
export const nodeLedgerFolder = async (folder: string): Promise<LedgerFolder> => {
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
  const at = (name: string): string => path.join(folder, name);
  return {
    async lock() {
      // Node has no flock. LevelDB holds a lock of the operating system on its folder, which ends with the process.
      const held = await openLevelStore(at(LOCK_NAME));
      return () => held.close();
    },
    async open(name) {
      try {
        return durableFile(await open(at(name), 'r+'));
      } catch (cause) {
        if (hasCode(cause, 'ENOENT')) return undefined;
        throw cause;
      }
    },
    async create(name) {
      const handle = await open(at(name), 'wx+', FILE_MODE);
      await syncFolder(folder);
      return durableFile(handle);
    },
    async rename(from, to) {
      await moveFile(at(from), at(to));
    },
    async remove(name) {
      await rm(at(name), { force: true });
      await syncFolder(folder);
    },
    async freeBytes() {
      const { bavail, bsize } = await statfs(folder);
      return bavail * bsize;
    },
  };
};
