/**
 * The agent's part in the federation: one link, the directory mirror and the board it keeps current, prekeys made in time, telemetry sent
 * in time, and the coordinator's word on the date for the ledger.
 */
import { fromBase64, toHex } from '../../shared/bytes.ts';
import { type Clock, DAY_MS, HOUR_MS } from '../../shared/clock.ts';
import { STATEMENT_LABEL } from '../../shared/crypto/handshake.ts';
import { type IdentityPublic, verifySignature } from '../../shared/crypto/signature.ts';
import { requireSite } from '../../shared/directory/chain.ts';
import { COORDINATOR_NAME, directoryLeafHash } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import type { Environment } from '../../shared/http/proxy.ts';
import type { Logger } from '../../shared/log.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import type { Handlers, Peer } from '../../shared/wire/peer.ts';
import { verifyFederation } from '../../shared/wire/federation-info.ts';
import {
  Board,
  Dismissal,
  METHODS,
  SignedTime,
  Standing,
  type Telemetry,
  TIME_LABEL,
  timeMessage,
} from '../../shared/wire/session.ts';
import type { AgentHome } from '../home.ts';
import { type DirectoryMirror, openDirectoryMirror } from './directory.ts';
import { type Link, startLink } from './link.ts';
import { checkOwnName } from './own-name.ts';
import { openSession, type SessionIdentity } from './session.ts';
import { openSocket } from './socket.ts';

const CALL_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 20_000;
const TELEMETRY_MS = 2_000;
const APPROVAL_POLL_MS = 2_000;
/** A new prekey when the newest is this old; it lives twice as long, so one missed day leaves no gap. */
const PREKEY_RENEW_MS = DAY_MS;

export interface FederationOptions {
  readonly home: AgentHome;
  /** The coordinator's address now. */
  readonly url: string;
  readonly ca: readonly string[] | undefined;
  readonly env: Environment;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  telemetry(): Promise<Telemetry>;
  /** Calls of the coordinator: `serve` and `audit.log`. */
  readonly handlers: () => Handlers;
  /** The UTC day that the coordinator signed. */
  confirmDay(timeMs: number): void;
  /** A new connection of an approved site, before anything else may use it. */
  connected(peer: Peer, coordinator: IdentityPublic): Promise<void>;
}

export interface Federation {
  readonly link: Link;
  readonly mirror: DirectoryMirror;
  readonly standing: 'unknown' | 'pending' | 'approved' | 'revoked';
  board(): Board | undefined;
  refreshDirectory(): Promise<void>;
  close(): Promise<void>;
}

export const startFederation = async (options: FederationOptions): Promise<Federation> => {
  const { home, clock, random, logger } = options;
  const { vault, profile } = home;
  const { site } = profile;
  const federation = verifyFederation(profile.federation, fromBase64(profile.coordinatorFingerprint));
  const mirror = await openDirectoryMirror(home.store, federation.info.keysVerifierKey);
  let standing: Federation['standing'] = 'unknown';
  let board: Board | undefined;
  let currentPeer: Peer | undefined;

  const identity = async (): Promise<SessionIdentity> => {
    const [kem] = await vault.kemKeys();
    if (kem === undefined) throw new QflError('internal', { detail: 'no key to connect with' });
    const { size, root } = mirror.checkpoint;
    // The coordinator's newest key epoch, as its chain in the directory shows it.
    const coordinatorKey = mirror.state.get(COORDINATOR_NAME)?.kem[0]?.key ?? federation.kemKey;
    return {
      coordinatorKey,
      logOrigin: federation.info.logOrigin,
      staticKey: kem.pair,
      leafHash: ownLeafHash(kem.pair.publicKey),
      checkpoint: { size: BigInt(size), root },
      statement: (hash) => vault.identity.sign(STATEMENT_LABEL, hash),
    };
  };
  const ownLeafHash = (publicKey: Uint8Array): Uint8Array =>
    mirror.state.get(site)?.kem.find(({ key }) => toHex(key) === toHex(publicKey))?.leafHash ??
    directoryLeafHash(fromBase64(profile.leaf));

  const watchOwnName = (): void => {
    if (mirror.state.get(site)?.revokedMs !== undefined) standing = 'revoked';
    checkOwnName(mirror.state, site, vault.identity.publicKeys);
  };
  const sync = async (peer: Peer): Promise<void> => {
    await mirror.sync(peer);
    watchOwnName();
  };
  const publishPrekey = async (peer: Peer): Promise<void> => {
    const nowMs = Math.trunc(clock.nowMs());
    const keys = requireSite(mirror.state, site);
    const newest = keys.prekeys.at(-1);
    const held = newest !== undefined && (await vault.prekeySeed(newest.id)) !== undefined;
    if (held && newest.fromMs + PREKEY_RENEW_MS > nowMs && newest.fromMs <= nowMs) return;
    await peer.request(
      METHODS.publish,
      { payload: await vault.prekeyLeaf(nowMs, keys) },
      { timeoutMs: CALL_TIMEOUT_MS },
    );
    await vault.forgetPrekeys(nowMs);
    await sync(peer);
  };
  const confirmTime = async (peer: Peer): Promise<void> => {
    const nonce = randomHex(random, 16);
    const { header } = await peer.request(
      METHODS.time,
      { header: { nonce } },
      { timeoutMs: CALL_TIMEOUT_MS },
    );
    const signed = SignedTime.safeParse(header);
    if (!signed.success || signed.data.nonce !== nonce)
      throw new QflError('protocol', { detail: 'a wrong time reply' });
    const { timeMs, signature } = signed.data;
    if (!verifySignature(federation.identity, TIME_LABEL, timeMessage(nonce, timeMs), fromBase64(signature)))
      throw new QflError('bad_signature', { detail: "the coordinator's time is not signed by it" });
    options.confirmDay(timeMs);
  };
  const awaitApproval = async (peer: Peer): Promise<void> => {
    for (;;) {
      const { header } = await peer.request(METHODS.hello, {}, { timeoutMs: CALL_TIMEOUT_MS });
      const { status } = Standing.parse(header);
      if (status === 'approved') {
        standing = 'approved';
        return;
      }
      if (standing !== 'pending') logger.info('waiting for the operator to approve this site');
      standing = 'pending';
      await new Promise((resolve) => setTimeout(resolve, APPROVAL_POLL_MS));
    }
  };
  const report = async (): Promise<void> => {
    link.notify(METHODS.telemetry, { header: await options.telemetry() });
  };
  const onOpen = async (peer: Peer): Promise<void> => {
    await awaitApproval(peer);
    await sync(peer);
    await publishPrekey(peer);
    await confirmTime(peer);
    await options
      .connected(peer, federation.identity)
      .catch(warn('the privacy ledger could not be compared with the coordinator'));
    peer.notify(METHODS.telemetry, { header: await options.telemetry() });
    currentPeer = peer;
  };
  const warn = (what: string) => (error: unknown) => logger.warn({ err: error }, what);
  const refreshDirectory = (): Promise<void> =>
    currentPeer === undefined ? Promise.resolve() : sync(currentPeer);

  const handlers: Handlers = {
    ...options.handlers(),
    [METHODS.board]: {
      kind: 'event',
      accept({ header }) {
        board = Board.parse(header);
        if (board.directorySize > mirror.checkpoint.size)
          refreshDirectory().catch(warn('the directory could not be refreshed'));
      },
    },
    [METHODS.dismissed]: {
      kind: 'event',
      accept({ header }) {
        const { code, detail } = Dismissal.parse(header);
        if (code === 'revoked') standing = 'revoked';
        logger.warn({ code, detail }, 'the coordinator ends the connection');
      },
    },
  };
  const link = startLink({
    connect: async () => {
      const socket = await openSocket({
        url: options.url,
        pinnedFingerprint: profile.tlsFingerprint ?? undefined,
        ca: options.ca,
        env: options.env,
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
      });
      return openSession(socket, identity, handlers, { clock, hedge: vault.hedge, logger });
    },
    onOpen,
    clock,
    random,
    logger,
  });
  const every = (ms: number, what: string, run: () => Promise<unknown>): NodeJS.Timeout =>
    setInterval(() => {
      if (link.state === 'online') run().catch(warn(what));
    }, ms);
  const timers = [
    every(TELEMETRY_MS, 'telemetry could not be sent', report),
    every(HOUR_MS, 'the prekey could not be renewed', () =>
      currentPeer === undefined ? Promise.resolve() : publishPrekey(currentPeer),
    ),
    every(HOUR_MS, 'the date could not be confirmed', () =>
      currentPeer === undefined ? Promise.resolve() : confirmTime(currentPeer),
    ),
  ];
  return {
    link,
    mirror,
    get standing() {
      return standing;
    },
    board: () => board,
    refreshDirectory,
    async close() {
      for (const timer of timers) clearInterval(timer);
      await link.close();
    },
  };
};
