/**
 * The journal's single writer. Records are framed and chained in the order of the calls; everything that gathered while the disk was busy goes
 * out as one write and two syncs: the journal, then the mark. Only then are the callers told. The first failure ends the
 * writer for good: what an fsync lost once, no later fsync brings back.
 */
import { assert, QflError } from '../../shared/errors.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { sealAtRest } from '../../shared/store/encrypted.ts';
import type { DurableFile } from './disk.ts';
import { encodeFrame, FRAME_BYTES_MAX } from './frame.ts';
import { type Head, markWriter } from './mark.ts';

/** The name a record is sealed under, so that a record moved to another place does not open. */
export const recordName = (counter: number): string => `ledger/${counter}`;

export interface Appended {
  readonly counter: number;
  readonly hash: Uint8Array;
  readonly offset: number;
  /** Resolves once the record and the mark behind it are on the disk. */
  readonly durable: Promise<void>;
}

export interface WriterOptions {
  readonly journal: DurableFile;
  readonly mark: DurableFile;
  readonly head: Head;
  readonly dataKey: Uint8Array;
  readonly random: RandomBytes;
  /** Records that may wait for the disk. */
  readonly queueRecordsMax: number;
  /** Called once, at the first failure. Must not throw. */
  readonly onFault: () => void;
}

export interface Writer {
  /** @throws QflError `ledger_refuses` after a fault, and once closed. */
  assertServing(): void;
  /** As `assertServing`, and @throws QflError `overloaded` when too much waits for the disk. */
  assertOpen(): void;
  /** Seals, chains and queues at once, so the order of calls is the order of records. */
  append(payload: Uint8Array): Appended;
  /** The last record whose mark is on the disk. */
  durableHead(): Head;
  /** The last record queued. */
  head(): Head;
  fault(): QflError | undefined;
  /** Takes nothing more: something beside the journal failed. */
  poison(cause: unknown): void;
  /** Takes nothing more, for this reason. */
  refuse(reason: QflError): void;
  /** Waits for what is queued. */
  idle(): Promise<void>;
  /** Waits for what is queued; takes nothing more. */
  close(): Promise<void>;
}

const BATCH_BYTES_MAX = 4 * 1024 * 1024;

interface Waiting {
  readonly bytes: Uint8Array;
  readonly head: Head;
  readonly resolve: () => void;
  readonly reject: (fault: QflError) => void;
}

const stopped = (cause: unknown): QflError =>
  new QflError('ledger_refuses', {
    detail: 'the privacy ledger could not be written and takes nothing more',
    next: 'Free disk space or repair the disk, then restart the agent: it verifies the whole ledger before it serves.',
    cause,
  });

const closed = (): QflError =>
  new QflError('ledger_refuses', { detail: 'the privacy ledger is closed', next: 'Start the agent.' });

const macrotask = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const createWriter = (options: WriterOptions): Writer => {
  const { journal, mark, dataKey, random, queueRecordsMax, onFault } = options;
  const moveMark = markWriter(mark);
  let queue: Waiting[] = [];
  let head = options.head;
  let durable = options.head;
  let fault: QflError | undefined;
  let closing = false;
  let running: Promise<void> | undefined;

  const stop = (reason: QflError, batch: readonly Waiting[]): void => {
    if (fault === undefined) {
      fault = reason;
      onFault();
    }
    const waiting = [...batch, ...queue];
    queue = [];
    for (const { reject } of waiting) reject(reason);
  };

  const takeBatch = (): Waiting[] => {
    let bytes = 0;
    let count = 0;
    while (count < queue.length && (count === 0 || bytes < BATCH_BYTES_MAX)) {
      bytes += queue[count]!.bytes.byteLength;
      count += 1;
    }
    return queue.splice(0, count);
  };

  const writeBatch = async (batch: readonly Waiting[]): Promise<void> => {
    const last = batch.at(-1);
    assert(last !== undefined, 'a batch holds at least one record');
    try {
      await journal.write(Buffer.concat(batch.map(({ bytes }) => bytes)), durable.size);
      await journal.sync();
      await moveMark(last.head);
    } catch (cause) {
      stop(stopped(cause), batch);
      return;
    }
    // Something beside the journal failed meanwhile: these are written, but nobody is told any more.
    if (fault !== undefined) {
      stop(fault, batch);
      return;
    }
    durable = last.head;
    for (const { resolve } of batch) resolve();
  };

  const run = async (): Promise<void> => {
    await macrotask();
    // No pause between batches: one is on its way to the disk while the next gathers.
    while (queue.length > 0) await writeBatch(takeBatch());
    running = undefined;
  };

  const assertServing = (): void => {
    if (fault !== undefined) throw fault;
    if (closing) throw closed();
  };

  const assertOpen = (): void => {
    assertServing();
    if (queue.length < queueRecordsMax) return;
    throw new QflError('overloaded', {
      detail: 'too many charges wait for the disk',
      next: 'Try again in a moment.',
    });
  };

  return {
    assertOpen,
    assertServing,
    append(payload) {
      assertServing();
      const counter = head.counter + 1;
      const sealed = sealAtRest(dataKey, recordName(counter), payload, random);
      const { bytes, hash } = encodeFrame(counter, head.hash, sealed);
      assert(bytes.byteLength <= FRAME_BYTES_MAX, 'a ledger record stays under its size limit');
      const offset = head.size;
      const next = { counter, hash, size: offset + bytes.byteLength };
      head = next;
      const written = new Promise<void>((resolve, reject) => {
        queue.push({ bytes, head: next, resolve, reject });
      });
      running ??= run();
      // Not every caller waits for its record; a failure reaches those that do.
      written.catch(() => undefined);
      return { counter, hash, offset, durable: written };
    },
    durableHead: () => durable,
    head: () => head,
    fault: () => fault,
    poison: (cause) => stop(stopped(cause), []),
    refuse: (reason) => stop(reason, []),
    idle: () => running ?? Promise.resolve(),
    async close() {
      closing = true;
      await running;
    },
  };
};
