/** Reads a journal from its start and verifies length, checksum, counter and chain of every record; needs no key. */
import { QflError } from '../../shared/errors.ts';
import type { DurableFile } from './disk.ts';
import { decodeFrame, type Frame, frameLength, NO_RECORD } from './frame.ts';
import type { Head } from './mark.ts';

const CHUNK_BYTES = 1024 * 1024;
/** Enough for most answers in one read. */
const SINGLE_CHUNK_BYTES = 16 * 1024;

export interface Scanned extends Frame {
  readonly offset: number;
}

/** Where the sound part of the journal ends, and whether anything follows it. */
export interface ScanEnd {
  readonly head: Head;
  readonly fileSize: number;
}

/** Nothing written yet; the counter before the first record, which has 0. */
export const EMPTY_HEAD: Head = { counter: -1, hash: NO_RECORD, size: 0 };

const same = (left: Uint8Array, right: Uint8Array): boolean => Buffer.compare(left, right) === 0;

/** Hands out frames from large reads. */
const frameReader = (
  file: DurableFile,
  chunkBytes = CHUNK_BYTES,
): ((offset: number) => Promise<Frame | undefined>) => {
  let chunk: Uint8Array = new Uint8Array(0);
  let chunkOffset = 0;
  const load = async (offset: number, length: number): Promise<void> => {
    chunk = await file.read(offset, length);
    chunkOffset = offset;
  };
  return async (offset) => {
    const from = (): Uint8Array => chunk.subarray(Math.max(0, offset - chunkOffset));
    let frame = decodeFrame(from());
    if (frame === 'short') {
      await load(offset, chunkBytes);
      const length = frameLength(from());
      if (typeof length === 'number' && length > chunkBytes) await load(offset, length);
      frame = decodeFrame(from());
    }
    return typeof frame === 'string' ? undefined : frame;
  };
};

/**
 * Calls `each` for every sound record in order, and stops at the first that is not: whether that is a torn tail or damage
 * is for the caller to say, who knows the mark. `from` is a head known to be sound; reading ends with record `upTo`.
 */
export const scanJournal = async (
  file: DurableFile,
  each: (record: Scanned) => void | Promise<void>,
  from: Head = EMPTY_HEAD,
  upTo = Infinity,
): Promise<ScanEnd> => {
  const fileSize = await file.size();
  const frameAt = frameReader(file);
  let head = from;
  while (head.size < fileSize && head.counter < upTo) {
    const frame = await frameAt(head.size);
    if (frame === undefined || frame.counter !== head.counter + 1 || !same(frame.previous, head.hash)) break;
    const waiting = each({ ...frame, offset: head.size });
    // Most visitors are synchronous; an await for each of a million records would cost more than reading them.
    if (waiting !== undefined) await waiting;
    head = { counter: frame.counter, hash: frame.hash, size: head.size + frame.bytes };
  }
  return { head, fileSize };
};

/** `count` records one after another from `offset`, checksums verified. @throws QflError `ledger_damaged` */
export const readFrames = async (file: DurableFile, offset: number, count: number): Promise<Scanned[]> => {
  const frameAt = frameReader(file, count === 1 ? SINGLE_CHUNK_BYTES : CHUNK_BYTES);
  const frames: Scanned[] = [];
  for (let next = offset; frames.length < count;) {
    const frame = await frameAt(next);
    if (frame === undefined) {
      throw new QflError('ledger_damaged', {
        detail: 'a record of the privacy ledger cannot be read back',
        next: 'Restart the agent: it verifies the ledger. Restore from backup if it refuses.',
      });
    }
    frames.push({ ...frame, offset: next });
    next += frame.bytes;
  }
  return frames;
};
