/** What the parts of a running ledger share: one writer, one state, one index, and the day. */
import type { Clock } from '../../shared/clock.ts';
import type { QflError } from '../../shared/errors.ts';
import { openAtRest } from '../../shared/store/encrypted.ts';
import { faultAgainst, type WitnessedHead } from './anchor.ts';
import type { AnswerIndex, Ended } from './answer-index.ts';
import { CHECKPOINT_RECORDS, type CheckpointKeeper, createCheckpointKeeper } from './checkpoint-keeper.ts';
import type { DurableFile, LedgerFolder } from './disk.ts';
import { createIndexFeed } from './index-feed.ts';
import { type OpenedLedger, type OpenOptions, RESERVE_NAME } from './open.ts';
import { type DecodedRecord, decodeRecord, encodeRecord, type LedgerRecord } from './records.ts';
import type { Frame } from './frame.ts';
import { readFrames, scanJournal } from './scan.ts';
import type { LedgerState } from './state.ts';
import { dayOf, decideWindow, type WindowDecision } from './window.ts';
import { type Appended, createWriter, recordName, type Writer } from './writer.ts';

/** Records that may wait for the disk, and queries that may run, at one time. */
const QUEUE_RECORDS_MAX = 20_000;

export interface WrittenRecord extends DecodedRecord {
  readonly hash: Uint8Array;
  readonly counter: number;
}

export interface Core {
  readonly state: LedgerState;
  readonly index: AnswerIndex;
  readonly writer: Writer;
  readonly journal: DurableFile;
  readonly queueRecordsMax: number;
  /** Wall clock for records: whole milliseconds, never negative. */
  nowMs(): number;
  /** Queues the record and counts it, at once. */
  write(record: LedgerRecord, answer?: Uint8Array): Appended & { readonly ended: Ended | undefined };
  /** Hands an ended query to the index; `held` when it is there. */
  toIndex(ended: Ended, counter: number, held: () => void): void;
  read(offset: number): Promise<WrittenRecord>;
  /** Opens the next day where that is due, and says what was decided. */
  turnDay(): { readonly decision: WindowDecision; readonly clockDay: number };
  /** After an undo: the next day on the local clock's word needs 24 h again. */
  restartUptime(): void;
  /** Day of the coordinator's signed time. */
  confirmedDay(): number | undefined;
  /** Every durable record, in order. */
  eachRecord(visit: (record: WrittenRecord) => void): Promise<void>;
  /** Runs `work` while nothing else is charged or given back. */
  exclusively<Value>(work: () => Promise<Value>): Promise<Value>;
  /** Resolves at once unless `exclusively` is at work. Nothing may be awaited between this and the change it guards. */
  gate(): Promise<void>;
  /** Writes the end of what a crash left open. */
  settleOpen(): Promise<void>;
  readonly checkpoints: CheckpointKeeper;
  /** What speaks against this journal in the light of a countersigned head; undefined when it holds it. */
  against(witnessed: WitnessedHead): Promise<QflError | undefined>;
  /** The first record that is still there, as far as it needs to be known: where to start reading. */
  readonly start: OpenedLedger['start'];
  close(): Promise<void>;
}

const openFrame = (dataKey: Uint8Array, { counter, hash, sealed }: Frame): WrittenRecord => ({
  ...decodeRecord(openAtRest(dataKey, recordName(counter), sealed)),
  counter,
  hash,
});

/** Holds back whoever comes while one piece of work has the ledger to itself. */
const createGate = (idle: () => Promise<void>): Pick<Core, 'exclusively' | 'gate'> => {
  let busy: Promise<unknown> | undefined;
  const gate = async (): Promise<void> => {
    const waiting = busy;
    if (waiting === undefined) return;
    await waiting.catch(() => undefined);
    await gate();
  };
  return {
    gate,
    async exclusively(work) {
      await gate();
      const task = (async () => {
        // Whoever passed the gate in this turn gets to queue its record first.
        await new Promise((resolve) => setImmediate(resolve));
        await idle();
        return await work();
      })();
      busy = task;
      try {
        return await task;
      } finally {
        busy = undefined;
      }
    },
  };
};

const dayTurner = (
  clock: Clock,
  state: LedgerState,
  confirmedDay: () => number | undefined,
  write: (record: LedgerRecord) => unknown,
) => {
  let openedMs = clock.monotonicMs();
  return {
    restartUptime: () => {
      openedMs = clock.monotonicMs();
    },
    turnDay: (): { decision: WindowDecision; clockDay: number } => {
      const nowMs = Math.max(0, Math.floor(clock.nowMs()));
      const monotonicMs = clock.monotonicMs();
      const clockDay = dayOf(nowMs);
      const decision = decideWindow({
        day: state.accounts().day(),
        clockDay,
        confirmedDay: confirmedDay(),
        sinceOpenedMs: monotonicMs - openedMs,
      });
      if (decision.step === 'open') {
        openedMs = monotonicMs;
        write({ type: 'window', day: decision.day, cause: decision.cause, atMs: nowMs });
      }
      return { decision, clockDay };
    },
  };
};

/** Best effort: the other parts of the program get room to shut down in order. */
const freeReserve = async (folder: LedgerFolder): Promise<void> => {
  try {
    await folder.remove(RESERVE_NAME);
  } catch {
    // The disk failed already; the ledger has stopped either way.
  }
};

export const createCore = (options: OpenOptions, opened: OpenedLedger): Core => {
  const { folder, dataKey, clock, confirmedDay = () => undefined } = options;
  const { state, index, journal, mark, start, unlock } = opened;
  const writer = createWriter({
    journal,
    mark,
    head: opened.head,
    dataKey,
    random: opened.random,
    queueRecordsMax: QUEUE_RECORDS_MAX,
    onFault: () => void freeReserve(folder),
  });
  const feed = createIndexFeed(index, (cause) => writer.poison(cause));
  const toIndex: Core['toIndex'] = (ended, counter, held) => feed.push(ended, counter, held);
  const checkpoints = createCheckpointKeeper({
    place: { folder, dataKey, site: options.site },
    everyRecords: options.checkpointRecords ?? CHECKPOINT_RECORDS,
    random: opened.random,
    state,
    index,
    filter: opened.filter,
    digest: opened.digest,
    writer,
    async lastOffset() {
      const { counter } = writer.durableHead();
      const near = state.offsetNear(counter);
      const frames = await readFrames(journal, near.offset, counter - near.counter + 1);
      return frames.at(-1)!.offset;
    },
    last: opened.checkpoint,
    onFault: (cause) => options.onCheckpointFault?.(cause),
  });
  const nowMs = (): number => Math.max(0, Math.floor(clock.nowMs()));
  const write: Core['write'] = (record, answer) => {
    const appended = writer.append(encodeRecord(record, answer));
    const ended = state.apply(record, appended);
    if (ended !== undefined) index.owe(ended);
    checkpoints.written(appended);
    return { ...appended, ended };
  };
  const settleOpen = async (): Promise<void> => {
    const written = [...state.open.keys()].map((reserved) =>
      write({ type: 'unknown', reserved, cause: 'restart', atMs: nowMs() }),
    );
    await Promise.all(written.map(({ durable }) => durable));
    for (const { ended, counter } of written)
      if (ended !== undefined) toIndex(ended, counter, () => undefined);
    await feed.idle();
  };
  const close = async (): Promise<void> => {
    await writer.close();
    await feed.idle();
    if (writer.fault() === undefined) await checkpoints.finish();
    await mark.close();
    await journal.close();
    await unlock();
  };
  return {
    state,
    index,
    writer,
    journal,
    queueRecordsMax: QUEUE_RECORDS_MAX,
    nowMs,
    write,
    toIndex,
    read: async (offset) => openFrame(dataKey, (await readFrames(journal, offset, 1))[0]!),
    ...dayTurner(clock, state, confirmedDay, write),
    confirmedDay,
    ...createGate(() => writer.idle()),
    async eachRecord(visit) {
      await scanJournal(journal, (frame) => visit(openFrame(dataKey, frame)), start.head);
    },
    checkpoints,
    against: (witnessed) => faultAgainst({ journal, state, start, head: writer.durableHead() }, witnessed),
    start,
    settleOpen,
    close,
  };
};
