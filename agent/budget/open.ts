/** Making a ledger (only `join` does) and bringing one back: verify, replay, settle what a crash left open. */
import { assert, QflError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/clock.ts';
import type { SiteId } from '../../shared/ids.ts';
import { bufferedRandom } from '../../shared/privacy/random-bits.ts';
import type { CountersignedHead } from '../../shared/wire/ledger-head.ts';
import { type RandomBytes, secureRandomBytes } from '../../shared/random.ts';
import { sealAtRest } from '../../shared/store/encrypted.ts';
import type { Store } from '../../shared/store/port.ts';
import { faultAgainst, type WitnessedHead, witnessedOf } from './anchor.ts';
import { type JournalStart, readStart } from './base.ts';
import { readCheckpoints } from './checkpoint.ts';
import { countersignedFacts, readCountersigned } from './countersigned.ts';
import type { DurableFile, LedgerFolder } from './disk.ts';
import { encodeFrame } from './frame.ts';
import { createPolicy, type LedgerLimits } from './limits.ts';
import { type Head, readMark, resetMark } from './mark.ts';
import { encodeRecord } from './records.ts';
import { type Replayed, replayFrom, replayWhole, type ReplayOptions } from './replay.ts';
import { EMPTY_HEAD, scanJournal } from './scan.ts';
import { dayOf } from './window.ts';
import { recordName } from './writer.ts';

export const JOURNAL_NAME = 'ledger.journal';
export const MARK_NAME = 'ledger.mark';
export const RESERVE_NAME = 'ledger.reserve';

/** Space kept for the shutdown of the other parts of the program when the disk is full. */
const RESERVE_BYTES = 1024 * 1024;
const FREE_BYTES_FLOOR = 64 * 1024 * 1024;

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
  /** A checkpoint is written each time so many records were added. */
  readonly checkpointRecords?: number;
  /** A checkpoint could not be written; charges go on, the next start takes longer. */
  readonly onCheckpointFault?: (cause: unknown) => void;
  /** Checkpoints are not read: everything is verified from the first record on. */
  readonly verifyAll?: boolean;
}

/** A ledger that is verified and may be written. */
export interface OpenedLedger extends Replayed {
  readonly start: JournalStart;
  readonly journal: DurableFile;
  readonly mark: DurableFile;
  readonly random: RandomBytes;
  /** Which checkpoint was taken up; undefined after a whole replay. */
  readonly checkpoint: { readonly name: string; readonly counter: number } | undefined;
  /** The newest countersigned head that is kept beside the journal. */
  readonly countersigned: CountersignedHead | undefined;
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
    version: 3,
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

/**
 * The newest checkpoint that everything agrees with; what follows it is verified and replayed. Whatever is wrong, with it or with what
 * follows, the whole replay says it: a checkpoint makes a start short and decides nothing.
 */
const fromCheckpoint = async (
  options: OpenOptions,
  replay: ReplayOptions,
): Promise<(Replayed & { readonly checkpoint: OpenedLedger['checkpoint'] }) | undefined> => {
  if (options.verifyAll === true) return undefined;
  const { folder, dataKey, site } = options;
  for (const { name, checkpoint } of await readCheckpoints({ folder, dataKey, site })) {
    try {
      const replayed = await replayFrom(checkpoint, replay);
      if (replayed !== undefined)
        return { ...replayed, checkpoint: { name, counter: checkpoint.head.counter } };
    } catch {
      // The next one, and in the end the whole journal, will say what it is.
    }
  }
  return undefined;
};

const approval =
  (
    witnesses: readonly WitnessedHead[],
    journal: DurableFile,
    start: JournalStart,
  ): ReplayOptions['approve'] =>
  async (state, { head }) => {
    for (const witnessed of witnesses) {
      const fault = await faultAgainst({ journal, state, start, head }, witnessed);
      if (fault !== undefined) throw fault;
    }
  };

/**
 * Opens the ledger: from its newest checkpoint where that is sound, verified in full otherwise.
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
    const start = await readStart(journal, options);
    const countersigned = await readCountersigned(folder);
    const witnesses = [
      ...(options.witnessed ?? []),
      ...(countersigned === undefined ? [] : [witnessedOf(countersignedFacts(countersigned))]),
    ];
    const replay: ReplayOptions = {
      ...options,
      journal,
      markFile: mark,
      start,
      approve: approval(witnesses, journal, start),
    };
    const replayed = (await fromCheckpoint(options, replay)) ?? {
      ...(await replayWhole(replay)),
      checkpoint: undefined,
    };
    await keepReserve(folder, options.reserveBytes ?? RESERVE_BYTES);
    return { ...replayed, start, journal, mark, countersigned, random: bufferedRandom(random), unlock };
  } catch (cause) {
    for (const file of opened.toReversed()) await file.close();
    await unlock();
    return storage(cause);
  }
};
