/** Making a ledger (only `join` does) and bringing one back: verify, replay, settle what a crash left open. */
import { assert, QflError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/clock.ts';
import type { SiteId } from '../../shared/ids.ts';
import { bufferedRandom } from '../../shared/privacy/random-bits.ts';
import { type RandomBytes, secureRandomBytes } from '../../shared/random.ts';
import { openAtRest, sealAtRest } from '../../shared/store/encrypted.ts';
import type { Store } from '../../shared/store/port.ts';
import { type AnswerIndex, createAnswerIndex, type Ended, keyDigest } from './answer-index.ts';
import type { DurableFile, LedgerFolder } from './disk.ts';
import { encodeFrame } from './frame.ts';
import { createKeyFilter, hashKey, type KeyFilter } from './key-filter.ts';
import { createPolicy, type LedgerLimits } from './limits.ts';
import { type Head, readMark, resetMark } from './mark.ts';
import { decodeRecord, encodeRecord } from './records.ts';
import { recoverJournal, type WitnessedHead } from './recover.ts';
import { EMPTY_HEAD, type Scanned, scanJournal } from './scan.ts';
import { createState, type LedgerState } from './state.ts';
import { dayOf } from './window.ts';
import { recordName } from './writer.ts';

export const JOURNAL_NAME = 'ledger.journal';
export const MARK_NAME = 'ledger.mark';
export const RESERVE_NAME = 'ledger.reserve';

/** Space kept for the shutdown of the other parts of the program when the disk is full. */
const RESERVE_BYTES = 1024 * 1024;
const FREE_BYTES_FLOOR = 64 * 1024 * 1024;
const INDEX_BATCH = 1_000;

export interface LedgerPlace {
  readonly folder: LedgerFolder;
  /** 32 bytes; every record is sealed under it. */
  readonly dataKey: Uint8Array;
  readonly clock: Clock;
  readonly site: SiteId;
  readonly random?: RandomBytes;
}

export interface OpenOptions extends LedgerPlace {
  /** For the index; encrypted by the caller (`encryptedStore`). */
  readonly store: Store;
  /** UTC day of the coordinator's signed time; undefined while not connected. */
  readonly confirmedDay?: () => number | undefined;
  /** Heads that others countersigned: the journal must hold each of them. */
  readonly witnessed?: readonly WitnessedHead[];
  /** The ledger does not open with less space than this. */
  readonly freeBytesFloor?: number;
  readonly reserveBytes?: number;
}

/** A ledger that is verified and may be written. */
export interface OpenedLedger {
  readonly state: LedgerState;
  readonly index: AnswerIndex;
  /** Of the keys in the index. */
  readonly filter: KeyFilter;
  readonly head: Head;
  readonly journal: DurableFile;
  readonly mark: DurableFile;
  readonly random: RandomBytes;
  readonly unlock: () => Promise<void>;
}

const storage = (cause: unknown): never => {
  if (cause instanceof QflError) throw cause;
  throw new QflError('storage_failed', { detail: 'the privacy ledger could not be read or written', cause });
};

/** What an interrupted `createLedger` leaves: no readable mark, and no charge in the journal. */
const removeHalfMade = async (folder: LedgerFolder): Promise<void> => {
  const mark = await folder.open(MARK_NAME);
  const marked = mark !== undefined && (await readMark(mark)) !== undefined;
  await mark?.close();
  const journal = await folder.open(JOURNAL_NAME);
  const records = journal === undefined ? -1 : (await scanJournal(journal, () => undefined)).head.counter;
  const size = (await journal?.size()) ?? 0;
  await journal?.close();
  // A journal of one sound record that carries on beyond it is damage, not an interrupted beginning, unless nothing was ever marked.
  if (marked || records > 0 || size > GENESIS_BYTES_MAX) {
    throw new QflError('conflict', {
      detail: 'there is a privacy ledger here already',
      next: 'Start the agent with it. A ledger is made once, when a site joins.',
    });
  }
  await folder.remove(JOURNAL_NAME);
  await folder.remove(MARK_NAME);
};

const GENESIS_BYTES_MAX = 64 * 1024;

const writeGenesis = async (
  journal: DurableFile,
  place: LedgerPlace,
  limits: LedgerLimits,
): Promise<Head> => {
  const { dataKey, clock, site, random = secureRandomBytes } = place;
  const { orders } = createPolicy(limits);
  const nowMs = Math.max(0, Math.floor(clock.nowMs()));
  const payload = encodeRecord({
    type: 'genesis',
    version: 1,
    site,
    day: dayOf(nowMs),
    limits,
    orders,
    atMs: nowMs,
  });
  const { bytes, hash } = encodeFrame(
    0,
    EMPTY_HEAD.hash,
    sealAtRest(dataKey, recordName(0), payload, random),
  );
  assert(bytes.byteLength <= GENESIS_BYTES_MAX, 'the first record is small');
  await journal.write(bytes, 0);
  await journal.sync();
  return { counter: 0, hash, size: bytes.byteLength };
};

/**
 * Makes the ledger of a site that joins. A run of it that was cut off is begun anew.
 * @throws QflError `conflict` when there is a ledger or somebody holds the folder, `storage_failed`.
 */
export const createLedger = async (place: LedgerPlace & { readonly limits: LedgerLimits }): Promise<void> => {
  const unlock = await place.folder.lock();
  try {
    await removeHalfMade(place.folder);
    const journal = await place.folder.create(JOURNAL_NAME);
    const head = await writeGenesis(journal, place, place.limits);
    await journal.close();
    const mark = await place.folder.create(MARK_NAME);
    await resetMark(mark, head);
    await mark.close();
  } catch (cause) {
    storage(cause);
  } finally {
    await unlock();
  }
};

const needSpace = async (folder: LedgerFolder, floorBytes: number): Promise<void> => {
  const freeBytes = await folder.freeBytes();
  if (freeBytes >= floorBytes) return;
  throw new QflError('ledger_refuses', {
    detail: 'too little disk space is left for the privacy ledger',
    next: 'Free disk space, then start the agent again.',
    facts: { freeBytes, floorBytes },
  });
};

const openExisting = async (folder: LedgerFolder, name: string): Promise<DurableFile> => {
  const file = await folder.open(name);
  if (file !== undefined) return file;
  throw new QflError('ledger_refuses', {
    detail: `the file ${name} of the privacy ledger is missing`,
    next: 'Restore the ledger from the newest backup. A new one is made only when a site joins.',
  });
};

const keepReserve = async (folder: LedgerFolder, bytes: number): Promise<void> => {
  const known = await folder.open(RESERVE_NAME);
  const file = known ?? (await folder.create(RESERVE_NAME));
  if ((await file.size()) !== bytes) {
    await file.truncate(0);
    await file.write(new Uint8Array(bytes), 0);
    await file.sync();
  }
  await file.close();
};

/** Decrypts and applies one verified record. */
const applyTo = (state: LedgerState, { dataKey, site }: LedgerPlace) => {
  return (frame: Scanned): Ended | undefined => {
    const { record } = decodeRecord(openAtRest(dataKey, recordName(frame.counter), frame.sealed));
    if (record.type === 'genesis' && record.site !== site)
      throw new QflError('ledger_refuses', {
        detail: 'the privacy ledger belongs to another site',
        next: 'Point the agent at its own data folder.',
        facts: { ledgerSite: record.site, site },
      });
    return state.apply(record, frame);
  };
};

/** Brings the index up to the journal while it is replayed, and says whether it then holds what it should. */
const indexFollower = async (index: AnswerIndex, filter: KeyFilter) => {
  const known = await index.counter();
  const digest = keyDigest();
  let batch: Ended[] = [];
  const flush = async (counter: number): Promise<void> => {
    if (batch.length > 0) await index.add(batch, counter);
    batch = [];
  };
  return {
    follow: (ended: Ended | undefined, counter: number): void | Promise<void> => {
      if (ended === undefined) return undefined;
      const keyHash = hashKey(ended.key);
      digest.add(keyHash);
      filter.add(keyHash);
      if (counter <= known) return undefined;
      batch.push(ended);
      return batch.length < INDEX_BATCH ? undefined : flush(counter);
    },
    flush,
    sound: async (): Promise<boolean> => digest.equals(await index.digest()),
  };
};

/** The index as the journal has it; `undefined` from a replay means that the index did not agree. */
const replay = async (
  options: OpenOptions,
  journal: DurableFile,
  mark: DurableFile,
  index: AnswerIndex,
  filter: KeyFilter,
): Promise<{ readonly state: LedgerState; readonly head: Head } | undefined> => {
  const state = createState();
  const apply = applyTo(state, options);
  const follower = await indexFollower(index, filter);
  const head = await recoverJournal(journal, mark, options.witnessed ?? [], (frame) =>
    follower.follow(apply(frame), frame.counter),
  );
  await follower.flush(head.counter);
  return (await follower.sound()) ? { state, head } : undefined;
};

const replayWithIndex = async (options: OpenOptions, journal: DurableFile, mark: DurableFile) => {
  const filter = createKeyFilter();
  const index = createAnswerIndex(options.store, filter);
  const first = await replay(options, journal, mark, index, filter);
  if (first !== undefined) return { ...first, index, filter };
  await index.clear();
  const second = await replay(options, journal, mark, index, filter);
  if (second !== undefined) return { ...second, index, filter };
  throw new QflError('storage_failed', {
    detail: 'the index of the privacy ledger could not be rebuilt',
    next: 'Check the disk: the local store does not keep what is written to it.',
  });
};

/**
 * Opens and verifies the ledger in full.
 * @throws QflError `conflict` (somebody holds it), `ledger_refuses` (missing, behind its anchor, another site's, no space), `ledger_damaged`,
 * `storage_failed`.
 */
export const openVerified = async (options: OpenOptions): Promise<OpenedLedger> => {
  const { folder, random = secureRandomBytes } = options;
  const unlock = await folder.lock();
  const opened: DurableFile[] = [];
  try {
    await needSpace(folder, options.freeBytesFloor ?? FREE_BYTES_FLOOR);
    const journal = await openExisting(folder, JOURNAL_NAME);
    opened.push(journal);
    const mark = await openExisting(folder, MARK_NAME);
    opened.push(mark);
    const replayed = await replayWithIndex(options, journal, mark);
    await keepReserve(folder, options.reserveBytes ?? RESERVE_BYTES);
    return { ...replayed, journal, mark, random: bufferedRandom(random), unlock };
  } catch (cause) {
    for (const file of opened.toReversed()) await file.close();
    await unlock();
    return storage(cause);
  }
};
