/** One Socket.IO connection to the coordinator. A new socket for each attempt: nothing is ever buffered from one to the next. */
import type { Agent } from 'node:http';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { getProxyForUrl } from 'proxy-from-env';
import { io } from 'socket.io-client';
import { QflError } from '../../shared/errors.ts';
import { FRAME_EVENT, frameParser } from '../../shared/wire/socketio-parser.ts';
import type { Wire } from '../../shared/wire/transport.ts';

export interface SocketTarget {
  /** Coordinator's base URL, http or https. */
  readonly url: string;
  /** PEM of the certificate authority (or the pinned self-signed certificate) to trust besides the system's. */
  readonly ca: string | undefined;
  /** True when `ca` is the very certificate of the server: then its name does not matter. */
  readonly caIsPin: boolean;
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

const proxyAgent = (target: SocketTarget): Agent | undefined => {
  const proxy = getProxyForUrl(target.url);
  return proxy === ''
    ? undefined
    : new HttpsProxyAgent(proxy, target.ca === undefined ? {} : { ca: target.ca });
};

const tlsOptions = (target: SocketTarget) => ({
  ...(target.ca === undefined ? {} : { ca: target.ca }),
  ...(target.caIsPin ? { checkServerIdentity: () => undefined } : {}),
});

/** @throws QflError `not_connected` */
export const openSocket = (target: SocketTarget): Promise<OpenSocket> => {
  const agent = proxyAgent(target);
  const socket = io(target.url, {
    transports: ['websocket'],
    parser: frameParser,
    forceNew: true,
    multiplex: false,
    reconnection: false,
    autoConnect: false,
    timeout: target.connectTimeoutMs,
    ...tlsOptions(target),
    // Socket.IO's types know browser agents only; in Node this goes to the WebSocket as it is.
    ...(agent === undefined ? {} : { agent: agent as unknown as string }),
  });
  const early: Uint8Array[] = [];
  let receive: (bytes: Uint8Array) => void = (bytes) => void early.push(bytes);
  let closed = false;
  const wire: Wire = {
    send: (bytes) => void (closed || socket.emit(FRAME_EVENT, bytes)),
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
