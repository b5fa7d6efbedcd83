/**
 * A backup as bytes: a line that names the format, then one sealed stream (XChaCha20-Poly1305 secretstream under a key of the master key), so that it
 * can be kept anywhere and a cut, a swap or a changed bit shows. Inside: what it is, the files and stores in order, and at the end how many there were.
 */
import { z } from 'zod';
import { framed, fromUtf8, utf8 } from '../bytes.ts';
import { deriveKey } from '../crypto/hash.ts';
import { QflError } from '../errors.ts';
import { unframed } from '../wire/framing.ts';

export const BACKUP_MAGIC = 'qfl-backup/1\n';
/** Bytes of a sealed piece at most; the longest value of a store fits. */
export const PIECE_BYTES_MAX = 64 * 1024 * 1024;
/** Pieces are about this long. */
export const PIECE_BYTES = 256 * 1024;

export const backupKey = (masterKey: Uint8Array): Uint8Array =>
  deriveKey(masterKey, utf8('qfl-backup/1'), 'qfl backup key');

export const BackupHead = z.strictObject({
  program: z.enum(['coordinator', 'agent']),
  /** Of the federation, or the site. */
  name: z.string().max(100),
  createdMs: z.int().nonnegative(),
  generator: z.string().max(100),
});
export type BackupHead = z.infer<typeof BackupHead>;

export const BackupEnd = z.strictObject({
  files: z.int().nonnegative(),
  fileBytes: z.int().nonnegative(),
  entries: z.int().nonnegative(),
  entryBytes: z.int().nonnegative(),
});
export type BackupEnd = z.infer<typeof BackupEnd>;

/** One part of a backup. */
export type BackupPart =
  | { readonly kind: 'head'; readonly head: BackupHead }
  /** Bytes of a file of the home folder; `path` with `/`. */
  | { readonly kind: 'file'; readonly path: string; readonly offset: number; readonly bytes: Uint8Array }
  /** Entries of a store, opened: they are sealed anew where they are restored. */
  | { readonly kind: 'entries'; readonly store: string; readonly entries: readonly StoreEntry[] }
  | { readonly kind: 'end'; readonly end: BackupEnd };

export interface StoreEntry {
  readonly key: string;
  readonly value: Uint8Array;
}

export const damagedBackup = (detail: string): QflError =>
  new QflError('storage_failed', {
    detail: `the backup cannot be used: ${detail}`,
    next: 'Take another copy of it, or an older one; check that the master key is the one it was made under.',
  });

/** A path inside the home folder: no way out of it. */
const SafePath = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*){0,4}$/);
export const StoreName = z.enum(['store', 'records']);

export const encodePart = (part: BackupPart): Uint8Array => {
  if (part.kind === 'head') return framed(utf8('head'), utf8(JSON.stringify(part.head)));
  if (part.kind === 'end') return framed(utf8('end'), utf8(JSON.stringify(part.end)));
  if (part.kind === 'file')
    return framed(utf8('file'), utf8(part.path), utf8(String(part.offset)), part.bytes);
  return framed(
    utf8('entries'),
    utf8(part.store),
    ...part.entries.flatMap(({ key, value }) => [utf8(key), value]),
  );
};

const decodeEntries = (fields: readonly Uint8Array[]): readonly StoreEntry[] => {
  if (fields.length % 2 !== 0) throw damagedBackup('an entry is not whole');
  return Array.from({ length: fields.length / 2 }, (_, at) => ({
    key: fromUtf8(fields[2 * at]!),
    value: fields[2 * at + 1]!,
  }));
};

/** @throws QflError `storage_failed` for anything that `encodePart` does not make */
export const decodePart = (bytes: Uint8Array): BackupPart => {
  try {
    const [kindBytes, first, second, third, ...rest] = [...unframed(bytes)];
    const kind = kindBytes === undefined ? '' : fromUtf8(kindBytes);
    if (first === undefined) throw damagedBackup('a part is not whole');
    if (kind === 'head') return { kind, head: BackupHead.parse(JSON.parse(fromUtf8(first))) };
    if (kind === 'end') return { kind, end: BackupEnd.parse(JSON.parse(fromUtf8(first))) };
    if (kind === 'file' && second !== undefined && third !== undefined && rest.length === 0) {
      const offset = z
        .int()
        .nonnegative()
        .parse(Number(fromUtf8(second)));
      return { kind, path: SafePath.parse(fromUtf8(first)), offset, bytes: third };
    }
    if (kind !== 'entries') throw damagedBackup('a part is of an unknown kind');
    const fields = [second, third, ...rest].filter((field) => field !== undefined);
    return { kind, store: StoreName.parse(fromUtf8(first)), entries: decodeEntries(fields) };
  } catch (error) {
    throw error instanceof QflError ? error : damagedBackup('a part does not read');
  }
};
