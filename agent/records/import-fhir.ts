/**
 * Import of a folder of FHIR R4 files: bulk NDJSON and bundles, gzip or not. Files are streamed and written in atomic
 * batches that carry the checkpoint, so an interrupted import goes on where it stopped and a finished one can be
 * repeated. What cannot be imported is reported by file and line, and everything else is.
 */
import { QflError } from '../../shared/errors.ts';
import { assignBlocks, type BlockCounts } from './blocks.ts';
import { Batch, type FileImport } from './fhir/batch.ts';
import { type Checkpoints, createCheckpoints, type FileState } from './fhir/checkpoint.ts';
import { type FolderContent, listFolder } from './fhir/folder.ts';
import { createReporter, type ImportReport, type Reporter } from './fhir/report.ts';
import { FileRefused, hashFile } from './fhir/source.ts';
import { type PlacedUnit, type ReadContext, unitsOfFile } from './fhir/units.ts';
import { IMPORT_LIMITS, type ImportLimits } from './limits.ts';
import type { Records } from './store.ts';
import { upgradeRows } from './upgrade.ts';

export interface ImportProgress {
  readonly file: string;
  /** Bytes on disk read so far and in all, over every file. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly rejected: number;
}

export interface ImportOptions {
  /** After every batch and every file. */
  readonly onProgress?: (progress: ImportProgress) => void;
  readonly signal?: AbortSignal;
  readonly limits?: ImportLimits;
}

export interface ImportResult extends ImportReport {
  /** True when it continued an import that had been interrupted. */
  readonly resumed: boolean;
  /** Who stands in a data block now. */
  readonly blocks: BlockCounts;
}

const throwIfCancelled = (signal: AbortSignal | undefined): void => {
  if (signal?.aborted !== true) return;
  throw new QflError('cancelled', {
    detail: 'the import was stopped',
    next: 'Start the same import again: it goes on where it stopped.',
  });
};

/** Cuts between positions only, so that the entries of one line stay in one batch or are repeated together. */
const importUnits = async (
  units: AsyncIterable<PlacedUnit>,
  context: FileImport,
  after: number,
): Promise<number> => {
  const batch = new Batch(context);
  let position = after;
  try {
    for await (const placed of units) {
      if (placed.position !== position && (batch.isFull || context.signal?.aborted === true)) {
        await batch.flush(position, false);
        throwIfCancelled(context.signal);
      }
      batch.add(placed);
      position = placed.position;
    }
  } catch (error) {
    if (!(error instanceof FileRefused)) throw error;
    const { reporter, file } = context;
    reporter.problem({
      file: file.name,
      severity: 'skipped',
      reason: `${error.message}; read up to here: ${position}`,
    });
  }
  await batch.flush(position, true);
  return position;
};

const importFile = async (
  context: FileImport,
  after: number,
  onRawBytes: (total: number) => void,
): Promise<void> => {
  const { file, limits, reporter } = context;
  let lines = 0;
  const read: ReadContext = { limits, after, onRawBytes, onLine: () => void (lines += 1) };
  const counted = async function* (): AsyncGenerator<PlacedUnit> {
    yield* unitsOfFile(file, read);
    if (file.linesAnnounced === undefined || file.linesAnnounced === lines) return;
    const reason = `the manifest announces ${file.linesAnnounced} lines and the file has ${lines}`;
    reporter.problem({ file: file.name, severity: 'noticed', reason });
  };
  await importUnits(counted(), context, after);
};

/** Imports one file unless the checkpoint says that these very bytes are done. */
const importOrSkip = async (
  context: Omit<FileImport, 'hash'>,
  onRawBytes: (total: number) => void,
): Promise<void> => {
  const { file, checkpoints, reporter } = context;
  let hash: string;
  try {
    hash = await hashFile(file.path);
  } catch (error) {
    if (!(error instanceof FileRefused)) throw error;
    reporter.problem({ file: file.name, severity: 'skipped', reason: error.message });
    return;
  }
  const stored = await checkpoints.loadFile(file.name);
  const state: FileState | undefined = stored?.hash === hash ? stored : undefined;
  if (state?.complete !== true) await importFile({ ...context, hash }, state?.unitsDone ?? 0, onRawBytes);
};

/** Continues the interrupted import of this folder, or starts one. */
const startOrResume = async (
  records: Records,
  content: FolderContent,
  checkpoints: Checkpoints,
  limits: ImportLimits,
): Promise<{ run: string; reporter: Reporter; resumed: boolean }> => {
  const earlier = await checkpoints.load();
  const reporter = createReporter(limits, earlier?.report);
  if (earlier !== undefined) return { run: earlier.run, reporter, resumed: true };
  content.problems.forEach((problem) => reporter.problem(problem));
  for (let count = 0; count < content.ignored; count += 1) reporter.fileIgnored();
  return { run: records.newRun(), reporter, resumed: false };
};

/**
 * Imports every `.ndjson`, `.jsonl` and `.json` file below `folder` (gzip or not) into `records`.
 * @throws QflError `invalid_request` when there is no such folder, `cancelled` when `signal` fires (call again to go
 *   on), `storage_failed` when the store cannot be written
 */
export const importFolder = async (
  records: Records,
  folder: string,
  { onProgress, signal, limits = IMPORT_LIMITS }: ImportOptions = {},
): Promise<ImportResult> => {
  throwIfCancelled(signal);
  const content = await listFolder(folder, limits);
  const checkpoints = createCheckpoints(records, content.root);
  const { run, reporter, resumed } = await startOrResume(records, content, checkpoints, limits);
  const bytesTotal = content.files.reduce((sum, { bytes }) => sum + bytes, 0);
  let bytesBefore = 0;
  for (const file of content.files) {
    throwIfCancelled(signal);
    let bytesOfFile = 0;
    const tell = (): void => {
      const bytesDone = bytesBefore + Math.min(bytesOfFile, file.bytes);
      onProgress?.({ file: file.name, bytesDone, bytesTotal, ...reporter.progress() });
    };
    const context = { records, run, file, reporter, checkpoints, limits, signal, onBatch: tell };
    await importOrSkip(context, (total) => void (bytesOfFile = total));
    bytesOfFile = file.bytes;
    tell();
    bytesBefore += file.bytes;
  }
  await upgradeRows(records);
  const blocks = await records.exclusively(() => assignBlocks(records));
  await checkpoints.clear();
  return { ...reporter.snapshot(), resumed, blocks };
};
