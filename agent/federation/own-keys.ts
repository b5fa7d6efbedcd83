/**
 * The site's own keys as its chain in the directory has them: which to connect with, when the next epoch is due, and new ones by command. New keys are
 * on the disk before they are announced, and count here once the directory shows them.
 */
import { equalConstantTime, fromBase64 } from '../../shared/bytes.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { type Clock, DAY_MS } from '../../shared/clock.ts';
import type { XWingKeyPair } from '../../shared/crypto/xwing.ts';
import { inForceAt, requireSite, type SiteKeys } from '../../shared/directory/chain.ts';
import { directoryLeafHash } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import { isEpochDue, type RotationKind, type Vault } from '../../shared/keys/vault.ts';
import type { Peer } from '../../shared/wire/peer.ts';
import { METHODS } from '../../shared/wire/session.ts';
import type { DirectoryGuard } from './guard.ts';
import { createSerial } from '../../shared/serial.ts';

const CALL_TIMEOUT_MS = 15_000;
/** A new prekey when the newest is this old; it lives twice as long, so one missed day leaves no gap. */
const PREKEY_RENEW_MS = DAY_MS;

export interface OwnKeysOptions {
  readonly site: SiteId;
  readonly vault: Vault;
  readonly guard: DirectoryGuard;
  readonly audit: AuditLog;
  readonly clock: Clock;
  /** The site's first record, base64. */
  readonly enrolment: string;
  /** Days of a KEM epoch. */
  readonly epochDays: () => number;
}

export interface OwnKeys {
  /** What to open a connection with: the newest key that the directory has, and the leaf that announced it. */
  session(): Promise<{ readonly staticKey: XWingKeyPair; readonly leafHash: Uint8Array }>;
  /** New prekeys and epochs, where they are due. */
  renew(peer: Peer): Promise<void>;
  /** New keys now. @throws QflError `revoked`, `key_changed`, and what the coordinator refuses */
  rotate(peer: Peer, kind: RotationKind, role: string): Promise<void>;
  /** A prekey record at once: the old identity speaks, so a recovery that waits is over. */
  speak(peer: Peer, role: string): Promise<void>;
}

export const createOwnKeys = (options: OwnKeysOptions): OwnKeys => {
  const { site, vault, guard, audit, clock } = options;
  const nowMs = (): number => Math.trunc(clock.nowMs());
  const own = (): SiteKeys => requireSite(guard.mirror.seen, site, nowMs());
  /** One record after another: each follows the one before. */
  const inTurn = createSerial();
  const publish = async (peer: Peer, leaf: Uint8Array): Promise<void> => {
    await guard.remember(leaf);
    await peer.request(METHODS.publish, { payload: leaf }, { timeoutMs: CALL_TIMEOUT_MS });
    await guard.sync(peer);
  };
  const publishPrekey = async (peer: Peer): Promise<void> => {
    const leaf = await vault.prekeyLeaf(nowMs(), own());
    await publish(peer, leaf);
    await vault.forgetPrekeys(nowMs());
  };
  const renewPrekey = async (peer: Peer): Promise<void> => {
    const newest = own().prekeys.at(-1);
    const held = newest !== undefined && (await vault.prekeySeed(newest.id)) !== undefined;
    if (held && newest.fromMs + PREKEY_RENEW_MS > nowMs() && newest.fromMs <= nowMs()) return;
    await publishPrekey(peer);
  };
  const rotate = async (peer: Peer, kind: RotationKind, role: string | undefined): Promise<void> => {
    const entry = {
      action: 'key.rotated' as const,
      objects: [{ kind: 'keys', id: kind }],
      ...(role === undefined ? {} : { role }),
    };
    await audit.record({ ...entry, outcome: 'begun' });
    await publish(peer, await vault.rotationLeaf(kind, nowMs(), own(), options.epochDays()));
    // In an emergency the coordinator ends this connection; the next one, under the new keys, begins with prekeys.
    if (kind !== 'emergency') await renewPrekey(peer);
    await audit.record({ ...entry, outcome: 'ok' });
  };

  return {
    async session() {
      const found = guard.mirror.seen.get(site);
      const known = found === undefined ? [] : inForceAt(found, nowMs()).kem;
      const pairs = await vault.kemKeys();
      for (const { key, leafHash } of known) {
        const pair = pairs.find((one) => equalConstantTime(one.pair.publicKey, key));
        if (pair !== undefined) return { staticKey: pair.pair, leafHash };
      }
      // Not in the directory yet: the first one, as it was announced when the site joined.
      const first = pairs.at(-1);
      if (first === undefined) throw new QflError('internal', { detail: 'no key to connect with' });
      return { staticKey: first.pair, leafHash: directoryLeafHash(fromBase64(options.enrolment)) };
    },
    renew: (peer) =>
      inTurn(async () => {
        // Somebody wants this name for new keys, and the keys are here: they speak, and that is over.
        if (own().recovering !== undefined) await publishPrekey(peer);
        await renewPrekey(peer);
        if (isEpochDue(own(), nowMs(), options.epochDays())) await rotate(peer, 'kem', undefined);
        await vault.settle(own(), nowMs());
      }),
    rotate: (peer, kind, role) => inTurn(() => rotate(peer, kind, role)),
    speak: (peer, role) =>
      inTurn(async () => {
        await audit.record({
          action: 'key.rotated',
          outcome: 'begun',
          role,
          objects: [{ kind: 'keys', id: 'prekey' }],
        });
        await publishPrekey(peer);
      }),
  };
};
