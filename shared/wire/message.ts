/**
 * Messages inside the channel, as bytes: type(1) ‖ id(4) ‖ header length(4) ‖ header (JSON) ‖ payload. A message that does not
 * fit one frame travels in parts; parts of different messages may interleave, so a large transfer never
 * holds up a token.
 */
import { fromUtf8, utf8 } from '../bytes.ts';
import { filledSize, FRAME_BODY_BYTES_MAX, paddedSize } from '../crypto/padding.ts';
import { QflError } from '../errors.ts';

/** Who sends it, when:
 * `request` caller, to start a call · `response` callee, the one answer of a plain call · `chunk` callee, a piece of a
 * stream · `end` callee, the orderly end of a stream · `error` callee, instead of the rest · `cancel` caller, no
 * longer interested · `event` either, expects nothing back.
 */
export const MESSAGE_TYPES = ['request', 'response', 'chunk', 'end', 'error', 'cancel', 'event'] as const;
export type MessageType = (typeof MESSAGE_TYPES)[number];

export interface Message {
  readonly type: MessageType;
  readonly id: number;
  readonly header: unknown;
  readonly payload: Uint8Array;
  /** Anybody may know how long it is: then it travels with hardly any padding. */
  readonly lengthIsPublic?: boolean;
}

export const MESSAGE_BYTES_MAX = 16 * 1_048_576;
export const EMPTY: Uint8Array = new Uint8Array(0);
const PREFIX_BYTES = 9;
const PART_PREFIX_BYTES = 5;
const PART_BODY_BYTES = FRAME_BODY_BYTES_MAX - PART_PREFIX_BYTES;
/** Padding that is not worth another frame. */
const PADDING_ALLOWED_BYTES = 4_096;
const PARTIAL_MESSAGES_MAX = 16;
const WHOLE = 0;
const MORE = 1;
const LAST = 2;

const broken = (detail: string): QflError => new QflError('protocol', { detail });

/** The bytes of a message, as two pieces to be joined: everything before the payload, and the payload as it came. */
export const encodeMessage = (message: Message): readonly [Uint8Array, Uint8Array] => {
  const header = message.header === undefined ? EMPTY : utf8(JSON.stringify(message.header));
  const head = Buffer.allocUnsafe(PREFIX_BYTES + header.byteLength);
  head[0] = MESSAGE_TYPES.indexOf(message.type);
  head.writeUInt32BE(message.id, 1);
  head.writeUInt32BE(header.byteLength, 5);
  head.set(header, PREFIX_BYTES);
  return [head, message.payload];
};

const parseHeader = (bytes: Uint8Array): unknown => {
  if (bytes.byteLength === 0) return undefined;
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw new QflError('protocol', { detail: 'a message header is not JSON', cause });
  }
};

/** @throws QflError `protocol` */
export const decodeMessage = (bytes: Uint8Array): Message => {
  if (bytes.byteLength < PREFIX_BYTES) throw broken('a message is too short');
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const type = MESSAGE_TYPES[view.readUInt8(0)];
  const headerEnd = PREFIX_BYTES + view.readUInt32BE(5);
  if (type === undefined || headerEnd > view.byteLength)
    throw broken('a message of unknown type or wrong length');
  return {
    type,
    id: view.readUInt32BE(1),
    header: parseHeader(bytes.subarray(PREFIX_BYTES, headerEnd)),
    payload: bytes.subarray(headerEnd),
  };
};

const WHOLE_PREFIX = Uint8Array.of(WHOLE);

/** The one frame of a message that needs no more; undefined for one that has to travel in parts. @throws QflError `too_large` */
export const wholeFrame = (
  [head, payload]: readonly [Uint8Array, Uint8Array],
  tight = false,
): readonly Uint8Array[] | undefined => {
  const length = head.byteLength + payload.byteLength;
  if (length > MESSAGE_BYTES_MAX)
    throw new QflError('too_large', { detail: `a message has at most ${MESSAGE_BYTES_MAX} bytes` });
  const isShort = length < FRAME_BODY_BYTES_MAX && (!tight || tightPart(length) === length);
  return isShort ? [WHOLE_PREFIX, head, payload] : undefined;
};

/** Bytes of the next part where padding hides nothing: all that is left, or as much of it as fills a frame. */
const tightPart = (left: number): number => {
  if (left > PART_BODY_BYTES) return PART_BODY_BYTES;
  const framed = left + PART_PREFIX_BYTES;
  const filled = filledSize(framed);
  return filled === undefined || paddedSize(framed) - framed <= PADDING_ALLOWED_BYTES
    ? left
    : filled - PART_PREFIX_BYTES;
};

/** The frames of a long message, each at most 256 KiB. @param tight hardly any padding: whoever sees the line learns its length */
export function* partFrames(
  encoded: readonly [Uint8Array, Uint8Array],
  partId: number,
  tight = false,
): Generator<readonly Uint8Array[]> {
  const bytes = Buffer.concat(encoded);
  for (let offset = 0, end = 0; offset < bytes.byteLength; offset = end) {
    const left = bytes.byteLength - offset;
    end = offset + (tight ? tightPart(left) : Math.min(PART_BODY_BYTES, left));
    const prefix = Buffer.alloc(PART_PREFIX_BYTES);
    prefix[0] = end === bytes.byteLength ? LAST : MORE;
    prefix.writeUInt32BE(partId, 1);
    yield [prefix, bytes.subarray(offset, end)];
  }
}

/** Puts parts together again, within bounds. */
export class Assembler {
  readonly #parts = new Map<number, Uint8Array[]>();

  /** The whole message that this frame completes, if it completes one. @throws QflError `protocol`, `too_large` */
  accept(frame: Uint8Array): Uint8Array | undefined {
    const kind = frame[0];
    if (kind === WHOLE) return frame.subarray(1);
    if ((kind !== MORE && kind !== LAST) || frame.byteLength < PART_PREFIX_BYTES)
      throw broken('a frame of unknown kind');
    const partId = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).readUInt32BE(1);
    const parts = this.#parts.get(partId) ?? [];
    // The frame's memory belongs to whoever decrypted it and is not reused, so parts can be kept as they are.
    parts.push(frame.subarray(PART_PREFIX_BYTES));
    this.#check(parts);
    if (kind === MORE) {
      this.#parts.set(partId, parts);
      if (this.#parts.size > PARTIAL_MESSAGES_MAX) throw broken('too many messages begun at once');
      return undefined;
    }
    this.#parts.delete(partId);
    return Buffer.concat(parts);
  }

  #check(parts: readonly Uint8Array[]): void {
    if (parts.length * PART_BODY_BYTES > MESSAGE_BYTES_MAX + PART_BODY_BYTES)
      throw new QflError('too_large', { detail: 'a message in parts' });
  }
}
