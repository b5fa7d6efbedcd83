/** Reads a backup back: every piece is opened and in its place, and it is whole, before anything counts. */
import { createReadStream } from 'node:fs';
import { chmod, mkdir, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fromUtf8 } from '../bytes.ts';
import { openPullStream, STREAM_HEADER_BYTES } from '../crypto/secretstream.ts';
import { QflError } from '../errors.ts';
import { openDataKey } from '../keys/master.ts';
import type { RandomBytes } from '../random.ts';
import { encryptedStore } from '../store/encrypted.ts';
import { openLevelStore } from '../store/level.ts';
import type { Store } from '../store/port.ts';
import {
  BACKUP_MAGIC,
  type BackupEnd,
  type BackupHead,
  type BackupPart,
  backupKey,
  damagedBackup,
  decodePart,
  PIECE_BYTES_MAX,
} from './format.ts';

/** Takes so many bytes at a time off a stream of pieces of any length. */
const createTaker = (bytes: AsyncIterable<Uint8Array>) => {
  const source = bytes[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);
  return {
    /** Undefined at the very end; @throws QflError when it ends in the middle */
    async take(count: number): Promise<Uint8Array | undefined> {
      const pieces: Uint8Array[] = [held];
      let there = held.byteLength;
      while (there < count) {
        const next = await source.next();
        if (next.done === true) {
          if (there === 0) return undefined;
          throw damagedBackup('it ends in the middle');
        }
        pieces.push(next.value);
        there += next.value.byteLength;
      }
      const all = Buffer.concat(pieces);
      held = all.subarray(count);
      return all.subarray(0, count);
    },
  };
};

/** The parts in order; ends only after the last one, which is sealed as the last. @throws QflError `storage_failed` */
export async function* readBackup(
  bytes: AsyncIterable<Uint8Array>,
  masterKey: Uint8Array,
): AsyncGenerator<BackupPart> {
  const taker = createTaker(bytes);
  const magic = await taker.take(BACKUP_MAGIC.length);
  if (magic === undefined || fromUtf8(magic) !== BACKUP_MAGIC) throw damagedBackup('it is no backup of ours');
  const header = await taker.take(STREAM_HEADER_BYTES);
  if (header === undefined) throw damagedBackup('it ends in the middle');
  const stream = openPullStream(backupKey(masterKey), header);
  try {
    for (;;) {
      const length = await taker.take(4);
      if (length === undefined) throw damagedBackup('its end is missing');
      const count = Buffer.from(length).readUInt32BE(0);
      if (count > PIECE_BYTES_MAX) throw damagedBackup('a piece is too long');
      const sealed = await taker.take(count);
      const opened = sealed === undefined ? undefined : stream.pull(sealed, null);
      if (opened === undefined) throw damagedBackup('a piece does not open');
      const part = decodePart(opened.message);
      if ((part.kind === 'end') !== (opened.tag === 'final'))
        throw damagedBackup('its end is not where it should be');
      yield part;
      if (part.kind !== 'end') continue;
      if ((await taker.take(1)) !== undefined) throw damagedBackup('something follows its end');
      return;
    }
  } finally {
    stream.close();
  }
}

export interface RestoreOptions {
  readonly file: string;
  /** Where to; must not be there yet, or be empty. */
  readonly folder: string;
  readonly masterKey: Uint8Array;
  readonly random: RandomBytes;
  readonly onProgress?: (done: BackupEnd) => void;
}

export interface Restored {
  readonly head: BackupHead;
  readonly end: BackupEnd;
  readonly dataKey: Uint8Array;
}

const writePart = async (
  folder: string,
  { path, offset, bytes }: BackupPart & { kind: 'file' },
): Promise<void> => {
  const whole = join(folder, path);
  await mkdir(dirname(whole), { recursive: true, mode: 0o700 });
  const file = await open(whole, offset === 0 ? 'w' : 'a', 0o600);
  try {
    const { size } = await file.stat();
    if (size !== offset) throw damagedBackup('a file has a hole');
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
};

/**
 * Puts a backup into a new folder. Nothing of it is started.
 * @throws QflError `conflict` when the folder is in use, `storage_failed` when the backup is damaged: then the folder is removed again
 */
export const restoreBackup = async (options: RestoreOptions): Promise<Restored> => {
  const { file, folder, masterKey, random } = options;
  await mkdir(dirname(folder), { recursive: true });
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch {
    throw new QflError('conflict', {
      detail: `${folder} is there already`,
      next: 'Restore into a new folder, and put it in place of the old one afterwards.',
    });
  }
  try {
    await chmod(folder, 0o700);
    return await restoreInto(options);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }

  async function restoreInto({ onProgress }: RestoreOptions): Promise<Restored> {
    const counts = { files: 0, fileBytes: 0, entries: 0, entryBytes: 0 };
    const stores = new Map<string, Store>();
    let [head, end, dataKey]: [BackupHead | undefined, BackupEnd | undefined, Uint8Array | undefined] = [
      undefined,
      undefined,
      undefined,
    ];
    /** The data key is a file of the backup, wrapped by the master key; it comes before any entry. */
    const storeOf = async (name: string): Promise<Store> => {
      dataKey ??= await openDataKey(
        {
          home: folder,
          environment: Buffer.from(masterKey).toString('base64'),
          credentialsFolder: undefined,
        },
        { create: false, random },
      );
      const known = stores.get(name);
      if (known !== undefined) return known;
      const opened = encryptedStore(await openLevelStore(join(folder, name)), dataKey, random);
      stores.set(name, opened);
      return opened;
    };
    try {
      for await (const part of readBackup(createReadStream(file), masterKey)) {
        if (part.kind === 'head') ({ head } = part);
        else if (part.kind === 'end') ({ end } = part);
        else if (part.kind === 'file') {
          await writePart(folder, part);
          counts.files += part.offset === 0 ? 1 : 0;
          counts.fileBytes += part.bytes.byteLength;
        } else {
          const store = await storeOf(part.store);
          await store.write(part.entries.map(({ key, value }) => ({ type: 'put', key, value })));
          counts.entries += part.entries.length;
          counts.entryBytes += part.entries.reduce((sum, { value }) => sum + value.byteLength, 0);
        }
        onProgress?.({ ...counts });
      }
    } finally {
      for (const store of stores.values()) await store.close();
    }
    const isWhole =
      end !== undefined &&
      Object.entries(end).every(([name, count]) => counts[name as keyof BackupEnd] === count);
    if (head === undefined || end === undefined || dataKey === undefined || !isWhole)
      throw damagedBackup('it does not hold what it says it holds');
    return { head, end, dataKey };
  }
};
