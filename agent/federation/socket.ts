/** One Socket.IO connection to the coordinator. A new socket for each attempt: nothing is ever buffered from one to the next. */
import { Agent } from 'node:https';
import type { Duplex } from 'node:stream';
import { io } from 'socket.io-client';
import { QflError } from '../../shared/errors.ts';
import { openTls } from '../../shared/http/connect.ts';
import { type Environment, proxyFor } from '../../shared/http/proxy.ts';
import { FRAME_EVENT, frameParser, isCongested } from '../../shared/wire/socketio-parser.ts';
import type { Wire } from '../../shared/wire/transport.ts';

export interface SocketTarget {
  /** Coordinator's base URL, http (loopback) or https. */
  readonly url: string;
  /** SHA-256 of the coordinator's self-signed certificate, hex; takes the place of chain and name. */
  readonly pinnedFingerprint: string | undefined;
  /** PEM certificates to trust: the system's and a private CA. */
  readonly ca: readonly string[] | undefined;
  /** HTTPS_PROXY and NO_PROXY are read here. */
  readonly env: Environment;
  readonly connectTimeoutMs: number;
}

export interface OpenSocket {
  readonly wire: Wire;
  readonly socketId: string;
  /** Sets the one receiver; frames that came earlier are delivered at once. */
  onFrame(receive: (bytes: Uint8Array) => void): void;
  /** Resolves with the reason when the socket is gone. */
  readonly gone: Promise<string>;
}

/** Opens each connection with the certificate checked before a byte leaves, through the proxy where there is one. */
const tlsAgent = (target: SocketTarget): Agent => {
  const url = new URL(target.url);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const { pinnedFingerprint, ca, connectTimeoutMs: timeoutMs } = target;
  const createConnection = (
    _options: unknown,
    created: (error: Error | null, socket?: Duplex) => void,
  ): void => {
    openTls({
      host,
      port: Number(url.port || 443),
      pinnedFingerprint,
      ca,
      proxy: proxyFor(url, target.env),
      timeoutMs,
    }).then(
      (socket) => created(null, socket),
      (error: unknown) => created(error instanceof Error ? error : new Error('connection failed')),
    );
  };
  return Object.assign(new Agent({ keepAlive: false }), { createConnection });
};

/** @throws QflError `not_connected` */
export const openSocket = (target: SocketTarget): Promise<OpenSocket> => {
  // Socket.IO's types know browser agents only; in Node this goes to the WebSocket as it is.
  const inNode: object = target.url.startsWith('https:') ? { agent: tlsAgent(target) } : {};
  const socket = io(target.url, {
    transports: ['websocket'],
    parser: frameParser,
    forceNew: true,
    multiplex: false,
    reconnection: false,
    autoConnect: false,
    timeout: target.connectTimeoutMs,
    ...inNode,
  });
  const early: Uint8Array[] = [];
  let receive: (bytes: Uint8Array) => void = (bytes) => void early.push(bytes);
  let closed = false;
  const wire: Wire = {
    send: (bytes) => void (closed || socket.emit(FRAME_EVENT, bytes)),
    congested: () => !closed && isCongested(socket.io.engine),
    close() {
      if (closed) return;
      closed = true;
      // A moment for the final frame to leave before the socket closes under it.
      setImmediate(() => socket.disconnect());
    },
  };
  socket.on(FRAME_EVENT, (bytes: unknown) => {
    if (bytes instanceof Uint8Array) receive(bytes);
  });
  const gone = new Promise<string>((resolve) => {
    socket.on('disconnect', (reason) => {
      closed = true;
      socket.removeAllListeners();
      resolve(reason);
    });
  });
  return new Promise((resolve, reject) => {
    socket.once('connect', () =>
      resolve({
        wire,
        socketId: socket.id ?? '',
        gone,
        onFrame(next) {
          receive = next;
          for (const bytes of early.splice(0)) next(bytes);
        },
      }),
    );
    socket.once('connect_error', (cause) => {
      socket.disconnect();
      reject(
        new QflError('not_connected', {
          detail: `the coordinator at ${target.url} cannot be reached`,
          next: 'Check the address, the certificate and the proxy.',
          cause,
        }),
      );
    });
    socket.connect();
  });
};
