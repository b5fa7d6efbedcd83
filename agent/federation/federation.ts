/**
 * The agent's part in the federation: one link, the directory mirror and the board it keeps current, prekeys made in time, telemetry sent
 * in time, and the coordinator's word on the date for the ledger.
 */
import { baseOrigin } from '../../shared/audit/origin.ts';
import { parseVerifierKey, renamed } from '../../shared/audit/verifier-key.ts';
import { fromBase64, fromUtf8 } from '../../shared/bytes.ts';
import { type Clock, HOUR_MS } from '../../shared/clock.ts';
import { STATEMENT_LABEL } from '../../shared/crypto/handshake.ts';
import { always, type IdentitiesAt, verifySignature } from '../../shared/crypto/signature.ts';
import { COORDINATOR_NAME } from '../../shared/directory/record.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import { createHttpClient } from '../../shared/http/client.ts';
import type { RotationKind } from '../../shared/keys/vault.ts';
import type { Environment } from '../../shared/http/proxy.ts';
import type { Logger } from '../../shared/log.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import type { Alarm } from '../../shared/wire/alarm.ts';
import type { RecoveryState } from '../../shared/wire/keys.ts';
import type { Handlers, Peer } from '../../shared/wire/peer.ts';
import { verifyFederation } from '../../shared/wire/federation-info.ts';
import {
  Board,
  COSIGNED_BYTES_MAX,
  Dismissal,
  METHODS,
  SignedTime,
  Standing,
  type Telemetry,
  TIME_LABEL,
  timeMessage,
} from '../../shared/wire/session.ts';
import type { AgentHome } from '../home.ts';
import type { DirectoryMirror, LeafSource } from './directory.ts';
import { openDirectoryGuard } from './guard.ts';
import { approveRecovery } from './approve-recovery.ts';
import { directoryOver } from './directory-http.ts';
import { identitiesIn } from './identities.ts';
import { createOwnKeys } from './own-keys.ts';
import { type Link, startLink } from './link.ts';
import type { Lockdown } from './lockdown.ts';
import { answerLogHead, type CosignedLogs, createCosignedLogs } from './own-log.ts';
import { openSession, type OpenSession, type SessionIdentity } from './session.ts';
import { openSocket } from './socket.ts';
import { refuseStandstill, type Standstill } from './standstill.ts';

const CALL_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 20_000;
const TELEMETRY_MS = 2_000;
/** A record that was just published is cosigned within about a second. */
const CONFIRM_WAIT_MS = 3_000;
const ALARMS_MAX = 1_000;
const APPROVAL_POLL_MS = 2_000;
const REPLACED_POLL_MS = 50;

export interface FederationOptions {
  readonly home: AgentHome;
  /** The coordinator's address now. */
  readonly url: string;
  readonly ca: readonly string[] | undefined;
  /** The file that `ca` comes from. */
  readonly caFile: string | undefined;
  readonly env: Environment;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  /** How old the quorum's signatures may be for new questions. */
  readonly directoryAgeMaxMs: number;
  /** Days of a KEM epoch; the next one begins after five sixths of it. */
  readonly keyEpochDays: () => number;
  telemetry(): Promise<Telemetry>;
  /** Calls of the coordinator: `serve` and `audit.log`. */
  readonly handlers: () => Handlers;
  /** The UTC day that the coordinator signed. */
  confirmDay(timeMs: number): void;
  /** A new connection of an approved site, before anything else may use it. */
  connected(peer: Peer, coordinator: IdentitiesAt): Promise<void>;
}

export interface Federation {
  readonly link: Link;
  readonly mirror: DirectoryMirror;
  readonly lockdown: Lockdown;
  /** The coordinator has stopped the federation; undefined while it goes on. */
  readonly standstill: () => Standstill | undefined;
  /** Alarms of other sites since the start, newest last. */
  alarms(): readonly Alarm[];
  /** What others have cosigned of this site's log and the coordinator's. */
  readonly cosigned: CosignedLogs;
  readonly standing: 'unknown' | 'pending' | 'approved' | 'revoked';
  board(): Board | undefined;
  /** The coordinator's identities by time. */
  readonly coordinatorAt: IdentitiesAt;
  /** New keys of this site, announced and in force when it returns. @throws QflError `not_connected`, and what the coordinator refuses */
  rotate(kind: RotationKind, role: string): Promise<void>;
  /** The identity here speaks in the directory: a recovery of this name that waits is over. @throws QflError `not_connected` */
  speak(role: string): Promise<void>;
  /** @throws QflError `not_connected`, and what `approveRecovery` refuses */
  approveRecovery(request: string, phrase: string, role: string): Promise<RecoveryState>;
  refreshDirectory(): Promise<void>;
  /**
   * Gives a directory that has just grown a moment to be cosigned, then says whether new questions may rely on it.
   * @throws QflError `directory_stale`, `lockdown`
   */
  directoryReady(): Promise<void>;
  close(): Promise<void>;
}

export const startFederation = async (options: FederationOptions): Promise<Federation> => {
  const { home, clock, random, logger } = options;
  const { vault, profile } = home;
  const { site } = profile;
  const federation = verifyFederation(profile.federation, fromBase64(profile.coordinatorFingerprint));
  const auditLog = federation.info.auditVerifierKeys.map(parseVerifierKey);
  const alarms: Alarm[] = [];
  /** Set as soon as a session is open, before the link lets calls use it. */
  let openedPeer: Peer | undefined;
  const warn = (what: string) => (error: unknown) => logger.warn({ err: error }, what);
  const guard = await openDirectoryGuard({
    store: home.store,
    vault,
    audit: home.audit,
    site,
    enrolment: fromBase64(profile.leaf),
    info: federation.info,
    clock,
    logger,
    ageMaxMs: options.directoryAgeMaxMs,
    peer: () => openedPeer,
    alarm(signed) {
      openedPeer
        ?.request(METHODS.alarm, { header: signed }, { timeoutMs: CALL_TIMEOUT_MS })
        .catch(warn('the other sites could not be alarmed'));
    },
  });
  const { mirror, lockdown } = guard;
  let standing: Federation['standing'] = 'unknown';
  let board: Board | undefined;
  let currentPeer: Peer | undefined;

  const ownKeys = createOwnKeys({
    site,
    vault,
    guard,
    audit: home.audit,
    clock,
    enrolment: profile.leaf,
    epochDays: options.keyEpochDays,
  });
  const coordinatorAt = identitiesIn(() => mirror.seen, COORDINATOR_NAME, always(federation.identity));
  const identity = async (): Promise<SessionIdentity> => {
    const { size, root } = mirror.checkpoint;
    // The coordinator's newest key epoch, as its chain in the directory shows it.
    const coordinatorKey = mirror.seen.get(COORDINATOR_NAME)?.kem[0]?.key ?? federation.kemKey;
    return {
      coordinatorKey,
      logOrigin: federation.info.logOrigin,
      ...(await ownKeys.session()),
      checkpoint: { size: BigInt(size), root },
      statement: (hash) => vault.identity.sign(STATEMENT_LABEL, hash),
    };
  };

  const sync = (peer: LeafSource): Promise<void> =>
    guard.sync(peer).finally(() => {
      if (mirror.seen.get(site)?.revokedMs !== undefined) standing = 'revoked';
    });
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
    const message = timeMessage(nonce, timeMs);
    const signers = coordinatorAt(clock.nowMs());
    if (!signers.some((key) => verifySignature(key, TIME_LABEL, message, fromBase64(signature))))
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
  const fetchConfirmed = async (peer: Peer): Promise<void> => {
    const { payload } = await peer.request(METHODS.directoryCheckpoint, {}, { timeoutMs: CALL_TIMEOUT_MS });
    if (payload.byteLength > 0 && payload.byteLength <= COSIGNED_BYTES_MAX)
      await guard.confirm(fromUtf8(payload));
  };
  const onOpen = async (peer: Peer): Promise<void> => {
    openedPeer = peer;
    await awaitApproval(peer);
    await sync(peer);
    await ownKeys.renew(peer);
    guard.repeatAlarm();
    await fetchConfirmed(peer);
    // Usually there in a moment. Without it the site is connected all the same, and questions to others say what is missing.
    await mirror.until(mirror.checkpoint.size, CONFIRM_WAIT_MS);
    await confirmTime(peer);
    await options
      .connected(peer, coordinatorAt)
      .catch(warn('the privacy ledger could not be compared with the coordinator'));
    peer.notify(METHODS.telemetry, { header: await options.telemetry() });
    currentPeer = peer;
  };
  const refreshDirectory = (): Promise<void> =>
    currentPeer === undefined ? Promise.resolve() : sync(currentPeer);
  const connected = async <Value>(work: (peer: Peer) => Promise<Value>): Promise<Value> => {
    if (link.state !== 'online' || currentPeer === undefined)
      throw new QflError('not_connected', {
        detail: 'new keys count once the directory has them, and this site is not connected to it',
        next: 'See "qfl agent status", and try again when the link is online.',
      });
    return work(currentPeer);
  };
  /** Until another connection than this one is in use, or that takes too long. */
  const replaced = async (peer: Peer): Promise<void> => {
    const isReplaced = (): boolean => currentPeer !== peer && link.state === 'online';
    const endMs = clock.monotonicMs() + CALL_TIMEOUT_MS;
    while (!isReplaced() && clock.monotonicMs() < endMs)
      await new Promise((resolve) => setTimeout(resolve, REPLACED_POLL_MS));
  };
  const isStale = (): boolean => {
    try {
      mirror.requireFresh();
      return false;
    } catch {
      return true;
    }
  };
  /** Is a site there whose record is here but not cosigned yet? Usually for a moment. */
  const hasNewcomer = (): boolean =>
    (board?.sites ?? []).some(
      (one) => one.online && mirror.seen.has(one.site) && !mirror.state.has(one.site),
    );

  const cosigned = createCosignedLogs(home.store, (origin) => {
    if (origin === home.audit.log.origin) return home.audit.log.verifierKeys.map(parseVerifierKey);
    const isCoordinators = baseOrigin(origin) === baseOrigin(auditLog[0]?.name ?? '');
    return isCoordinators ? auditLog.map((key) => renamed(key, origin)) : undefined;
  });
  const handlers: Handlers = {
    ...options.handlers(),
    [METHODS.witness]: guard.witness,
    [METHODS.logHead]: { kind: 'plain', answer: (call) => answerLogHead(home.audit.log, call) },
    [METHODS.logCosigned]: {
      kind: 'event',
      accept: (message) => void cosigned.keep(message).catch(warn('a cosigned checkpoint could not be kept')),
    },
    [METHODS.directoryConfirmed]: {
      kind: 'event',
      accept({ payload }) {
        if (payload.byteLength <= COSIGNED_BYTES_MAX)
          guard.confirm(fromUtf8(payload)).catch(warn('a cosigned directory was refused'));
      },
    },
    [METHODS.alarm]: {
      kind: 'event',
      accept({ header }) {
        const log = async (): Promise<void> => {
          const alarm = await guard.heed(header);
          if (alarm.site === site) return;
          alarms.push(alarm);
          if (alarms.length > ALARMS_MAX) alarms.shift();
          logger.error({ from: alarm.site, kind: alarm.kind, detail: alarm.detail }, 'alarm of another site');
          await home.audit.record({
            action: 'directory.alarm',
            outcome: 'ok',
            objects: [
              { kind: 'site', id: alarm.site },
              { kind: 'reason', id: alarm.kind },
            ],
          });
        };
        log().catch(warn('an alarm was refused'));
      },
    },
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
  /**
   * Whoever was away while the coordinator's keys, or its own, changed is refused. The directory is public: it is read without a session, checked as
   * always, and the next attempt uses the keys that it shows.
   */
  const withDirectory = async (open: () => Promise<OpenSession>): Promise<OpenSession> => {
    try {
      return await open();
    } catch (error) {
      if (toQflError(error).code !== 'handshake_refused') throw error;
      const before = mirror.checkpoint.size;
      await readDirectory();
      if (mirror.checkpoint.size === before) throw error;
      return open();
    }
  };
  const readDirectory = async (): Promise<void> => {
    const client = createHttpClient({
      baseUrl: options.url,
      pinnedFingerprint: profile.tlsFingerprint ?? undefined,
      caFile: options.caFile,
      apiKey: undefined,
      env: options.env,
      timeoutMs: CALL_TIMEOUT_MS,
    });
    try {
      await sync(directoryOver(client));
    } finally {
      await client.close();
    }
  };
  const link = startLink({
    connect: () =>
      withDirectory(async () => {
        const socket = await openSocket({
          url: options.url,
          pinnedFingerprint: profile.tlsFingerprint ?? undefined,
          ca: options.ca,
          env: options.env,
          connectTimeoutMs: CONNECT_TIMEOUT_MS,
        });
        return openSession(socket, identity, handlers, { clock, hedge: vault.hedge, logger });
      }),
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
    every(HOUR_MS, 'the keys could not be renewed', () =>
      currentPeer === undefined ? Promise.resolve() : ownKeys.renew(currentPeer),
    ),
    every(HOUR_MS, 'the date could not be confirmed', () =>
      currentPeer === undefined ? Promise.resolve() : confirmTime(currentPeer),
    ),
  ];
  return {
    link,
    mirror,
    lockdown,
    standstill: () => guard.standstill(),
    alarms: () => alarms,
    cosigned,
    async directoryReady() {
      lockdown.require();
      refuseStandstill(guard.standstill());
      if (link.state === 'online' && (isStale() || hasNewcomer()))
        await mirror.until(mirror.checkpoint.size, CONFIRM_WAIT_MS);
      mirror.requireFresh();
      // It may have come while the directory was waited for.
      refuseStandstill(guard.standstill());
    },
    get standing() {
      return standing;
    },
    board: () => board,
    coordinatorAt,
    rotate: (kind, role) =>
      connected(async (peer) => {
        await ownKeys.rotate(peer, kind, role);
        // The coordinator ends what was opened with the old keys; done is done when the new ones have opened a session.
        if (kind === 'emergency') await replaced(peer);
      }),
    approveRecovery: (request, phrase, role) =>
      connected((peer) =>
        approveRecovery({ request, phrase, role }, peer, {
          self: site,
          vault,
          mirror,
          audit: home.audit,
          clock,
        }),
      ),
    speak: (role) => connected((peer) => ownKeys.speak(peer, role)),
    async refreshDirectory() {
      await refreshDirectory();
      await mirror.until(mirror.checkpoint.size, CONFIRM_WAIT_MS);
    },
    async close() {
      for (const timer of timers) clearInterval(timer);
      await link.close();
    },
  };
};
