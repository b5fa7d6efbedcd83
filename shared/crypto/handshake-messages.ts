/**
 * The bytes of `fed-hs/1`, nothing else: layouts of M1 and M2, their reading and writing.
 *
 *     M1 = mac1(32) ‖ u16 head ‖ head ‖ ct1(1120) ‖ e(1216) ‖ u16 box ‖ box [‖ u16 box ‖ box]
 *     head = kind(1) ‖ checkpoint size(8) ‖ checkpoint root(32) ‖ version list (ASCII, the rest)
 *     M2 = ct2(1120) ‖ u16 box(ct3) ‖ box ‖ u16 box(welcome) ‖ box
 */
import { concat, framed, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { blake2b, HASH_BYTES } from './hash.ts';
import { XWING_CIPHERTEXT_BYTES, XWING_PUBLIC_BYTES, XWING_SUITE } from './xwing.ts';

export const PROTOCOL = 'fed-hs/1';
export const MESSAGE_BYTES_MAX = 8_192;
const MAC_BYTES = 32;
const HEAD_FIXED_BYTES = 1 + 8 + HASH_BYTES;
const VERSIONS_BYTES_MAX = 128;

export type HandshakeKind = 'session' | 'enrolment';
const KIND_BYTE: Readonly<Record<HandshakeKind, number>> = { session: 1, enrolment: 2 };

/** What travels in clear at the head of M1: the other side cannot know it. */
export interface HandshakeHead {
  readonly kind: HandshakeKind;
  /** The directory state the agent trusts. */
  readonly checkpoint: { readonly size: bigint; readonly root: Uint8Array };
  /** Protocol versions the agent speaks, comma-separated; hashed, so nobody can shorten the list. */
  readonly versions: string;
}

export interface FirstMessage {
  readonly mac: Uint8Array;
  readonly head: Uint8Array;
  readonly ciphertext: Uint8Array;
  readonly ephemeral: Uint8Array;
  readonly boxes: readonly Uint8Array[];
  /** All that `mac` covers. */
  readonly covered: Uint8Array;
}

const broken = (what: string): QflError =>
  new QflError('handshake_refused', { detail: `malformed handshake message: ${what}` });

const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff);

/** A cursor that refuses to read past the end. */
class Reader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  take(count: number): Uint8Array {
    if (this.#offset + count > this.#bytes.byteLength) throw broken('too short');
    const part = this.#bytes.subarray(this.#offset, this.#offset + count);
    this.#offset += count;
    return part;
  }

  takeSized(): Uint8Array {
    const [high, low] = this.take(2);
    return this.take(((high ?? 0) << 8) | (low ?? 0));
  }

  get ended(): boolean {
    return this.#offset === this.#bytes.byteLength;
  }
}

export const encodeHead = (head: HandshakeHead): Uint8Array => {
  const size = Buffer.alloc(8);
  size.writeBigUInt64BE(head.checkpoint.size);
  return concat(Uint8Array.of(KIND_BYTE[head.kind]), size, head.checkpoint.root, utf8(head.versions));
};

export const decodeHead = (bytes: Uint8Array): HandshakeHead => {
  if (bytes.byteLength < HEAD_FIXED_BYTES || bytes.byteLength > HEAD_FIXED_BYTES + VERSIONS_BYTES_MAX)
    throw broken('head');
  const kind = (['session', 'enrolment'] as const).find((name) => KIND_BYTE[name] === bytes[0]);
  if (kind === undefined) throw broken('kind');
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const versions = view.toString('ascii', HEAD_FIXED_BYTES);
  if (!versions.split(',').includes(PROTOCOL)) {
    throw new QflError('handshake_refused', {
      detail: 'no protocol version in common',
      next: 'Upgrade the older of the two programs.',
    });
  }
  return {
    kind,
    checkpoint: { size: view.readBigUInt64BE(1), root: bytes.subarray(9, 9 + HASH_BYTES) },
    versions,
  };
};

/** The hash key of `mac1`: scanners that do not know the coordinator's key are dropped before any KEM work. */
export const firstMac = (coordinatorKey: Uint8Array, covered: Uint8Array): Uint8Array =>
  blake2b(MAC_BYTES, covered, blake2b(32, framed(utf8('fed-hs/1 mac1'), coordinatorKey)));

export const encodeFirst = (
  coordinatorKey: Uint8Array,
  parts: { head: Uint8Array; ciphertext: Uint8Array; ephemeral: Uint8Array; boxes: readonly Uint8Array[] },
): Uint8Array => {
  const boxes = parts.boxes.flatMap((box) => [u16(box.byteLength), box]);
  const covered = concat(u16(parts.head.byteLength), parts.head, parts.ciphertext, parts.ephemeral, ...boxes);
  return concat(firstMac(coordinatorKey, covered), covered);
};

export const decodeFirst = (bytes: Uint8Array): FirstMessage => {
  if (bytes.byteLength > MESSAGE_BYTES_MAX) throw broken('too long');
  const reader = new Reader(bytes);
  const mac = reader.take(MAC_BYTES);
  const head = reader.takeSized();
  const ciphertext = reader.take(XWING_CIPHERTEXT_BYTES);
  const ephemeral = reader.take(XWING_PUBLIC_BYTES);
  const boxes = [reader.takeSized()];
  if (!reader.ended) boxes.push(reader.takeSized());
  if (!reader.ended) throw broken('too long');
  return { mac, head, ciphertext, ephemeral, boxes, covered: bytes.subarray(MAC_BYTES) };
};

export const encodeSecond = (
  ciphertext: Uint8Array,
  staticBox: Uint8Array,
  welcomeBox: Uint8Array,
): Uint8Array =>
  concat(ciphertext, u16(staticBox.byteLength), staticBox, u16(welcomeBox.byteLength), welcomeBox);

export const decodeSecond = (
  bytes: Uint8Array,
): { ciphertext: Uint8Array; staticBox: Uint8Array; welcomeBox: Uint8Array } => {
  if (bytes.byteLength > MESSAGE_BYTES_MAX) throw broken('too long');
  const reader = new Reader(bytes);
  const message = {
    ciphertext: reader.take(XWING_CIPHERTEXT_BYTES),
    staticBox: reader.takeSized(),
    welcomeBox: reader.takeSized(),
  };
  if (!reader.ended) throw broken('too long');
  return message;
};

/** What both sides know before the first byte; hashed into everything. The socket id ties the exchange to one connection. */
export const prologue = (logOrigin: string, socketId: string, head: Uint8Array): Uint8Array =>
  framed(utf8(PROTOCOL), utf8(XWING_SUITE), utf8(logOrigin), utf8(socketId), head);
