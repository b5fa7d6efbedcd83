/**
 * One connection as both programs see it: handshake messages, sealed frames of the session in force, and the change
 * from one session to the next without a pause. Tags in front of each Socket.IO frame: 1–3 for M1–M3, 16–31 for data of session
 * generation 0–15.
 */
import type { Clock } from '../clock.ts';
import { type Channel, type ChannelSide, createChannel, DEFAULT_REKEY } from '../crypto/channel.ts';
import type { SessionKeys } from '../crypto/handshake.ts';
import { QflError, toQflError } from '../errors.ts';
import { createBulk } from './bulk.ts';
import { Assembler, decodeMessage, encodeMessage, type Message, partFrames, wholeFrame } from './message.ts';

/** What carries bytes: a Socket.IO socket, or a test's pipe. */
export interface Wire {
  send(bytes: Uint8Array): void;
  /** Idempotent. */
  close(): void;
  /** Are earlier frames still waiting to leave? Long messages then wait; a wire that cannot tell has no answer. */
  congested?(): boolean;
}

export const TAG_FIRST = 1;
export const TAG_SECOND = 2;
export const TAG_THIRD = 3;
const TAG_DATA = 16;
const GENERATIONS = 16;
const TAG_ROOM_BYTES = 1;

const cutShort = (): QflError =>
  new QflError('protocol', { detail: 'a session was replaced before its last frame came' });

export interface TransportEvents {
  handshake(tag: number, bytes: Uint8Array): void;
  message(message: Message): void;
  /** The connection is over; `error` says why. Called once. */
  ended(error: QflError): void;
}

export interface Transport {
  receive(bytes: Uint8Array): void;
  sendHandshake(tag: number, bytes: Uint8Array): void;
  send(message: Message): void;
  /**
   * Puts a session into force: the first one, or the next in place of the one before. `between` runs after the old session's final
   * frame and before anything of the new one: where the agent sends M3.
   */
  install(keys: SessionKeys, between?: () => void): void;
  /** Closes in order: the other side sees a final frame, not a cut. */
  close(error?: QflError): void;
  readonly transcriptHash: Uint8Array | undefined;
}

interface Session {
  readonly generation: number;
  readonly channel: Channel;
  /** The other side's final frame has come. */
  peerFinished: boolean;
}

export const createTransport = (
  wire: Wire,
  side: ChannelSide,
  clock: Clock,
  events: TransportEvents,
): Transport => {
  const assembler = new Assembler();
  let current: Session | undefined;
  let previous: Session | undefined;
  let lastPartId = 0;
  let ended = false;

  const end = (error: QflError): void => {
    if (ended) return;
    ended = true;
    bulk.stop();
    current?.channel.close();
    previous?.channel.close();
    wire.close();
    events.ended(error);
  };
  /** `frame` has room for the tag in front. */
  const post = ({ generation }: Session, frame: Uint8Array): void => {
    frame[0] = TAG_DATA + generation;
    wire.send(frame);
  };
  const seal = (parts: readonly Uint8Array[]): void => {
    if (current === undefined) throw new QflError('not_connected');
    post(current, current.channel.seal(...parts));
  };
  const bulk = createBulk({
    post: seal,
    congested: () => wire.congested?.() ?? false,
    failed: (error) => end(error),
  });
  const receiveData = (generation: number, frame: Uint8Array): void => {
    const session =
      current?.generation === generation
        ? current
        : previous?.generation === generation
          ? previous
          : undefined;
    if (session === undefined) throw new QflError('protocol', { detail: 'a frame of no session' });
    if (session === current && previous !== undefined) throw cutShort();
    const opened = session.channel.open(frame);
    if (opened === undefined) return finished(session);
    const whole = assembler.accept(opened);
    if (whole !== undefined) events.message(decodeMessage(whole));
  };
  /** The other side's final frame: the end of a replaced session, or of the connection. */
  const finished = (session: Session): void => {
    session.peerFinished = true;
    if (session === previous) {
      session.channel.close();
      previous = undefined;
    } else if (side === 'agent')
      end(new QflError('not_connected', { detail: 'the coordinator closed the connection' }));
    // At the coordinator the agent's final frame comes before M3 of the next session, or before the socket closes.
  };

  return {
    get transcriptHash() {
      return current?.channel.transcriptHash;
    },
    receive(bytes) {
      if (ended) return;
      try {
        const tag = bytes[0] ?? 0;
        if (tag >= TAG_DATA) receiveData(tag - TAG_DATA, bytes.subarray(1));
        else if (tag >= TAG_FIRST && tag <= TAG_THIRD) events.handshake(tag, bytes.subarray(1));
        else throw new QflError('protocol', { detail: 'a frame of unknown kind' });
      } catch (error) {
        end(toQflError(error));
      }
    },
    sendHandshake: (tag, bytes) => wire.send(Buffer.concat([Uint8Array.of(tag), bytes])),
    send(message) {
      if (ended || current === undefined) throw new QflError('not_connected');
      const encoded = encodeMessage(message);
      const tight = message.lengthIsPublic === true;
      const whole = wholeFrame(encoded, tight);
      if (whole !== undefined && !bulk.holds(message.id)) return seal(whole);
      lastPartId = (lastPartId + 1) >>> 0;
      const frames = whole === undefined ? partFrames(encoded, lastPartId, tight) : [whole].values();
      bulk.add(message.id, encoded[0].byteLength + encoded[1].byteLength, frames);
    },
    install(keys, between) {
      if (current !== undefined) {
        // Whoever cuts the tail of the old session off must not be able to hide it behind a new one.
        if (side === 'coordinator' && !current.peerFinished) {
          keys.send.close();
          keys.receive.close();
          throw cutShort();
        }
        previous?.channel.close();
        post(current, current.channel.sealFinal());
        // The agent may still receive frames of the old session; the coordinator has seen its final frame already.
        if (side === 'agent') previous = current;
        else current.channel.close();
      }
      between?.();
      current = {
        generation: ((current?.generation ?? -1) + 1) % GENERATIONS,
        channel: createChannel(keys, side, clock, DEFAULT_REKEY, TAG_ROOM_BYTES),
        peerFinished: false,
      };
    },
    close(error = new QflError('not_connected', { detail: 'the connection was closed' })) {
      if (!ended && current !== undefined) {
        bulk.flush();
        post(current, current.channel.sealFinal());
      }
      end(error);
    },
  };
};
