/**
 * How a record stands in the journal:
 *
 *     u32 length of what follows | u64 counter | 32 bytes hash of the record before | sealed payload | 16 bytes checksum
 *
 * The record's hash is BLAKE2b-256 of everything before the checksum, the checksum is its first half. The chain runs over
 * ciphertext, so it can be verified without the data key.
 */
import { blake2b, HASH_BYTES } from '../../shared/crypto/hash.ts';

const LENGTH_BYTES = 4;
const COUNTER_BYTES = 8;
const CHECKSUM_BYTES = 16;
const HEAD_BYTES = LENGTH_BYTES + COUNTER_BYTES + HASH_BYTES;
const OVERHEAD_BYTES = COUNTER_BYTES + HASH_BYTES + CHECKSUM_BYTES;

/** Larger than any record: a length above it is damage. */
export const FRAME_BYTES_MAX = 8 * 1024 * 1024;

/** What the first record names as the one before it. */
export const NO_RECORD: Uint8Array = new Uint8Array(HASH_BYTES);

export interface Frame {
  readonly counter: number;
  readonly previous: Uint8Array;
  readonly sealed: Uint8Array;
  readonly hash: Uint8Array;
  /** Bytes of the whole frame. */
  readonly bytes: number;
}

export const encodeFrame = (
  counter: number,
  previous: Uint8Array,
  sealed: Uint8Array,
): { readonly bytes: Uint8Array; readonly hash: Uint8Array } => {
  const length = OVERHEAD_BYTES + sealed.byteLength;
  const bytes = Buffer.allocUnsafe(LENGTH_BYTES + length);
  bytes.writeUInt32BE(length);
  bytes.writeBigUInt64BE(BigInt(counter), LENGTH_BYTES);
  bytes.set(previous, LENGTH_BYTES + COUNTER_BYTES);
  bytes.set(sealed, HEAD_BYTES);
  const end = bytes.byteLength - CHECKSUM_BYTES;
  const hash = blake2b(HASH_BYTES, bytes.subarray(0, end));
  bytes.set(hash.subarray(0, CHECKSUM_BYTES), end);
  return { bytes, hash };
};

/** `short`: the bytes end before the frame does. `bad`: they are not a frame. */
export type FrameFault = 'short' | 'bad';

/** How many bytes the frame that begins here has in all. */
export const frameLength = (bytes: Uint8Array): number | FrameFault => {
  if (bytes.byteLength < LENGTH_BYTES) return 'short';
  const length = Buffer.from(bytes.buffer, bytes.byteOffset, LENGTH_BYTES).readUInt32BE();
  return length < OVERHEAD_BYTES || length > FRAME_BYTES_MAX ? 'bad' : LENGTH_BYTES + length;
};

/** The frame at the start of `bytes`. */
export const decodeFrame = (bytes: Uint8Array): Frame | FrameFault => {
  const length = frameLength(bytes);
  if (typeof length === 'string') return length;
  if (bytes.byteLength < length) return 'short';
  const body = bytes.subarray(0, length - CHECKSUM_BYTES);
  const hash = blake2b(HASH_BYTES, body);
  const checksum = Buffer.from(bytes.subarray(length - CHECKSUM_BYTES, length));
  if (!checksum.equals(hash.subarray(0, CHECKSUM_BYTES))) return 'bad';
  const counter = Buffer.from(body.buffer, body.byteOffset, HEAD_BYTES).readBigUInt64BE(LENGTH_BYTES);
  return {
    counter: Number(counter),
    previous: body.subarray(LENGTH_BYTES + COUNTER_BYTES, HEAD_BYTES),
    sealed: body.subarray(HEAD_BYTES),
    hash,
    bytes: length,
  };
};
