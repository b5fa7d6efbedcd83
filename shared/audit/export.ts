/**
 * Writes an audit export: several logs, and what is derived from them, in one tar file that verifies offline. Each log is read once (twice for a
 * period) and spooled to disk, so that memory does not grow with the logs. Entries that are not wanted leave their leaf hash behind, so that
 * nobody can say that there were none.
 */
import { hash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toBase64, toHex, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { writeWholeFile } from '../whole-file.ts';
import { canonicalBytes } from './canonical.ts';
import { readCheckpoint } from './checkpoint.ts';
import { type AuditEntry, readEntry } from './entry.ts';
import { leafFacts } from './entry-pattern.ts';
import {
  EXPORT_FORMAT,
  INDEX_HASH_BYTES,
  type LogDescription,
  type LogKind,
  Manifest,
  MANIFEST_FILE,
  MANIFEST_NOTE_FILE,
  manifestNoteText,
  POLICY_FILE,
  README_FILE,
  README_TEXT,
} from './export-format.ts';
import type { AppendLog } from './log.ts';
import { CompactRange, leafHash, subtreeLevels } from './merkle.ts';
import { type NoteSigner, signNote } from './note.ts';
import { type FinishedFile, smallFile, SpoolFile } from './spool.ts';
import { TAR_END, tarHeader, tarPadding } from './tar.ts';
import { breathe } from '../breathe.ts';

export interface ExportLog {
  /** Folder inside the archive: `coordinator`, a site's name, `keys`. */
  readonly name: string;
  readonly kind: LogKind;
  /** Signed note, with cosignatures where there are some; fixes how many entries there are. */
  readonly checkpoint: string;
  /** Entries below are gone; `frontier` holds the roots of the complete subtrees over them, largest first. */
  readonly minimumIndex: number;
  readonly frontier: readonly Uint8Array[];
  /** The leaves from `minimumIndex` to the checkpoint's size; called twice and gives the same both times. */
  readonly leaves: () => AsyncIterable<Uint8Array>;
  /** That the log only grew since an older checkpoint. */
  readonly consistency?: {
    readonly oldSize: number;
    readonly oldRoot: Uint8Array;
    readonly path: readonly Uint8Array[];
  };
}

/** Which entries; the rest of the range is there by hash. */
export interface Selection {
  readonly fromMs: number | null;
  readonly toMs: number | null;
  /** As the manifest states it. */
  readonly filter: Readonly<Record<string, string>>;
  readonly wants: (entry: AuditEntry, log: string) => boolean;
}
export const EVERYTHING: Selection = { fromMs: null, toMs: null, filter: {}, wants: () => true };

/** Makes further files from the entries as they pass. */
export interface Deriver {
  /** Once for each exported entry of the audit logs, log by log, in order. */
  entry(entry: AuditEntry, log: ExportLog): void;
  /** Now and then, to write what was kept. */
  drain(): Promise<void>;
  finish(logs: readonly LogDescription[]): Promise<readonly FinishedFile[]>;
  close(): Promise<void>;
}

export interface ExportOptions {
  readonly logs: readonly ExportLog[];
  readonly signer: NoteSigner;
  readonly createdMs: number;
  readonly generator: string;
  readonly organisation: string | null;
  readonly federation: string;
  readonly requestedBy: string;
  readonly ground: string;
  /** C2SP tlog-policy. */
  readonly policy: string;
  readonly selection?: Selection;
  readonly statements?: readonly string[];
  readonly derive?: (folder: string) => Deriver;
  /** Where the files wait until they are in the archive; the system's folder for such by default. */
  readonly folder?: string;
  readonly progress?: (entriesDone: number, entriesTotal: number) => void;
}

/**
 * A log of this program as part of an export, up to `checkpoint` (a cosigned one, say) or one signed now.
 * @throws QflError `not_found` when `since` is longer than the checkpoint
 */
export const exportLog = async (
  name: string,
  kind: LogKind,
  log: AppendLog,
  options: { readonly checkpoint?: string | undefined; readonly since?: string | undefined } = {},
): Promise<ExportLog> => {
  const checkpoint = options.checkpoint ?? (await log.checkpoint());
  const { size } = readCheckpoint(checkpoint);
  const { minimumIndex } = log;
  const since = options.since === undefined ? undefined : readCheckpoint(options.since);
  return {
    name,
    kind,
    checkpoint,
    minimumIndex,
    frontier: await log.frontierAt(minimumIndex),
    leaves: async function* leaves() {
      for await (const { leaf } of log.entries(minimumIndex, size)) yield leaf;
    },
    ...(since === undefined
      ? {}
      : {
          consistency: {
            oldSize: since.size,
            oldRoot: since.root,
            path: since.size === 0 ? [] : await log.consistencyProof(since.size, size),
          },
        }),
  };
};

const refuse = (log: ExportLog, detail: string): QflError =>
  new QflError('storage_failed', {
    detail: `the log ${log.name} was not exported: ${detail}`,
    next: 'Verify that log on the machine that keeps it.',
  });

/** Others get a turn of the event loop. */
const BREATHE_ENTRIES = 256;

/** First and last entry of the period: clocks may have jumped, so all are looked at. */
const boundsOf = async (log: ExportLog, size: number, { fromMs, toMs }: Selection) => {
  if (log.kind === 'opaque' || (fromMs === null && toMs === null))
    return { first: Math.min(log.minimumIndex, size), end: size };
  let [first, end, index] = [size, size, log.minimumIndex];
  for await (const leaf of log.leaves()) {
    const timeMs = leafFacts(leaf)?.timeMs;
    if (timeMs !== undefined && timeMs >= (fromMs ?? 0) && timeMs < (toMs ?? Infinity)) {
      if (first === size) first = index;
      end = index + 1;
    }
    index += 1;
    if (index % BREATHE_ENTRIES === 0) await breathe();
  }
  return { first, end };
};

/** Roots of the subtrees after the range, each made when its last leaf came. */
class Rest {
  readonly roots: Uint8Array[] = [];
  readonly #levels: readonly number[];
  #block = new CompactRange();

  constructor(from: number, size: number) {
    this.#levels = subtreeLevels(from, size);
  }
  append(hashed: Uint8Array): void {
    this.#block.append(hashed);
    if (this.#block.size < 2 ** (this.#levels[this.roots.length] ?? 0)) return;
    this.roots.push(this.#block.root());
    this.#block = new CompactRange();
  }
}

const proofText = (left: readonly Uint8Array[], right: readonly Uint8Array[]): string =>
  [...left.map((one) => `left ${toBase64(one)}\n`), ...right.map((one) => `right ${toBase64(one)}\n`)].join(
    '',
  );

const consistencyText = ({ oldSize, oldRoot, path }: NonNullable<ExportLog['consistency']>): string =>
  [String(oldSize), toBase64(oldRoot), ...path.map(toBase64)].map((line) => `${line}\n`).join('');

interface Written {
  readonly description: LogDescription;
  readonly files: readonly FinishedFile[];
}

/** What a log becomes in the archive: its lines, index and proof. Leaves come in order, from the minimum index to the checkpoint's size. */
class LogWriter {
  readonly #log: ExportLog;
  readonly #selection: Selection;
  readonly #deriver: Deriver | undefined;
  readonly #lines: SpoolFile;
  readonly #index: SpoolFile;
  readonly #range: CompactRange;
  readonly #rest: Rest;
  readonly #bounds: { readonly first: number; readonly end: number };
  readonly #size: number;
  #left: readonly Uint8Array[] | undefined;
  #entries = 0;

  constructor(
    log: ExportLog,
    selection: Selection,
    bounds: { readonly first: number; readonly end: number },
    folder: string,
    deriver: Deriver | undefined,
  ) {
    this.#log = log;
    this.#selection = selection;
    this.#deriver = deriver;
    this.#bounds = bounds;
    this.#size = readCheckpoint(log.checkpoint).size;
    this.#lines = new SpoolFile(folder, `${log.name}/entries.ndjson`);
    this.#index = new SpoolFile(folder, `${log.name}/index`);
    this.#range = CompactRange.from(log.minimumIndex, log.frontier);
    this.#rest = new Rest(bounds.end, this.#size);
  }

  /** Leaves so far. */
  get done(): number {
    return this.#range.size - this.#log.minimumIndex;
  }

  take(leaf: Uint8Array): void {
    const at = this.#range.size;
    const { first, end } = this.#bounds;
    if (at === this.#size) throw refuse(this.#log, 'it gives more entries than its checkpoint has');
    const hashed = leafHash(leaf);
    if (at === first) this.#left = this.#range.hashes;
    if (at >= first && at < end) this.#takeLine(leaf, hashed);
    if (at >= end) this.#rest.append(hashed);
    this.#range.append(hashed);
  }

  async drain(): Promise<void> {
    await Promise.all([this.#lines.drain(), this.#index.drain(), this.#deriver?.drain()]);
  }

  async finish(): Promise<Written> {
    const { name, kind, checkpoint, minimumIndex, consistency } = this.#log;
    const { origin, size, root } = readCheckpoint(checkpoint);
    if (this.#range.size !== size || Buffer.compare(this.#range.root(), root) !== 0)
      throw refuse(this.#log, 'its entries are not those of its checkpoint');
    const { first, end } = this.#bounds;
    const proof = proofText(this.#left ?? this.#range.hashes, this.#rest.roots);
    return {
      description: { name, origin, kind, size, first, end, entries: this.#entries, minimumIndex },
      files: [
        smallFile(`${name}/checkpoint`, utf8(checkpoint)),
        smallFile(`${name}/proof`, utf8(proof)),
        ...(consistency === undefined
          ? []
          : [smallFile(`${name}/consistency`, utf8(consistencyText(consistency)))]),
        await this.#index.finish(null),
        await this.#lines.finish(end - first),
      ],
    };
  }

  async close(): Promise<void> {
    await this.#lines.close();
    await this.#index.close();
  }

  #takeLine(leaf: Uint8Array, hashed: Uint8Array): void {
    this.#index.push(hashed.subarray(0, INDEX_HASH_BYTES));
    if (!this.#isWanted(leaf)) return this.#lines.push(`"${toBase64(hashed)}"\n`);
    this.#lines.push(this.#log.kind === 'audit' ? leaf : `"${toBase64(leaf)}"`);
    this.#lines.push('\n');
    this.#entries += 1;
  }

  #isWanted(leaf: Uint8Array): boolean {
    if (this.#log.kind === 'opaque') return true;
    const { fromMs, toMs, wants } = this.#selection;
    const entry = readEntry(leaf);
    const { timeMs } = entry;
    if (timeMs < (fromMs ?? 0) || timeMs >= (toMs ?? Infinity) || !wants(entry, this.#log.name)) return false;
    this.#deriver?.entry(entry, this.#log);
    return true;
  }
}

/** One pass over a log. */
const writeLog = async (
  log: ExportLog,
  selection: Selection,
  folder: string,
  deriver: Deriver | undefined,
  told: (entries: number) => void,
): Promise<Written> => {
  const { size } = readCheckpoint(log.checkpoint);
  const writer = new LogWriter(log, selection, await boundsOf(log, size, selection), folder, deriver);
  try {
    for await (const leaf of log.leaves()) {
      writer.take(leaf);
      if (writer.done % BREATHE_ENTRIES !== 0) continue;
      told(writer.done);
      await writer.drain();
      await breathe();
    }
    told(writer.done);
    return await writer.finish();
  } finally {
    await writer.close();
  }
};

async function* member({ path, bytes, content }: FinishedFile): AsyncIterable<Uint8Array> {
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

/** What is missing and what was left out, log by log. */
const gaps = (logs: readonly LogDescription[]): string[] =>
  logs.flatMap(({ name, minimumIndex, first, end, size, entries }) => [
    ...(minimumIndex > 0
      ? [`${name}: entries below ${minimumIndex} were removed when their time of retention was over`]
      : []),
    ...(end - first > entries
      ? [`${name}: ${end - first - entries} entries of ${first}–${end - 1} are here by their hash only`]
      : []),
    ...(end - first < size - minimumIndex
      ? [
          `${name}: ${size - minimumIndex - (end - first)} entries outside the period are covered by the proof`,
        ]
      : []),
  ]);

const makeManifest = (
  options: ExportOptions,
  logs: readonly LogDescription[],
  files: readonly FinishedFile[],
): Uint8Array => {
  const { fromMs, toMs, filter } = options.selection ?? EVERYTHING;
  const manifest = Manifest.safeParse({
    format: EXPORT_FORMAT,
    createdMs: options.createdMs,
    timeZone: 'UTC',
    generator: options.generator,
    organisation: options.organisation,
    federation: options.federation,
    requestedBy: options.requestedBy,
    ground: options.ground,
    period: { fromMs, toMs },
    filter,
    statements: [...(options.statements ?? []), ...gaps(logs)],
    policySha256: toHex(hash('sha256', utf8(options.policy), 'buffer')),
    signer: options.signer.verifierKey,
    logs,
    files: files.map(({ path, bytes, sha256, rows }) => ({ path, bytes, sha256, rows })),
  });
  if (manifest.success) return canonicalBytes(manifest.data);
  const paths = manifest.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new QflError('invalid_request', { detail: `the export cannot be described: ${paths.join('; ')}` });
};

const writeLogs = async (options: ExportOptions, folder: string): Promise<readonly FinishedFile[]> => {
  const { logs, selection = EVERYTHING, progress } = options;
  const deriver = options.derive?.(folder);
  const total = logs.reduce((sum, log) => sum + readCheckpoint(log.checkpoint).size - log.minimumIndex, 0);
  let before = 0;
  const written: Written[] = [];
  try {
    for (const log of logs) {
      written.push(
        await writeLog(log, selection, folder, deriver, (entries) => progress?.(before + entries, total)),
      );
      before += readCheckpoint(log.checkpoint).size - log.minimumIndex;
    }
    const described = written.map(({ description }) => description);
    const files = [
      smallFile(README_FILE, utf8(README_TEXT)),
      smallFile(POLICY_FILE, utf8(options.policy)),
      ...((await deriver?.finish(described)) ?? []),
      ...written.flatMap((one) => one.files),
    ];
    const manifest = makeManifest(options, described, files);
    const noteText = manifestNoteText(hash('sha256', manifest, 'buffer'));
    const note = utf8(signNote(noteText, [options.signer]));
    return [smallFile(MANIFEST_FILE, manifest), smallFile(MANIFEST_NOTE_FILE, note), ...files];
  } finally {
    await deriver?.close();
  }
};

/**
 * The bytes of the export.
 * @throws QflError `storage_failed` when a log's entries are not those of its checkpoint, `invalid_request` for bad names
 */
export async function* createExport(options: ExportOptions): AsyncIterable<Uint8Array> {
  const folder = await mkdtemp(join(options.folder ?? tmpdir(), 'qfl-export-'));
  try {
    for (const file of await writeLogs(options, folder)) yield* member(file);
    yield TAR_END;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes an export to `file`, whole or not at all. Returns its length in bytes. */
export const writeExport = async (file: string, options: ExportOptions): Promise<number> => {
  try {
    return await writeWholeFile(file, coalesce(createExport(options)));
  } catch (cause) {
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
