/**
 * Long messages on their way: one frame at a time, and only while the wire keeps up, so that a short message never waits behind
 * ten megabytes. Messages of the same call keep their order.
 */
import { QflError, toQflError } from '../errors.ts';

type Frames = Iterator<readonly Uint8Array[]>;

export interface Bulk {
  /** Is a message of this call still under way? Then the next one of the call has to queue behind it. */
  holds(callId: number): boolean;
  /** @throws QflError `overloaded` */
  add(callId: number, bytes: number, frames: Frames): void;
  /** Sends all that is left at once: before an orderly close. */
  flush(): void;
  /** Forgets all that is left. */
  stop(): void;
}

/** Four of the longest messages. */
export const BULK_BYTES_MAX = 64 * 1_048_576;
/** How often a wire that is behind is asked again. */
const CONGESTED_MS = 2;

interface Queued {
  readonly callId: number;
  readonly bytes: number;
  readonly frames: Frames;
}

export const createBulk = (wire: {
  /** Seals and sends one frame. */
  post(parts: readonly Uint8Array[]): void;
  /** Are earlier frames still waiting to leave? */
  congested(): boolean;
  /** A frame could not be sent. */
  failed(error: QflError): void;
}): Bulk => {
  const queue: Queued[] = [];
  let queuedBytes = 0;
  let next: { cancel(): void } | undefined;

  /** Sends the next frame of the first message. */
  const step = (): void => {
    const [first] = queue;
    if (first === undefined) return;
    const { done, value } = first.frames.next();
    if (done !== true) return wire.post(value);
    queue.shift();
    queuedBytes -= first.bytes;
  };
  const pump = (): void => {
    next = undefined;
    try {
      if (!wire.congested()) step();
    } catch (error) {
      return wire.failed(toQflError(error));
    }
    schedule();
  };
  const schedule = (): void => {
    if (queue.length === 0 || next !== undefined) return;
    if (wire.congested()) {
      const timer = setTimeout(pump, CONGESTED_MS);
      next = { cancel: () => clearTimeout(timer) };
    } else {
      const turn = setImmediate(pump);
      next = { cancel: () => clearImmediate(turn) };
    }
  };
  return {
    holds: (callId) => queue.some((queued) => queued.callId === callId),
    add(callId, bytes, frames) {
      if (queuedBytes + bytes > BULK_BYTES_MAX)
        throw new QflError('overloaded', { detail: 'too much is waiting to be sent on this connection' });
      queue.push({ callId, bytes, frames });
      queuedBytes += bytes;
      schedule();
    },
    flush() {
      while (queue.length > 0) step();
    },
    stop() {
      next?.cancel();
      queue.length = 0;
    },
  };
};
