/** The records applied one after another to a state, with the index brought along: from the first one, or from a checkpoint. */
import { QflError } from '../../shared/errors.ts';
import { openAtRest } from '../../shared/store/encrypted.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Store } from '../../shared/store/port.ts';
import {
  type AnswerIndex,
  clearIndex,
  createAnswerIndex,
  type Ended,
  readIndexHead,
} from './answer-index.ts';
import type { JournalStart } from './base.ts';
import { type Checkpoint, isOfJournal } from './checkpoint.ts';
import type { DurableFile } from './disk.ts';
import { createKeyDigest, createKeyFilter, type KeyDigest, type KeyFilter } from './key-filter.ts';
import type { Head } from './mark.ts';
import { decodeRecord } from './records.ts';
import { readWholeMark, recoverJournal } from './recover.ts';
import type { Scanned, ScanEnd } from './scan.ts';
import { createState, type LedgerState } from './state.ts';
import { recordName } from './writer.ts';

const INDEX_BATCH = 1_000;

export interface Replayed {
  readonly state: LedgerState;
  readonly head: Head;
  readonly index: AnswerIndex;
  /** Of the keys of all queries that ended. */
  readonly filter: KeyFilter;
  readonly digest: KeyDigest;
}

export interface ReplayOptions {
  readonly journal: DurableFile;
  readonly markFile: DurableFile;
  readonly start: JournalStart;
  readonly dataKey: Uint8Array;
  readonly site: SiteId;
  readonly store: Store;
  /** Throws when the journal, read to its end, must not be used. */
  readonly approve: (state: LedgerState, end: ScanEnd) => Promise<void>;
}

/** Decrypts and applies one verified record. @throws QflError `ledger_refuses` for another site's journal */
export const applyTo = (
  state: LedgerState,
  { dataKey, site }: { readonly dataKey: Uint8Array; readonly site: SiteId },
) => {
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

/** The state before the first record of the journal. */
export const stateAtStart = ({ head, base }: JournalStart): LedgerState =>
  base === undefined
    ? createState()
    : createState({ text: base.state, offsets: { first: head.counter + 1, offsets: [] } });

/** Brings the index up to the journal while it is replayed. `known`: what the store says it has. */
const indexFollower = (index: AnswerIndex, known: number) => {
  let batch: Ended[] = [];
  const flush = async (counter: number): Promise<void> => {
    const full = batch;
    batch = [];
    if (full.length > 0) await index.add(full, counter);
  };
  return {
    follow: (ended: Ended | undefined, counter: number): void | Promise<void> => {
      if (ended === undefined) return undefined;
      if (counter <= known) return index.hold(ended);
      index.owe(ended);
      batch.push(ended);
      return batch.length < INDEX_BATCH ? undefined : flush(counter);
    },
    flush,
  };
};

interface From {
  readonly state: LedgerState;
  readonly head: Head;
  readonly filter: KeyFilter;
  readonly digest: KeyDigest;
  /** Records up to this one need not be added to the index again. */
  readonly indexed: number;
}

const replay = async (options: ReplayOptions, from: From): Promise<Replayed> => {
  const { state, filter, digest } = from;
  const first = options.start.head.counter + 1;
  const index = createAnswerIndex({ store: options.store, filter, digest, first });
  const apply = applyTo(state, options);
  const follower = indexFollower(index, from.indexed);
  const head = await recoverJournal({
    ...options,
    from: from.head,
    each: (frame) => follower.follow(apply(frame), frame.counter),
    approve: (end) => options.approve(state, end),
  });
  await follower.flush(head.counter);
  return { state, head, index, filter, digest };
};

/** What the store says of its index; nothing of it counts when it was made for another journal. */
const indexedUpTo = async ({ store, start }: ReplayOptions): Promise<number> => {
  const first = start.head.counter + 1;
  const head = await readIndexHead(store);
  return head.first === first ? head.counter : -1;
};

/**
 * From the checkpoint on. Undefined when it is not of this journal, or further than the mark or the index.
 * @throws QflError as `recoverJournal`, InvariantError when what follows does not fit
 */
export const replayFrom = async (
  checkpoint: Checkpoint,
  options: ReplayOptions,
): Promise<Replayed | undefined> => {
  const { counter } = checkpoint.head;
  const mark = await readWholeMark(options.markFile);
  const fits =
    checkpoint.state.site === options.site &&
    checkpoint.offsets.first === options.start.head.counter + 1 &&
    mark.head.counter >= counter &&
    (await indexedUpTo(options)) >= counter &&
    (await isOfJournal(options.journal, checkpoint));
  if (!fits) return undefined;
  return await replay(options, {
    state: createState({ text: checkpoint.state, offsets: checkpoint.offsets }),
    head: checkpoint.head,
    filter: createKeyFilter(checkpoint.filter),
    digest: createKeyDigest(checkpoint.digest),
    // What the index claims beyond it is written once more: it is little, and a claim is no proof.
    indexed: counter,
  });
};

const replayFromStart = async (options: ReplayOptions, indexed: number): Promise<Replayed | undefined> => {
  const replayed = await replay(options, {
    state: stateAtStart(options.start),
    head: options.start.head,
    filter: createKeyFilter(),
    digest: createKeyDigest(),
    indexed,
  });
  return (await replayed.index.sound()) ? replayed : undefined;
};

/** Every record, and every key of the index; an index that does not agree is built anew. @throws QflError */
export const replayWhole = async (options: ReplayOptions): Promise<Replayed> => {
  const indexed = await indexedUpTo(options);
  if (indexed >= 0) {
    const kept = await replayFromStart(options, indexed);
    if (kept !== undefined) return kept;
  }
  await clearIndex(options.store);
  const rebuilt = await replayFromStart(options, -1);
  if (rebuilt !== undefined) return rebuilt;
  throw new QflError('storage_failed', {
    detail: 'the index of the privacy ledger could not be rebuilt',
    next: 'Check the disk: the local store does not keep what is written to it.',
  });
};
