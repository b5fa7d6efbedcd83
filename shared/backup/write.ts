/**
 * Writes a backup of a running program. The order makes it one moment's state: first the small files that say how far logs and ledger have come at
 * least, then the stores (each a snapshot), last the journal, which only grows. So what is restored is never behind what its own files promise.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { u32, utf8 } from '../bytes.ts';
import { openPushStream } from '../crypto/secretstream.ts';
import { DATA_FILE, type KeysAtRest } from '../keys/master.ts';
import type { Store } from '../store/port.ts';
import {
  BACKUP_MAGIC,
  type BackupEnd,
  type BackupHead,
  type BackupPart,
  backupKey,
  encodePart,
  PIECE_BYTES,
  type StoreEntry,
} from './format.ts';
import { isMissing } from '../whole-file.ts';

export interface BackupSource {
  readonly head: BackupHead;
  /** The home folder. */
  readonly folder: string;
  /** Paths in it, read before the stores, the data key not among them; one that is not there is left out. */
  readonly filesBefore: readonly string[];
  readonly stores: readonly { readonly name: 'store' | 'records'; readonly store: Store }[];
  /** Read after the stores. */
  readonly filesAfter: readonly string[];
}

/** A file as it is now, up to the length it has now. */
async function* fileParts(folder: string, path: string): AsyncGenerator<BackupPart> {
  const file = await open(join(folder, path), 'r').catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (file === undefined) return;
  try {
    const { size } = await file.stat();
    let offset = 0;
    do {
      const bytes = Buffer.allocUnsafe(Math.min(PIECE_BYTES, size - offset));
      const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, offset);
      yield { kind: 'file', path, offset, bytes: bytes.subarray(0, bytesRead) };
      offset += bytesRead;
      if (bytesRead === 0) return;
    } while (offset < size);
  } finally {
    await file.close();
  }
}

async function* storeParts(name: 'store' | 'records', store: Store): AsyncGenerator<BackupPart> {
  let [batch, bytes]: [StoreEntry[], number] = [[], 0];
  for await (const entry of store.list({ prefix: '' })) {
    batch.push(entry);
    bytes += entry.key.length + entry.value.byteLength;
    if (bytes < PIECE_BYTES) continue;
    yield { kind: 'entries', store: name, entries: batch };
    [batch, bytes] = [[], 0];
  }
  if (batch.length > 0) yield { kind: 'entries', store: name, entries: batch };
}

async function* partsOf(
  { head, folder, filesBefore, stores, filesAfter }: BackupSource,
  wrapped: Uint8Array,
): AsyncGenerator<BackupPart> {
  yield { kind: 'head', head };
  yield { kind: 'file', path: DATA_FILE, offset: 0, bytes: wrapped };
  for (const path of filesBefore) yield* fileParts(folder, path);
  for (const { name, store } of stores) yield* storeParts(name, store);
  for (const path of filesAfter) yield* fileParts(folder, path);
}

const counting = (): { readonly end: BackupEnd; add(part: BackupPart): void } => {
  const end = { files: 0, fileBytes: 0, entries: 0, entryBytes: 0 };
  return {
    end,
    add(part) {
      if (part.kind === 'file') {
        end.files += part.offset === 0 ? 1 : 0;
        end.fileBytes += part.bytes.byteLength;
      } else if (part.kind === 'entries') {
        end.entries += part.entries.length;
        end.entryBytes += part.entries.reduce((sum, { value }) => sum + value.byteLength, 0);
      }
    },
  };
};

/**
 * The bytes of the backup, sealed. Whoever has the master key can restore it; the data key comes as it was beside that key, and not as a file that may
 * have changed since.
 */
export async function* writeBackup(
  source: BackupSource,
  { masterKey, wrapped }: KeysAtRest,
): AsyncGenerator<Uint8Array> {
  const stream = openPushStream(backupKey(masterKey));
  const counts = counting();
  const seal = (part: BackupPart): Uint8Array => {
    const sealed = stream.push(encodePart(part), part.kind === 'end' ? 'final' : 'message', null);
    return Buffer.concat([u32(sealed.byteLength), sealed]);
  };
  try {
    yield Buffer.concat([utf8(BACKUP_MAGIC), stream.header]);
    for await (const part of partsOf(source, wrapped)) {
      counts.add(part);
      yield seal(part);
    }
    yield seal({ kind: 'end', end: counts.end });
  } finally {
    stream.close();
  }
}
