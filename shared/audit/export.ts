/**
 * Writes an audit export: several logs in one tar file that verifies offline. Two passes over each log, because a tar
 * member's length stands before it: the first hashes and counts, the second writes. Memory holds 4 bytes per entry.
 */
import { createHash, hash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { concat, toBase64, toHex, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { canonicalBytes } from './canonical.ts';
import { readCheckpoint } from './checkpoint.ts';
import {
  EXPORT_FORMAT,
  INDEX_HASH_BYTES,
  LOG_FILES,
  type LogKind,
  Manifest,
  MANIFEST_FILE,
  MANIFEST_NOTE_FILE,
  manifestNoteText,
  README_FILE,
  README_TEXT,
} from './export-format.ts';
import type { AppendLog } from './log.ts';
import { CompactRange, leafHash } from './merkle.ts';
import { type NoteSigner, signNote } from './note.ts';
import { TAR_END, tarHeader, tarPadding } from './tar.ts';

export interface ExportLog {
  /** Folder inside the archive: `coordinator`, a site's name, `keys`. */
  readonly name: string;
  readonly kind: LogKind;
  /** Signed note; fixes how many entries are exported. */
  readonly checkpoint: string;
  readonly verifierKeys: readonly string[];
  /** The leaves from 0 to the checkpoint's size; called twice and gives the same both times. */
  readonly leaves: () => AsyncIterable<Uint8Array>;
}

export interface ExportOptions {
  readonly logs: readonly ExportLog[];
  readonly signer: NoteSigner;
  readonly createdMs: number;
  readonly generator: string;
  readonly organisation: string;
  readonly requestedBy: string;
  readonly ground: string;
}

/** A log of this program as part of an export, up to a checkpoint signed now. */
export const exportLog = async (name: string, kind: LogKind, log: AppendLog): Promise<ExportLog> => {
  const checkpoint = await log.checkpoint();
  const { size } = readCheckpoint(checkpoint);
  return {
    name,
    kind,
    checkpoint,
    verifierKeys: [...log.verifierKeys],
    leaves: async function* leaves() {
      for await (const { leaf } of log.entries(0, size)) yield leaf;
    },
  };
};

interface File {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly content: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

const smallFile = (path: string, content: Uint8Array): File => ({
  path,
  bytes: content.byteLength,
  sha256: toHex(hash('sha256', content, 'buffer')),
  content: () => [content],
});

const refuse = (log: ExportLog, detail: string): QflError =>
  new QflError('storage_failed', {
    detail: `the log ${log.name} was not exported: ${detail}`,
    next: 'Verify that log on the machine that keeps it.',
  });

const lineOf = (kind: LogKind, leaf: Uint8Array): Uint8Array =>
  concat(kind === 'audit' ? leaf : utf8(toBase64(leaf)), Uint8Array.of(10));

async function* lines(log: ExportLog): AsyncIterable<Uint8Array> {
  for await (const leaf of log.leaves()) yield lineOf(log.kind, leaf);
}

/** First pass: what the entries weigh and whether they are those of the checkpoint. */
const filesOf = async (
  log: ExportLog,
): Promise<{ readonly size: number; readonly files: readonly File[] }> => {
  const { size, root } = readCheckpoint(log.checkpoint);
  const digest = createHash('sha256');
  const range = new CompactRange();
  const index = Buffer.alloc(size * INDEX_HASH_BYTES);
  let bytes = 0;
  for await (const leaf of log.leaves()) {
    if (range.size === size) throw refuse(log, 'it gives more entries than its checkpoint has');
    if (log.kind === 'audit' && leaf.includes(10)) throw refuse(log, `entry ${range.size} holds a newline`);
    const leafHashed = leafHash(leaf);
    index.set(leafHashed.subarray(0, INDEX_HASH_BYTES), range.size * INDEX_HASH_BYTES);
    range.append(leafHashed);
    const line = lineOf(log.kind, leaf);
    digest.update(line);
    bytes += line.byteLength;
  }
  if (Buffer.compare(range.root(), root) !== 0 || range.size !== size) {
    throw refuse(log, 'its entries are not those of its checkpoint');
  }
  const contents = {
    checkpoint: smallFile(`${log.name}/checkpoint`, utf8(log.checkpoint)),
    keys: smallFile(`${log.name}/keys`, utf8(log.verifierKeys.map((key) => `${key}\n`).join(''))),
    index: smallFile(`${log.name}/index`, index),
    'entries.ndjson': {
      path: `${log.name}/entries.ndjson`,
      bytes,
      sha256: digest.digest('hex'),
      content: () => lines(log),
    },
  };
  return { size, files: LOG_FILES.map((file) => contents[file]) };
};

async function* member({ path, bytes, content }: File): AsyncIterable<Uint8Array> {
  yield tarHeader(path, bytes);
  let written = 0;
  for await (const piece of content()) {
    written += piece.byteLength;
    yield piece;
  }
  if (written !== bytes)
    throw new QflError('storage_failed', { detail: `${path} changed while it was exported` });
  yield tarPadding(bytes);
}

const makeManifest = (options: ExportOptions, logs: Manifest['logs'], files: readonly File[]): Uint8Array => {
  const manifest = Manifest.safeParse({
    format: EXPORT_FORMAT,
    createdMs: options.createdMs,
    generator: options.generator,
    organisation: options.organisation,
    requestedBy: options.requestedBy,
    ground: options.ground,
    signer: options.signer.verifierKey,
    logs,
    files: files.map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 })),
  });
  if (manifest.success) return canonicalBytes(manifest.data);
  const paths = manifest.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new QflError('invalid_request', { detail: `the export cannot be described: ${paths.join('; ')}` });
};

/**
 * The bytes of the export.
 * @throws QflError `storage_failed` when a log's entries are not those of its checkpoint, `invalid_request` for bad names
 */
export async function* createExport(options: ExportOptions): AsyncIterable<Uint8Array> {
  const files: File[] = [smallFile(README_FILE, utf8(README_TEXT))];
  const logs: Manifest['logs'] = [];
  for (const log of options.logs) {
    const { size, files: logFiles } = await filesOf(log);
    files.push(...logFiles);
    logs.push({ name: log.name, origin: readCheckpoint(log.checkpoint).origin, kind: log.kind, size });
  }
  const manifest = makeManifest(options, logs, files);
  const noteText = manifestNoteText(hash('sha256', manifest, 'buffer'));
  yield* member(smallFile(MANIFEST_FILE, manifest));
  yield* member(smallFile(MANIFEST_NOTE_FILE, utf8(signNote(noteText, [options.signer]))));
  for (const file of files) yield* member(file);
  yield TAR_END;
}

/** Writes an export to `file`, whole or not at all: fsync, then rename. Returns its length in bytes. */
export const writeExport = async (file: string, options: ExportOptions): Promise<number> => {
  const partial = `${file}.partial`;
  let bytes = 0;
  try {
    {
      await using handle = await open(partial, 'w', 0o600);
      for await (const piece of coalesce(createExport(options))) {
        await handle.writeFile(piece);
        bytes += piece.byteLength;
      }
      await handle.sync();
    }
    await rename(partial, file);
    return bytes;
  } catch (cause) {
    await rm(partial, { force: true });
    if (cause instanceof QflError) throw cause;
    throw new QflError('storage_failed', { detail: `the export could not be written to ${file}`, cause });
  }
};

const WRITE_BYTES = 256 * 1024;

/** Joins small pieces, so that a line is not a system call. */
export async function* coalesce(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of source) {
    pieces.push(piece);
    bytes += piece.byteLength;
    if (bytes < WRITE_BYTES) continue;
    yield Buffer.concat(pieces);
    [pieces, bytes] = [[], 0];
  }
  if (bytes > 0) yield Buffer.concat(pieces);
}
