/** The agent's side of one connection: handshake, then calls, then a fresh handshake every so often on the same socket. */
import { fromUtf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { type AgentWaiting, type EnrolmentSecret, startHandshake } from '../../shared/crypto/handshake.ts';
import type { Hedge, XWingKeyPair } from '../../shared/crypto/xwing.ts';
import { createDeferred } from '../../shared/deferred.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { createPeer, type Handlers, type Peer } from '../../shared/wire/peer.ts';
import { Welcome } from '../../shared/wire/session.ts';
import {
  createTransport,
  TAG_FIRST,
  TAG_SECOND,
  TAG_THIRD,
  type Transport,
} from '../../shared/wire/transport.ts';
import type { OpenSocket } from './socket.ts';
import { VERSION } from '../../shared/version.ts';

export const HANDSHAKE_TIMEOUT_MS = 10_000;

export interface SessionIdentity {
  readonly coordinatorKey: Uint8Array;
  readonly logOrigin: string;
  readonly staticKey: XWingKeyPair;
  readonly leafHash: Uint8Array;
  readonly enrolment?: EnrolmentSecret;
  readonly checkpoint: { readonly size: bigint; readonly root: Uint8Array };
  /** M3's content for a transcript hash. */
  statement(transcriptHash: Uint8Array): Uint8Array;
}

export interface OpenSession {
  readonly peer: Peer;
  readonly welcome: Welcome;
  /** Resolves when the connection is over, with why. */
  readonly ended: Promise<QflError>;
  close(): void;
}

const parseWelcome = (bytes: Uint8Array): Welcome => {
  try {
    return Welcome.parse(JSON.parse(fromUtf8(bytes)));
  } catch (cause) {
    throw new QflError('protocol', { detail: "the coordinator's welcome is not valid", cause });
  }
};

/**
 * Runs the handshake on an open socket. `identity` is asked again for every fresh handshake, so that rotated keys come into
 * force without a restart.
 * @throws QflError `handshake_refused`, `timeout`, `not_connected`
 */
export const openSession = async (
  socket: OpenSocket,
  identity: () => Promise<SessionIdentity>,
  handlers: Handlers,
  deps: { readonly clock: Clock; readonly hedge: Hedge; readonly logger: Logger },
): Promise<OpenSession> => {
  const { clock, hedge, logger } = deps;
  let waiting: { readonly state: AgentWaiting; readonly identity: SessionIdentity } | undefined;
  let rehandshake: NodeJS.Timeout | undefined;
  let deadline: NodeJS.Timeout | undefined;
  let isOpen = false;
  let over = false;
  const opened = createDeferred<Welcome>();
  const ended = createDeferred<QflError>();
  // A refusal before the session opens reaches the caller through `opened`; nobody may be listening to it later.
  opened.promise.catch(() => undefined);

  const begin = async (): Promise<void> => {
    deadline = setTimeout(
      () => transport.close(new QflError('timeout', { detail: 'the handshake took too long' })),
      HANDSHAKE_TIMEOUT_MS,
    );
    const mine = await identity();
    if (over) return;
    const { coordinatorKey, logOrigin, staticKey, leafHash, checkpoint, enrolment } = mine;
    const state = startHandshake({
      coordinatorKey,
      logOrigin,
      staticKey,
      leafHash,
      checkpoint,
      hedge,
      socketId: socket.socketId,
      versions: 'fed-hs/1',
      softwareVersion: VERSION,
      ...(enrolment === undefined ? {} : { enrolment }),
    });
    waiting = { state, identity: mine };
    transport.sendHandshake(TAG_FIRST, state.message);
  };
  const renew = (): void => void begin().catch((error: unknown) => transport.close(toQflError(error)));
  const finish = (second: Uint8Array): void => {
    if (waiting === undefined) throw new QflError('protocol', { detail: 'M2 without M1' });
    const { state, identity: mine } = waiting;
    waiting = undefined;
    const finished = state.finish(second, (hash) => mine.statement(hash));
    const welcome = parseWelcome(finished.welcome);
    clearTimeout(deadline);
    isOpen = true;
    // In this order: the old session's last frame, M3, then frames of the new session.
    transport.install(finished.keys, () => transport.sendHandshake(TAG_THIRD, finished.message));
    // The session of an enrolment is short: its token opens no second one.
    if (mine.enrolment === undefined) rehandshake = setTimeout(renew, welcome.rehandshakeMs);
    opened.resolve(welcome);
  };
  const transport: Transport = createTransport(socket.wire, 'agent', clock, {
    handshake(tag, bytes) {
      if (tag !== TAG_SECOND) throw new QflError('protocol', { detail: 'an unexpected handshake message' });
      finish(bytes);
    },
    message: (message) => peer.receive(message),
    ended(error) {
      over = true;
      clearTimeout(deadline);
      clearTimeout(rehandshake);
      peer.close(error);
      opened.reject(error);
      ended.resolve(error);
    },
  });
  const peer = createPeer((message) => transport.send(message), handlers, logger);
  const refused = new QflError('handshake_refused', {
    detail: 'the coordinator closed the connection during the handshake',
    next: 'It does that when the site is unknown, revoked or not approved, or the token is used or expired. Ask its operator.',
  });
  void socket.gone.then(() =>
    transport.close(
      // Only the first handshake can be refused like this; a session that was open ends with a final frame or by a loss.
      isOpen || waiting === undefined
        ? new QflError('not_connected', { detail: 'the connection was lost' })
        : refused,
    ),
  );
  socket.onFrame((bytes) => transport.receive(bytes));

  try {
    await begin();
    const welcome = await opened.promise;
    return { peer, welcome, ended: ended.promise, close: () => transport.close() };
  } catch (error) {
    transport.close(toQflError(error));
    throw error;
  }
};
