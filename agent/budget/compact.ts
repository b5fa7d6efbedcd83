/**
 * Makes the journal short: records older than any retry can be move to an archive, and one sealed frame says what they came to (`base.ts`). The
 * spend does not change, the chain of what stays is the same bytes. In this order, each step durable before the next, so that a crash leaves
 * the old journal or the new one, both whole:
 *
 *     archive = the old journal up to the cut → new journal beside it → renamed over the old one
 */
import { assert, QflError } from '../../shared/errors.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { openAtRest } from '../../shared/store/encrypted.ts';
import { type BaseContent, encodeBase, readStart } from './base.ts';
import { CHECKPOINT_NAMES } from './checkpoint.ts';
import { countersignedFacts, readCountersigned } from './countersigned.ts';
import type { DurableFile, LedgerFolder } from './disk.ts';
import { type Head, resetMark } from './mark.ts';
import { JOURNAL_NAME, type LedgerPlace, MARK_NAME } from './open.ts';
import { decodeRecord } from './records.ts';
import { stateAtStart } from './replay.ts';
import { scanJournal } from './scan.ts';
import type { StateText } from './state.ts';
import { hashOfFile, verifyLedger } from './verify.ts';
import { recordName } from './writer.ts';

const NEW_NAME = 'ledger.journal.new';
const COPY_CHUNK_BYTES = 4 * 1024 * 1024;

export interface CompactReport {
  /** False when there was nothing old enough, or never a moment without an open reservation. */
  readonly compacted: boolean;
  readonly recordsOut: number;
  readonly recordsKept: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly archive: string | null;
}

interface Cut {
  readonly head: Head;
  readonly state: StateText;
}

/** The last moment before `beforeMs` at which nothing was open, and where the journal ends. */
const findCut = async (
  journal: DurableFile,
  place: LedgerPlace,
  beforeMs: number,
): Promise<{ readonly cut: Cut | undefined; readonly end: Head }> => {
  const start = await readStart(journal, place);
  const state = stateAtStart(start);
  let quiet: Head | undefined;
  let isOld = true;
  const { head: end } = await scanJournal(
    journal,
    (frame) => {
      const { record } = decodeRecord(openAtRest(place.dataKey, recordName(frame.counter), frame.sealed));
      // What comes after the first young record is young: clocks that went back do not make a later record old.
      isOld &&= record.atMs < beforeMs;
      state.apply(record, frame);
      if (!isOld || state.open.size > 0) return;
      quiet = { counter: frame.counter, hash: frame.hash, size: frame.offset + frame.bytes };
    },
    start.head,
  );
  if (quiet === undefined) return { cut: undefined, end };
  // Read again up to the cut, for the state there: keeping one for each candidate would cost more.
  const again = stateAtStart(start);
  await scanJournal(
    journal,
    (frame) => {
      const { record } = decodeRecord(openAtRest(place.dataKey, recordName(frame.counter), frame.sealed));
      again.apply(record, frame);
    },
    start.head,
    quiet.counter,
  );
  return { cut: { head: quiet, state: again.toText() }, end };
};

const copy = async (
  from: DurableFile,
  range: { start: number; end: number },
  to: DurableFile,
  at: number,
) => {
  for (let offset = range.start; offset < range.end; offset += COPY_CHUNK_BYTES) {
    const bytes = await from.read(offset, Math.min(COPY_CHUNK_BYTES, range.end - offset));
    await to.write(bytes, at + offset - range.start);
  }
};

const fresh = async (folder: LedgerFolder, name: string): Promise<DurableFile> => {
  await folder.remove(name);
  return await folder.create(name);
};

const writeArchive = async (
  folder: LedgerFolder,
  journal: DurableFile,
  { head }: Cut,
): Promise<BaseContent['archive']> => {
  const name = `ledger.archive.${head.counter}`;
  const file = await fresh(folder, name);
  try {
    await copy(journal, { start: 0, end: head.size }, file, 0);
    await file.sync();
    return { name, ...(await hashOfFile(file)) };
  } finally {
    await file.close();
  }
};

const writeShort = async (
  place: LedgerPlace,
  journal: DurableFile,
  { cut, end, content }: { readonly cut: Cut; readonly end: Head; readonly content: BaseContent },
): Promise<number> => {
  const { folder, dataKey, site, random = secureRandomBytes } = place;
  const base = encodeBase(cut.head, content, { dataKey, site, random });
  const file = await fresh(folder, NEW_NAME);
  try {
    await file.write(base, 0);
    await copy(journal, { start: cut.head.size, end: end.size }, file, base.byteLength);
    await file.sync();
  } finally {
    await file.close();
  }
  await folder.rename(NEW_NAME, JOURNAL_NAME);
  return base.byteLength + end.size - cut.head.size;
};

/** Both slots of the mark at the end: one of them alone may name a record that is about to go. */
const markEnd = async (folder: LedgerFolder, journal: DurableFile, end: Head): Promise<void> => {
  const mark = await folder.open(MARK_NAME);
  assert(mark !== undefined, 'a ledger that was verified has a mark');
  await journal.sync();
  await resetMark(mark, end);
  await mark.close();
};

const compactOpen = async (
  place: LedgerPlace,
  journal: DurableFile,
  beforeMs: number,
): Promise<CompactReport> => {
  const { folder, clock } = place;
  const start = await readStart(journal, place);
  const { cut, end } = await findCut(journal, place, beforeMs);
  const bytesBefore = end.size;
  if (cut === undefined)
    return {
      compacted: false,
      recordsOut: 0,
      recordsKept: end.counter - start.head.counter,
      bytesBefore,
      bytesAfter: bytesBefore,
      archive: null,
    };
  await markEnd(folder, journal, end);
  const kept = await readCountersigned(folder);
  const archive = await writeArchive(folder, journal, cut);
  const content: BaseContent = {
    version: 1,
    state: cut.state,
    archive,
    countersigned: kept === undefined ? (start.base?.countersigned ?? null) : countersignedFacts(kept),
    atMs: Math.max(0, Math.floor(clock.nowMs())),
  };
  const bytesAfter = await writeShort(place, journal, { cut, end, content });
  // They point into the old file; never taken up, and of no use.
  for (const name of CHECKPOINT_NAMES) await folder.remove(name);
  return {
    compacted: true,
    recordsOut: cut.head.counter - start.head.counter,
    recordsKept: end.counter - cut.head.counter,
    bytesBefore,
    bytesAfter,
    archive: archive.name,
  };
};

/**
 * Takes out what is older than `beforeMs`: at least as long ago as a question can be repeated. Only a ledger that is sound in full is compacted.
 * The agent must be stopped.
 * @throws QflError `conflict` (it runs), `ledger_damaged`, `storage_failed`
 */
export const compactLedger = async (place: LedgerPlace, beforeMs: number): Promise<CompactReport> => {
  const { faults } = await verifyLedger(place);
  if (faults.length > 0)
    throw new QflError('ledger_damaged', {
      detail: `only a sound ledger is compacted: ${faults.join('; ')}`,
      next: 'See "qfl agent ledger verify".',
    });
  const unlock = await place.folder.lock();
  try {
    const journal = await place.folder.open(JOURNAL_NAME);
    if (journal === undefined) throw new QflError('ledger_damaged', { detail: 'the journal is gone' });
    try {
      return await compactOpen(place, journal, beforeMs);
    } finally {
      await journal.close();
    }
  } catch (cause) {
    if (cause instanceof QflError) throw cause;
    throw new QflError('storage_failed', { detail: 'the privacy ledger could not be compacted', cause });
  } finally {
    await unlock();
  }
};
