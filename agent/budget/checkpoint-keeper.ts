/** Writes checkpoints behind the charges: now and then, one at a time, and at the end. */
import type { RandomBytes } from '../../shared/random.ts';
import type { AnswerIndex } from './answer-index.ts';
import { CHECKPOINT_NAMES, type CheckpointPlace, packCheckpoint, writeCheckpoint } from './checkpoint.ts';
import type { KeyDigest, KeyFilter } from './key-filter.ts';
import type { LedgerState } from './state.ts';
import type { Appended, Writer } from './writer.ts';

/** About a second of replay. */
export const CHECKPOINT_RECORDS = 32_768;
/** A replay this short is not worth a checkpoint when the ledger is closed. */
const CLOSE_RECORDS_MIN = 4_096;

export interface KeeperOptions {
  readonly place: CheckpointPlace;
  readonly everyRecords: number;
  readonly random: RandomBytes;
  readonly state: LedgerState;
  readonly index: AnswerIndex;
  readonly filter: KeyFilter;
  readonly digest: KeyDigest;
  readonly writer: Writer;
  /** Offset of the last record that is durable. */
  readonly lastOffset: () => Promise<number>;
  /** The checkpoint that the ledger was opened from. */
  readonly last: { readonly name: string; readonly counter: number } | undefined;
  readonly onFault: (cause: unknown) => void;
}

export interface CheckpointKeeper {
  /** A record was written and counted; nothing was awaited since. */
  written(record: Appended): void;
  /** Before the first record: after a whole replay of a long journal the next start shall be short. */
  opened(): Promise<void>;
  /** The last checkpoint that is on the disk; −1 when there is none. */
  counter(): number;
  idle(): Promise<void>;
  /** After the last record, with the index idle. */
  finish(): Promise<void>;
}

export const createCheckpointKeeper = (options: KeeperOptions): CheckpointKeeper => {
  const { place, everyRecords, random, state, index, filter, digest, writer, onFault } = options;
  const closeRecords = Math.min(everyRecords, CLOSE_RECORDS_MIN);
  let kept = options.last?.counter ?? -1;
  let keptName = options.last?.name;
  let tried = kept;
  let running: Promise<void> | undefined;

  const keep = async (record: Pick<Appended, 'counter' | 'offset' | 'durable'>): Promise<void> => {
    // The state is that of this very record: nothing was awaited since it was counted. What is packed does not change any more.
    const packed = packCheckpoint({
      head: writer.head(),
      lastOffset: record.offset,
      state: state.toText(),
      offsets: state.offsets(),
      filter: filter.bytes(),
      digest: digest.bytes(),
    });
    const settled = index.settled();
    await record.durable;
    await settled;
    await index.sync(record.counter);
    const name = keptName === CHECKPOINT_NAMES[0] ? CHECKPOINT_NAMES[1] : CHECKPOINT_NAMES[0];
    await writeCheckpoint(place, packed, name, random);
    keptName = name;
    kept = record.counter;
  };
  const start = (record: Pick<Appended, 'counter' | 'offset' | 'durable'>): void => {
    tried = record.counter;
    running = keep(record)
      // A start without it is slower, nothing else.
      .catch(onFault)
      .finally(() => {
        running = undefined;
      });
  };

  /** While nothing is charged. */
  const atRest = async (recordsMin: number): Promise<void> => {
    const { counter } = writer.head();
    if (counter - kept < recordsMin || index.owes()) return;
    start({ counter, offset: await options.lastOffset(), durable: Promise.resolve() });
    await running;
  };

  return {
    written(record) {
      if (running === undefined && record.counter - tried >= everyRecords) start(record);
    },
    opened: () => atRest(everyRecords),
    counter: () => kept,
    idle: () => running ?? Promise.resolve(),
    async finish() {
      await running;
      await atRest(closeRecords);
    },
  };
};
