/**
 * The high-water mark: a small file beside the journal that says how far the journal certainly reaches. Two slots are written in turn,
 * so a torn write leaves the other. It is synced after the journal and before anything is acknowledged: a journal that
 * does not reach its mark has lost something somebody was told.
 */
import { concat, u64, utf8 } from '../../shared/bytes.ts';
import { blake2b, HASH_BYTES } from '../../shared/crypto/hash.ts';
import type { DurableFile } from './disk.ts';

/** The last record: its counter, its hash, and where the journal ends after it. */
export interface Head {
  readonly counter: number;
  readonly hash: Uint8Array;
  readonly size: number;
}

const MAGIC = utf8('qflmark1');
const CHECKSUM_BYTES = 16;
const SLOT_BYTES = MAGIC.byteLength + 8 + HASH_BYTES + 8 + CHECKSUM_BYTES;
/** Slots lie in different sectors and pages, so that no single torn write reaches both. */
const SLOT_OFFSETS = [0, 4096] as const;

const encodeSlot = ({ counter, hash, size }: Head): Uint8Array => {
  const body = concat(MAGIC, u64(BigInt(counter)), hash, u64(BigInt(size)));
  return concat(body, blake2b(CHECKSUM_BYTES, body));
};

const decodeSlot = (bytes: Uint8Array): Head | undefined => {
  if (bytes.byteLength !== SLOT_BYTES) return undefined;
  const body = Buffer.from(bytes.subarray(0, SLOT_BYTES - CHECKSUM_BYTES));
  const checksum = Buffer.from(bytes.subarray(SLOT_BYTES - CHECKSUM_BYTES));
  if (!checksum.equals(blake2b(CHECKSUM_BYTES, body))) return undefined;
  if (!body.subarray(0, MAGIC.byteLength).equals(MAGIC)) return undefined;
  const at = MAGIC.byteLength;
  return {
    counter: Number(body.readBigUInt64BE(at)),
    hash: Uint8Array.from(body.subarray(at + 8, at + 8 + HASH_BYTES)),
    size: Number(body.readBigUInt64BE(at + 8 + HASH_BYTES)),
  };
};

export interface MarkReading {
  readonly head: Head;
  /** False when one slot does not read: the other may then be the older one. */
  readonly whole: boolean;
}

/** Undefined when neither slot reads. */
export const readMark = async (file: DurableFile): Promise<MarkReading | undefined> => {
  const [first, second] = await Promise.all(
    SLOT_OFFSETS.map(async (offset) => decodeSlot(await file.read(offset, SLOT_BYTES))),
  );
  if (first !== undefined && second !== undefined)
    return { head: first.counter > second.counter ? first : second, whole: true };
  const head = first ?? second;
  return head === undefined ? undefined : { head, whole: false };
};

/** Writes both slots, one after the other is durable. */
export const resetMark = async (file: DurableFile, head: Head): Promise<void> => {
  for (const offset of SLOT_OFFSETS) {
    await file.write(encodeSlot(head), offset);
    await file.sync();
  }
};

/** Moves the mark on: each call writes the slot the last one did not. */
export const markWriter = (file: DurableFile): ((head: Head) => Promise<void>) => {
  let turn = 0;
  return async (head) => {
    turn = 1 - turn;
    await file.write(encodeSlot(head), SLOT_OFFSETS[turn === 0 ? 0 : 1]);
    await file.sync();
  };
};
