/**
 * The agent's guard over the key directory: mirror, own-name watch, witness and lockdown as one. What it knows of the coordinator is a peer
 * that may lie; what it gives the rest of the agent is a directory that a quorum of sites has seen alike.
 */
import { readCheckpoint } from '../../shared/audit/checkpoint.ts';
import { parseVerifierKey } from '../../shared/audit/verifier-key.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { fromUtf8, toBase64, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import type { IdentityPublic } from '../../shared/crypto/signature.ts';
import { type DirectoryState, inForceAt, requireSite } from '../../shared/directory/chain.ts';
import { toQflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Vault } from '../../shared/keys/vault.ts';
import type { Logger } from '../../shared/log.ts';
import { createSerial } from '../../shared/serial.ts';
import type { Store } from '../../shared/store/port.ts';
import { type Alarm, checkAlarm, signAlarm, SignedAlarm } from '../../shared/wire/alarm.ts';
import type { FederationInfo } from '../../shared/wire/federation-info.ts';
import type { Handler, Peer } from '../../shared/wire/peer.ts';
import { openAlarmTimes } from './alarm-times.ts';
import { type DirectoryMirror, type LeafSource, openDirectoryMirror, type Suspicion } from './directory.ts';
import { type Lockdown, openLockdown } from './lockdown.ts';
import { checkOwnName, createOwnLeaves, foreignRecord } from './own-name.ts';
import { openStandstillLog, standstillOf } from './standstill.ts';
import { createAgentWitness } from './witness.ts';

const DETAIL_MAX = 500;

const SUSPENDED = 'suspended/';

const suspicion = ({ site, atMs }: Alarm): Suspicion => ({
  reason: `${site} says that the directory holds a record under its name that it did not make`,
  sinceMs: atMs,
});

/** Also of a site that is suspended: it must be able to say that its alarm is over. */
const identityIn = (state: DirectoryState, site: SiteId, nowMs: number): IdentityPublic => {
  const keys = state.get(site);
  return keys?.suspended === undefined ? requireSite(state, site, nowMs).identity : keys.identity;
};

export interface DirectoryGuard {
  readonly mirror: DirectoryMirror;
  readonly lockdown: Lockdown;
  /** Answers `log.witness`. */
  readonly witness: Handler;
  /** A record of our own, before it is published. */
  remember(leaf: Uint8Array): Promise<void>;
  /** Brings the mirror up to date. @throws QflError `key_changed`, `revoked`, `bad_signature`, `protocol` */
  sync(peer: LeafSource): Promise<void>;
  /** A checkpoint that others cosigned. @throws QflError `key_changed` when it contradicts the mirror: then the site is locked down */
  confirm(note: string): Promise<void>;
  /**
   * Another site's alarm: when it says that a record under its name is not its own, its keys are out of use here until it says that this is over.
   * @throws QflError `protocol`, `bad_signature`, `unknown_key`; `expired` for one that is not newer than the last of that site
   */
  heed(signed: unknown): Promise<Alarm>;
  /** The coordinator has stopped the federation: since when; undefined while it goes on. */
  standstill(): { readonly sinceMs: number } | undefined;
  /** Tells a new connection what locked the site down, if anything did. */
  repeatAlarm(): void;
}

export interface GuardOptions {
  readonly store: Store;
  readonly vault: Vault;
  readonly audit: AuditLog;
  readonly site: SiteId;
  /** The site's first record, as it was enrolled. */
  readonly enrolment: Uint8Array;
  readonly info: FederationInfo;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ageMaxMs: number;
  /** The connection there is, from its first moment on. */
  peer(): Peer | undefined;
  /** Carries the site's alarm to the others, if it can. */
  alarm(signed: SignedAlarm): void;
}

export const openDirectoryGuard = async (options: GuardOptions): Promise<DirectoryGuard> => {
  const { store, vault, audit, site, info, clock, logger } = options;
  const keysLog = info.keysVerifierKeys.map(parseVerifierKey);
  const auditLog = info.auditVerifierKeys.map(parseVerifierKey);
  const ownLeaves = createOwnLeaves(store, site, options.enrolment);
  const warn = (what: string) => (error: unknown) => logger.warn({ err: error }, what);
  const times = await openAlarmTimes(store, clock);
  const inTurn = createSerial();
  const raise = (kind: Alarm['kind'], detail: string): void => {
    const { atMs, kept } = times.next();
    // An alarm does not wait for a disk that may be full.
    store.write([kept]).catch(warn('the time of an alarm could not be kept'));
    options.alarm(signAlarm(vault.identity, { site, kind, detail: detail.slice(0, DETAIL_MAX), atMs }));
  };
  const lockdown = await openLockdown({
    store,
    audit,
    clock,
    logger,
    engaged: ({ kind, detail }) => raise(kind, detail),
    released: () => raise('over', 'an administrator of the site ended its lockdown'),
  });
  const standstill = await openStandstillLog(store, audit);
  const mirror = await openDirectoryMirror({
    store,
    self: site,
    federation: info.name,
    logKeys: keysLog,
    clock,
    ageMaxMs: options.ageMaxMs,
    async adopted(leaves) {
      for (const leaf of leaves) {
        await standstill.log(leaf);
        if (await ownLeaves.isForeign(leaf))
          await lockdown.engage({
            kind: 'own_name',
            detail: foreignRecord(site).detail ?? 'a foreign record',
            evidence: toBase64(leaf),
          });
      }
    },
  });
  for await (const { value } of store.list({ prefix: SUSPENDED })) {
    const { alarm } = SignedAlarm.parse(JSON.parse(fromUtf8(value)));
    mirror.suspend(alarm.site, suspicion(alarm));
  }
  const sync = async (peer: LeafSource): Promise<void> => {
    await mirror.sync(peer);
    const own = mirror.seen.get(site);
    if (own !== undefined) await vault.settle(inForceAt(own, clock.nowMs()), clock.nowMs());
    checkOwnName(mirror.seen, site, vault.identity.publicKeys, clock.nowMs());
  };
  const refresh = async (): Promise<void> => {
    const peer = options.peer();
    if (peer !== undefined) await sync(peer);
  };
  const forked = (origin: string, note: string): void => {
    const detail = `${origin} shows a history that does not follow the one this site cosigned`;
    audit
      .record({ action: 'witness.refused', outcome: 'refused', objects: [{ kind: 'log', id: origin }] })
      .catch(warn('a refused checkpoint could not be logged'));
    if (origin !== keysLog[0]?.name) return raise('fork', detail);
    lockdown
      .engage({ kind: 'fork', detail, evidence: toBase64(utf8(note)) })
      .catch(warn('the lockdown could not be kept'));
  };
  const { handler: witness } = createAgentWitness({
    store,
    vault,
    self: site,
    federation: info.name,
    keysLog,
    auditLog,
    mirror,
    lockdown,
    clock,
    sync: refresh,
    forked,
  });
  return {
    mirror,
    lockdown,
    witness,
    remember: (leaf) => ownLeaves.remember(leaf),
    sync,
    async confirm(note) {
      if (readCheckpoint(note).size > mirror.checkpoint.size) await refresh();
      try {
        await mirror.confirm(note);
      } catch (error) {
        const { code, detail = '' } = toQflError(error);
        if (code === 'key_changed')
          await lockdown.engage({ kind: 'fork', detail, evidence: toBase64(utf8(note)) });
        throw error;
      }
    },
    async heed(signed) {
      const alarm = checkAlarm(signed, (from) => identityIn(mirror.state, from, clock.nowMs()));
      if (alarm.site === site) return alarm;
      return inTurn(async () => {
        const heard = await times.heard(alarm);
        if (alarm.kind === 'fork') {
          await store.write([heard]);
          return alarm;
        }
        const key = SUSPENDED + alarm.site;
        const value = utf8(JSON.stringify(signed));
        await store.write([
          heard,
          alarm.kind === 'over' ? { type: 'del', key } : { type: 'put', key, value },
        ]);
        mirror.suspend(alarm.site, alarm.kind === 'over' ? undefined : suspicion(alarm));
        return alarm;
      });
    },
    standstill: () => standstillOf(mirror),
    repeatAlarm() {
      if (lockdown.state !== undefined) raise(lockdown.state.kind, lockdown.state.detail);
    },
  };
};
