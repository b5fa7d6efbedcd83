/** Reads the whole ledger and writes nothing: every record, and everything that speaks for or against them. */
import { blake2b, HASH_BYTES } from '../../shared/crypto/hash.ts';
import { canonicalJson } from '../../shared/audit/canonical.ts';
import { toHex } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import { faultAgainst, hashAt, witnessedOf } from './anchor.ts';
import { type JournalStart, readStart } from './base.ts';
import { isOfJournal, readCheckpoints } from './checkpoint.ts';
import { countersignedFacts, readCountersigned } from './countersigned.ts';
import type { DurableFile, LedgerFolder } from './disk.ts';
import { scalarOf } from './filters.ts';
import { type Head, readMark } from './mark.ts';
import { JOURNAL_NAME, type LedgerPlace, MARK_NAME } from './open.ts';
import { applyTo, stateAtStart } from './replay.ts';
import { scanJournal } from './scan.ts';
import type { LedgerState, StateText } from './state.ts';

export interface VerifyProgress {
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly records: number;
}

export interface VerifyReport {
  readonly sound: boolean;
  /** One sentence each; none when it is sound. */
  readonly faults: readonly string[];
  /** Records that read, up to the first that does not. */
  readonly records: number;
  readonly bytes: number;
  readonly head: { readonly counter: number; readonly hash: string } | null;
  readonly epoch: number;
  readonly lifetimeUnits: string;
  readonly countersigned: { readonly epoch: number; readonly counter: number } | null;
  /** Checkpoints that say what the records come to. */
  readonly checkpoints: readonly {
    readonly name: string;
    readonly counter: number;
    readonly agrees: boolean;
  }[];
  /** The archive of a compaction; null when there was none. */
  readonly archive: { readonly name: string; readonly state: 'sound' | 'damaged' | 'elsewhere' } | null;
}

/** How often progress is told, and a running program gets its turn. */
const PACE_RECORDS = 256;

const sorted = (text: StateText): string =>
  canonicalJson({
    ...text,
    accounts: {
      ...text.accounts,
      days: text.accounts.days.toSorted((left, right) => left[0] - right[0] || (left[1] < right[1] ? -1 : 1)),
      blocks: text.accounts.blocks.toSorted((left, right) => (left[0] < right[0] ? -1 : 1)),
    },
    open: text.open.toSorted((left, right) => left.counter - right.counter),
  });

/** Do two states count the same, whatever the order in which they were written down? */
export const sameState = (left: StateText, right: StateText): boolean => sorted(left) === sorted(right);

export interface ScanOptions {
  readonly journal: DurableFile;
  readonly start: JournalStart;
  readonly place: Pick<LedgerPlace, 'dataKey' | 'site'>;
  /** The last record that is read. */
  readonly upTo?: number;
  /** Called after each record; what it returns is awaited. */
  readonly at?: (counter: number, state: LedgerState) => void | Promise<void>;
  readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

/** Every sound record applied, in order, to a state of its own. @throws QflError when a sound record does not open or fit */
export const replayForCheck = async ({
  journal,
  start,
  place,
  upTo = Infinity,
  at,
  onProgress,
}: ScanOptions) => {
  const state = stateAtStart(start);
  const apply = applyTo(state, place);
  const bytesTotal = await journal.size();
  const end = await scanJournal(
    journal,
    (frame) => {
      apply(frame);
      if (frame.counter % PACE_RECORDS === 0)
        onProgress?.({ bytesDone: frame.offset, bytesTotal, records: frame.counter + 1 });
      return at?.(frame.counter, state);
    },
    start.head,
    upTo,
  );
  onProgress?.({ bytesDone: end.head.size, bytesTotal, records: end.head.counter + 1 });
  return { state, ...end };
};

const HASH_CHUNK_BYTES = 64 * 1024 * 1024;

/** BLAKE2b-256 of a file; of the hashes of its pieces where it is longer than one. */
export const hashOfFile = async (file: DurableFile): Promise<{ bytes: number; hash: string }> => {
  const bytes = await file.size();
  const pieces: Uint8Array[] = [];
  for (let offset = 0; offset < bytes; offset += HASH_CHUNK_BYTES)
    pieces.push(blake2b(HASH_BYTES, await file.read(offset, HASH_CHUNK_BYTES)));
  return {
    bytes,
    hash: toHex(pieces.length === 1 ? pieces[0]! : blake2b(HASH_BYTES, Buffer.concat(pieces))),
  };
};

const archiveState = async (
  folder: LedgerFolder,
  { base }: JournalStart,
): Promise<VerifyReport['archive']> => {
  if (base === undefined) return null;
  const { name, bytes, hash } = base.archive;
  const file = await folder.open(name);
  if (file === undefined) return { name, state: 'elsewhere' };
  const found = await hashOfFile(file);
  await file.close();
  return { name, state: found.hash === hash && found.bytes === bytes ? 'sound' : 'damaged' };
};

const markFaults = (mark: Head | undefined, head: Head, hashes: ReadonlyMap<number, string>): string[] => {
  if (mark === undefined) return ['the mark of the ledger does not read'];
  if (mark.counter > head.counter)
    return [`the journal ends at record ${head.counter}, before its mark at ${mark.counter}`];
  return hashes.get(mark.counter) === toHex(mark.hash) ? [] : ['the mark is that of another journal'];
};

const openedOrDamaged = async (folder: LedgerFolder, name: string): Promise<DurableFile> => {
  const file = await folder.open(name);
  if (file !== undefined) return file;
  throw new QflError('ledger_damaged', {
    detail: `the file ${name} of the privacy ledger is missing`,
    next: 'Restore the ledger from the newest backup with "qfl agent ledger restore".',
  });
};

const inspect = async (
  place: LedgerPlace,
  files: { readonly journal: DurableFile; readonly mark: DurableFile },
  onProgress: ScanOptions['onProgress'],
): Promise<VerifyReport> => {
  const { folder } = place;
  const { journal } = files;
  const start = await readStart(journal, place);
  const mark = (await readMark(files.mark))?.head;
  const checkpoints = await readCheckpoints(place);
  const kept = await readCountersigned(folder);
  // One of a time before a restore or a compaction is never taken up, and no fault.
  const ours = new Set<string>();
  for (const { name, checkpoint } of checkpoints) {
    const begins = checkpoint.offsets.first === start.head.counter + 1;
    if (begins && (await isOfJournal(journal, checkpoint).catch(() => false))) ours.add(name);
  }
  const agrees = new Map<string, boolean>();
  const hashes = new Map<number, string>();
  if (start.head.counter >= 0) hashes.set(start.head.counter, toHex(start.head.hash));
  const compare = (counter: number, state: LedgerState): void => {
    for (const { name, checkpoint } of checkpoints)
      if (ours.has(name) && checkpoint.head.counter === counter)
        agrees.set(name, sameState(checkpoint.state, state.toText()));
  };
  const { state, head, fileSize } = await replayForCheck({ journal, start, place, at: compare, onProgress });
  hashes.set(head.counter, toHex(head.hash));
  if (mark !== undefined && mark.counter < head.counter && mark.counter > start.head.counter)
    hashes.set(mark.counter, toHex((await hashAt({ journal, state, start, head }, mark.counter))!));
  const faults = markFaults(mark, head, hashes);
  if (head.size < fileSize) faults.push(`record ${head.counter + 1} is damaged or torn`);
  const against =
    kept === undefined
      ? undefined
      : await faultAgainst({ journal, state, start, head }, witnessedOf(countersignedFacts(kept)));
  if (against !== undefined) faults.push(against.detail ?? against.title);
  const archive = await archiveState(folder, start);
  if (archive?.state === 'damaged') faults.push(`the archive ${archive.name} is damaged`);
  const shown = checkpoints.map(({ name, checkpoint }) => ({
    name,
    counter: checkpoint.head.counter,
    agrees: agrees.get(name) ?? false,
  }));
  for (const { name, counter } of shown)
    if (agrees.get(name) === false)
      faults.push(`the checkpoint ${name} of record ${counter} counts otherwise`);
  return {
    sound: faults.length === 0,
    faults,
    records: head.counter - start.head.counter,
    bytes: head.size,
    head: head.counter < 0 ? null : { counter: head.counter, hash: toHex(head.hash) },
    epoch: head.counter < 0 ? 0 : state.epoch(),
    lifetimeUnits:
      head.counter < 0 ? '0' : String(scalarOf(state.policy().limits.rule, state.accounts().lifetime())),
    countersigned:
      kept === undefined ? null : { epoch: kept.signed.head.epoch, counter: kept.signed.head.counter },
    checkpoints: shown,
    archive,
  };
};

/**
 * Verifies a ledger whose agent is stopped. Damage is in the report.
 * @throws QflError `conflict` (it runs), `ledger_damaged` when there is nothing to read, `ledger_refuses` for another site's
 */
export const verifyLedger = async (
  place: LedgerPlace,
  onProgress?: (progress: VerifyProgress) => void,
): Promise<VerifyReport> => {
  const unlock = await place.folder.lock();
  const opened: DurableFile[] = [];
  try {
    const journal = await openedOrDamaged(place.folder, JOURNAL_NAME);
    opened.push(journal);
    const mark = await openedOrDamaged(place.folder, MARK_NAME);
    opened.push(mark);
    return await inspect(place, { journal, mark }, onProgress);
  } finally {
    for (const file of opened) await file.close();
    await unlock();
  }
};
