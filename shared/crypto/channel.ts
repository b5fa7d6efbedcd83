/**
 * The record layer over an open session: padded, ordered, sealed frames in both directions. A frame that was changed, lost,
 * repeated or reordered ends the channel. The key moves forward (`rekey`) every GiB or quarter of an hour.
 */
import type { Clock } from '../clock.ts';
import { MINUTE_MS } from '../clock.ts';
import { QflError } from '../errors.ts';
import type { SessionKeys } from './handshake.ts';
import { padForNow, unpad } from './padding.ts';
import type { StreamTag } from './secretstream.ts';

export interface RekeyRule {
  readonly bytes: number;
  readonly intervalMs: number;
}
export const DEFAULT_REKEY: RekeyRule = { bytes: 2 ** 30, intervalMs: 15 * MINUTE_MS };

export interface Channel {
  /**
   * Pads and seals one message made of `parts` (together at most 256 KiB and 60 bytes); `roomBytes` in front of the frame are
   * free for the caller, which spares a copy of it.
   */
  seal(...parts: readonly Uint8Array[]): Uint8Array;
  /** The last frame of an orderly close, with the same room; nothing can be sealed after it. */
  sealFinal(): Uint8Array;
  /** The message of the next frame (without the room); undefined for the peer's final frame. @throws QflError `protocol` */
  open(frame: Uint8Array): Uint8Array | undefined;
  /** Forgets the keys; idempotent. */
  close(): void;
  readonly transcriptHash: Uint8Array;
}

export type ChannelSide = 'agent' | 'coordinator';
const UP = 0x75;
const DOWN = 0x64;

/** Direction and frame number, authenticated with each frame. */
const frameName = (direction: number): (() => Uint8Array) => {
  const name = Buffer.alloc(9);
  name[0] = direction;
  // Counted as a float (exact to 2^53 frames), written as two halves: a BigInt for every frame costs more than the padding.
  let sequence = 0;
  return () => {
    name.writeUInt32BE(Math.floor(sequence / 2 ** 32), 1);
    name.writeUInt32BE(sequence >>> 0, 5);
    sequence += 1;
    return name;
  };
};

const EMPTY = new Uint8Array(0);

export const createChannel = (
  keys: SessionKeys,
  side: ChannelSide,
  clock: Clock,
  rule: RekeyRule = DEFAULT_REKEY,
  roomBytes = 0,
): Channel => {
  const nameSent = frameName(side === 'agent' ? UP : DOWN);
  const nameReceived = frameName(side === 'agent' ? DOWN : UP);
  let bytesSinceRekey = 0;
  let rekeyedAtMs = clock.monotonicMs();
  let state: 'open' | 'finished' | 'closed' = 'open';
  let peerFinished = false;

  const close = (): void => {
    state = 'closed';
    keys.send.close();
    keys.receive.close();
  };
  const nextTag = (length: number): StreamTag => {
    bytesSinceRekey += length;
    const due = bytesSinceRekey >= rule.bytes || clock.monotonicMs() - rekeyedAtMs >= rule.intervalMs;
    if (!due) return 'message';
    bytesSinceRekey = 0;
    rekeyedAtMs = clock.monotonicMs();
    return 'rekey';
  };
  const push = (padded: Uint8Array, tag: StreamTag): Uint8Array => {
    if (state !== 'open') throw new QflError('not_connected', { detail: 'the channel is closed' });
    return keys.send.push(padded, tag, nameSent(), roomBytes);
  };

  return {
    transcriptHash: keys.transcriptHash,
    seal(...parts) {
      const padded = padForNow(...parts);
      return push(padded, nextTag(padded.byteLength));
    },
    sealFinal() {
      const frame = push(padForNow(EMPTY), 'final');
      state = 'finished';
      return frame;
    },
    open(frame) {
      // libsodium would go on after a final tag; for us nothing follows the end.
      const pulled =
        state === 'closed' || peerFinished ? undefined : keys.receive.pull(frame, nameReceived());
      if (pulled === undefined) {
        close();
        throw new QflError('protocol', {
          detail: 'a frame that does not belong here: changed, lost, repeated or out of order',
        });
      }
      peerFinished = pulled.tag === 'final';
      return peerFinished ? undefined : unpad(pulled.message);
    },
    close,
  };
};
