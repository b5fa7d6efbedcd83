/**
 * Length hiding: a message is padded to the next bucket before it is sealed, so the network sees six sizes. Each bucket has
 * room for the header, so that 64 KiB of body still fits the 64 KiB bucket.
 */
import { QflError } from '../errors.ts';

const KIB = 1_024;
/** Room above the nominal size for our own headers. */
export const HEADER_ROOM_BYTES = 64;
const BUCKETS = [256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB];
const LENGTH_BYTES = 4;

/** The largest message that one frame carries; longer ones are chunked. */
export const FRAME_BODY_BYTES_MAX = 256 * KIB;

/** Size in bytes to which a message of `length` bytes is padded. @throws QflError `too_large` */
export const paddedSize = (length: number): number => {
  const bucket = BUCKETS.find((size) => length + LENGTH_BYTES <= size + HEADER_ROOM_BYTES);
  if (bucket === undefined)
    throw new QflError('too_large', { detail: `a frame carries at most ${FRAME_BODY_BYTES_MAX} bytes` });
  return bucket + HEADER_ROOM_BYTES;
};

/** The longest message of at most `length` bytes that fills its bucket, so that nothing is padded; undefined where none is so short. */
export const filledSize = (length: number): number | undefined =>
  BUCKETS.map((size) => Math.min(FRAME_BODY_BYTES_MAX, size + HEADER_ROOM_BYTES - LENGTH_BYTES)).findLast(
    (size) => size <= length,
  );

const lengthOf = (parts: readonly Uint8Array[]): number =>
  parts.reduce((sum, part) => sum + part.byteLength, 0);

/** u32 length, the parts, zeros: fills `padded`. */
const fill = (padded: Buffer, length: number, parts: readonly Uint8Array[]): Buffer => {
  padded.writeUInt32BE(length, 0);
  let offset = LENGTH_BYTES;
  for (const part of parts) {
    padded.set(part, offset);
    offset += part.byteLength;
  }
  return padded.fill(0, offset);
};

/** u32 length, the parts, zeros. One allocation, one copy. */
export const pad = (...parts: readonly Uint8Array[]): Uint8Array => {
  const length = lengthOf(parts);
  return fill(Buffer.allocUnsafe(paddedSize(length)), length, parts);
};

const area = Buffer.allocUnsafeSlow(FRAME_BODY_BYTES_MAX + HEADER_ROOM_BYTES);
/** The same in memory that the next call uses again: for whoever seals it at once. Spares each frame an allocation. */
export const padForNow = (...parts: readonly Uint8Array[]): Uint8Array => {
  const length = lengthOf(parts);
  return fill(area.subarray(0, paddedSize(length)), length, parts);
};

/** @throws QflError `protocol` when the padding is not what `pad` makes */
export const unpad = (padded: Uint8Array): Uint8Array => {
  const view = Buffer.from(padded.buffer, padded.byteOffset, padded.byteLength);
  const length = view.byteLength >= LENGTH_BYTES ? view.readUInt32BE(0) : -1;
  if (length < 0 || length > view.byteLength - LENGTH_BYTES || paddedSize(length) !== view.byteLength) {
    throw new QflError('protocol', { detail: 'a frame with wrong padding' });
  }
  return padded.subarray(LENGTH_BYTES, LENGTH_BYTES + length);
};
