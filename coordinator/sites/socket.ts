/** The WebSocket face for agents: Socket.IO with one binary event, websocket only, every convenience that hides state off. */
import type { Server as HttpServer } from 'node:http';
import { Server } from 'socket.io';
import type { Clock } from '../../shared/clock.ts';
import { MINUTE_MS } from '../../shared/clock.ts';
import { FRAME_EVENT, frameParser, isCongested } from '../../shared/wire/socketio-parser.ts';
import type { Wire } from '../../shared/wire/transport.ts';
import type { AcceptedSocket } from './link.ts';

export const SOCKET_BUFFER_BYTES_MAX = 1_048_576;
const ADDRESSES_MAX = 10_000;

export interface SocketServerOptions {
  readonly clock: Clock;
  /** New connections an address may open in a minute. */
  readonly connectionsPerMinute: number;
  accept(wire: Wire, socketId: string): AcceptedSocket;
}

/** Counts per address in a fixed window; bounded, and forgetful in the caller's favour when full. */
const createConnectionLimit = (clock: Clock, perMinute: number): ((address: string) => boolean) => {
  let windowStartMs = clock.monotonicMs();
  const counts = new Map<string, number>();
  return (address) => {
    if (clock.monotonicMs() - windowStartMs >= MINUTE_MS || counts.size >= ADDRESSES_MAX) {
      windowStartMs = clock.monotonicMs();
      counts.clear();
    }
    const count = (counts.get(address) ?? 0) + 1;
    counts.set(address, count);
    return count <= perMinute;
  };
};

export const attachSocketServer = (
  http: HttpServer,
  options: SocketServerOptions,
): { close(): Promise<void> } => {
  const mayConnect = createConnectionLimit(options.clock, options.connectionsPerMinute);
  const server = new Server(http, {
    transports: ['websocket'],
    allowUpgrades: false,
    perMessageDeflate: false,
    httpCompression: false,
    serveClient: false,
    maxHttpBufferSize: SOCKET_BUFFER_BYTES_MAX,
    connectTimeout: 10_000,
    pingInterval: 10_000,
    pingTimeout: 10_000,
    parser: frameParser,
    allowRequest: (request, decide) => {
      const allowed = mayConnect(request.socket.remoteAddress ?? 'unknown');
      decide(allowed ? null : 'too many connections', allowed);
    },
  });
  server.on('connection', (socket) => {
    let closed = false;
    const wire: Wire = {
      send: (bytes) => void (closed || socket.emit(FRAME_EVENT, bytes)),
      congested: () => !closed && isCongested(socket.conn),
      close() {
        if (closed) return;
        closed = true;
        socket.disconnect(true);
      },
    };
    const accepted = options.accept(wire, socket.id);
    socket.on(FRAME_EVENT, (bytes: unknown) => {
      if (bytes instanceof Uint8Array) accepted.receive(bytes);
    });
    socket.on('disconnect', () => {
      closed = true;
      accepted.gone();
    });
  });
  return {
    close() {
      server.disconnectSockets(true);
      // Not `server.close()`: that would close the HTTP server too, which has its own owner.
      server.engine.close();
      return Promise.resolve();
    },
  };
};
