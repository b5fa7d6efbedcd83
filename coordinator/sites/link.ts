/**
 * One agent's connection at the coordinator: nothing is said before a valid M1, nothing is done before a valid M3, one handshake
 * at a time, five seconds for it. After that, calls; every hour the agent runs a fresh handshake on the same socket.
 */
import type { Clock } from '../../shared/clock.ts';
import type { CoordinatorWaiting, Introduction, SessionKeys } from '../../shared/crypto/handshake.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/log.ts';
import type { Message } from '../../shared/wire/message.ts';
import { createPeer, type Handlers, type Peer } from '../../shared/wire/peer.ts';
import { METHODS } from '../../shared/wire/session.ts';
import {
  createTransport,
  TAG_FIRST,
  TAG_SECOND,
  TAG_THIRD,
  type Transport,
  type Wire,
} from '../../shared/wire/transport.ts';
import type { HandshakeDesk } from './handshakes.ts';
import { REHANDSHAKE_MS } from './handshakes.ts';
import type { Connection, Presence } from './presence.ts';

export interface SiteLinkTimes {
  /** From the opening of the socket, and from each later M1, to a valid M3. */
  readonly handshakeMs: number;
  /** A session that was not renewed in time ends; the slack covers a busy moment. */
  readonly sessionMs: number;
}
export const DEFAULT_SITE_LINK_TIMES: SiteLinkTimes = {
  handshakeMs: 5_000,
  sessionMs: REHANDSHAKE_MS * 1.25,
};
/** Messages that may arrive between M3 and its entry in the log. */
const EARLY_MESSAGES_MAX = 64;

export interface SiteLinkOptions {
  readonly desk: HandshakeDesk;
  readonly presence: Presence;
  readonly clock: Clock;
  readonly logger: Logger;
  /** `connection` may be called once the first call arrives. */
  handlersFor(site: SiteId, connection: () => Connection): Handlers;
  readonly times?: SiteLinkTimes;
}

export interface AcceptedSocket {
  receive(bytes: Uint8Array): void;
  /** The socket is gone. */
  gone(): void;
}

export const acceptSocket = (wire: Wire, socketId: string, options: SiteLinkOptions): AcceptedSocket => {
  const { desk, presence, clock, logger, times = DEFAULT_SITE_LINK_TIMES } = options;
  let over = false;
  let waiting: CoordinatorWaiting | 'answering' | undefined;
  let connection: Connection | undefined;
  let early: Message[] | undefined = [];
  let peer: Peer | undefined;
  let sessionDeadline: NodeJS.Timeout | undefined;
  const awaitHandshake = (): NodeJS.Timeout =>
    setTimeout(
      () => transport.close(new QflError('timeout', { detail: 'no handshake in time' })),
      times.handshakeMs,
    );
  let handshakeDeadline = awaitHandshake();

  /** Tells an authenticated site why, then closes. */
  const dismiss = (error: QflError): void => {
    peer?.notify(METHODS.dismissed, { header: { code: error.code, detail: error.detail ?? '' } });
    transport.close(error);
  };
  const refuse = (error: unknown): void => {
    const refusal = toQflError(error);
    logger.warn({ code: refusal.code, detail: refusal.detail }, 'a handshake was refused');
    transport.close(refusal);
  };
  const first = async (bytes: Uint8Array): Promise<void> => {
    if (waiting !== undefined) throw new QflError('protocol', { detail: 'a handshake is under way already' });
    waiting = 'answering';
    clearTimeout(handshakeDeadline);
    handshakeDeadline = awaitHandshake();
    const answered = await desk.answer(bytes, socketId);
    // The socket may have gone while the store was read: then nobody will ever finish this.
    if (over) return answered.abandon();
    waiting = answered;
    transport.sendHandshake(TAG_SECOND, answered.message);
  };
  const third = async (bytes: Uint8Array): Promise<void> => {
    if (waiting === undefined || waiting === 'answering')
      throw new QflError('protocol', { detail: 'M3 without M2' });
    const answered = waiting;
    const { introduction } = answered;
    waiting = undefined;
    const { statement, keys } = answered.finish(bytes);
    const site = verified(introduction, statement, keys);
    transport.install(keys);
    clearTimeout(handshakeDeadline);
    clearTimeout(sessionDeadline);
    sessionDeadline = setTimeout(
      () => transport.close(new QflError('expired', { detail: 'the session was not renewed' })),
      times.sessionMs,
    );
    await desk.admit(introduction, statement, keys.transcriptHash);
    // A socket that went meanwhile must not stand in the list as this site's connection: nothing would take it out again.
    if (connection === undefined && !over) opened(site);
  };
  const verified = (introduction: Introduction, statement: Uint8Array, keys: SessionKeys): SiteId => {
    try {
      const site = desk.verify(introduction, statement, keys.transcriptHash);
      if (connection !== undefined && (connection.site !== site || introduction.kind !== 'session'))
        throw new QflError('protocol', { detail: 'a connection belongs to one site' });
      return site;
    } catch (error) {
      keys.send.close();
      keys.receive.close();
      throw error;
    }
  };
  const opened = (site: SiteId): void => {
    const made = createPeer(
      (message) => transport.send(message),
      options.handlersFor(site, () => own),
      logger,
    );
    const own: Connection = { site, peer: made, connectedMs: clock.nowMs(), close: dismiss };
    connection = own;
    peer = made;
    presence.arrived(own);
    const queued = early ?? [];
    early = undefined;
    for (const message of queued) transportMessage(message);
  };
  const transportMessage = (message: Message): void => {
    if (peer !== undefined) peer.receive(message);
    else if (early !== undefined && early.length < EARLY_MESSAGES_MAX) early.push(message);
    else throw new QflError('protocol', { detail: 'too many messages before the session is open' });
  };

  const transport: Transport = createTransport(wire, 'coordinator', clock, {
    handshake(tag, bytes) {
      const step =
        tag === TAG_FIRST
          ? first(bytes)
          : tag === TAG_THIRD
            ? third(bytes)
            : Promise.reject(new QflError('protocol', { detail: 'M2 at the coordinator' }));
      step.catch(refuse);
    },
    message: transportMessage,
    ended(error) {
      over = true;
      if (error.code !== 'not_connected')
        logger.warn(
          { site: connection?.site, code: error.code, detail: error.detail, err: error.cause },
          'a connection was ended',
        );
      clearTimeout(handshakeDeadline);
      clearTimeout(sessionDeadline);
      if (waiting !== undefined && waiting !== 'answering') waiting.abandon();
      peer?.close(error);
      if (connection !== undefined) presence.left(connection);
    },
  });
  return {
    receive: (bytes) => transport.receive(bytes),
    gone: () => transport.close(new QflError('not_connected', { detail: 'the agent is gone' })),
  };
};
