/**
 * A Socket.IO parser for exactly what we send: one event with one Buffer, as one binary WebSocket frame (the default parser
 * takes two). Control packets stay JSON text. Anything else is an error, which makes Socket.IO close the
 * connection; so an unknown event cannot even be expressed.
 */
import { EventEmitter } from 'node:events';
import { z } from 'zod';

/** The one event name of the federation. */
export const FRAME_EVENT = 'f';

const CONNECT = 0;
const DISCONNECT = 1;
const EVENT = 2;
const CONNECT_ERROR = 4;
const CONTROL_BYTES_MAX = 4_096;

const Control = z.strictObject({
  type: z.union([z.literal(CONNECT), z.literal(DISCONNECT), z.literal(CONNECT_ERROR)]),
  nsp: z.literal('/'),
  data: z.record(z.string(), z.unknown()).optional(),
});

interface Packet {
  readonly type: number;
  readonly nsp: string;
  readonly data?: unknown;
}

const frameOf = (data: unknown): Uint8Array => {
  const [event, bytes]: unknown[] = Array.isArray(data) ? data : [];
  if (event !== FRAME_EVENT || !(bytes instanceof Uint8Array)) throw new Error('only frames travel here');
  return bytes;
};

class Encoder {
  encode(packet: Packet): (string | Uint8Array)[] {
    if (packet.type === EVENT) return [frameOf(packet.data)];
    return [
      JSON.stringify(
        Control.parse({
          type: packet.type,
          nsp: packet.nsp,
          ...(packet.data === undefined ? {} : { data: packet.data }),
        }),
      ),
    ];
  }
}

// Socket.IO asks for an emitter with `add` and `destroy`.
class Decoder extends EventEmitter {
  add(chunk: unknown): void {
    if (typeof chunk === 'string') {
      if (chunk.length > CONTROL_BYTES_MAX) throw new Error('a control packet is too long');
      this.emit('decoded', Control.parse(JSON.parse(chunk)));
      return;
    }
    const bytes = chunk instanceof ArrayBuffer ? new Uint8Array(chunk) : chunk;
    if (!(bytes instanceof Uint8Array)) throw new Error('only frames travel here');
    this.emit('decoded', { type: EVENT, nsp: '/', data: [FRAME_EVENT, bytes] });
  }

  destroy(): void {
    this.removeAllListeners();
  }
}

/**
 * Does this Engine.IO connection (either side's) hold packets that have not been given to the network yet? Both keep them in
 * `writeBuffer` until the WebSocket has taken what came before.
 */
export const isCongested = (engine: object): boolean => {
  const waiting: unknown = Reflect.get(engine, 'writeBuffer');
  return Array.isArray(waiting) && waiting.length > 0;
};

export const frameParser = { Encoder, Decoder };
