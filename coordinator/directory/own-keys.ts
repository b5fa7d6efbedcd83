/**
 * The coordinator's own keys: the next KEM epoch in time, new ones by command, and its word in the directory that the federation stands still. Old
 * epochs are destroyed when their overlap is over.
 */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { toHex } from '../../shared/bytes.ts';
import { type Clock, HOUR_MS } from '../../shared/clock.ts';
import type { XWingKeyPair } from '../../shared/crypto/xwing.ts';
import type { SiteKeys } from '../../shared/directory/chain.ts';
import { COORDINATOR_NAME } from '../../shared/directory/record.ts';
import { assert } from '../../shared/errors.ts';
import { isEpochDue, type RotationKind, type Vault } from '../../shared/keys/vault.ts';
import type { Logger } from '../../shared/log.ts';
import type { KeyLog } from './key-log.ts';
import { createSerial } from '../../shared/serial.ts';

export interface CoordinatorKeys {
  /** The epochs that handshakes may use now, newest first. */
  pairs(): readonly XWingKeyPair[];
  own(): SiteKeys;
  /** New keys, in the directory and in force when it returns. */
  rotate(kind: RotationKind, role: string): Promise<void>;
  /** The next epoch if it is due; and what is over is destroyed. */
  renew(): Promise<void>;
  /** Says in the directory what holds now: once, however often it is told. */
  announceLockdown(on: boolean): Promise<void>;
  close(): void;
}

export interface CoordinatorKeysOptions {
  readonly vault: Vault;
  readonly keyLog: KeyLog;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly clock: Clock;
  readonly logger: Logger;
  epochDays(): number;
  /** New keys are in force. */
  rotated(kind: RotationKind): Promise<void>;
}

export const startCoordinatorKeys = async (options: CoordinatorKeysOptions): Promise<CoordinatorKeys> => {
  const { vault, keyLog, audit, clock, logger } = options;
  const nowMs = (): number => Math.trunc(clock.nowMs());
  const own = (): SiteKeys => {
    const keys = keyLog.state.get(COORDINATOR_NAME);
    assert(keys !== undefined, 'the first record of the directory is the coordinator');
    return keys;
  };
  let held = new Map<number, XWingKeyPair>();
  const inTurn = createSerial();
  const settle = async (): Promise<void> => {
    await vault.settle(own(), nowMs());
    held = new Map((await vault.kemKeys()).map(({ epoch, pair }) => [epoch, pair]));
  };
  const rotate = async (kind: RotationKind, role: string | undefined): Promise<void> => {
    const entry = {
      action: 'key.rotated' as const,
      objects: [
        { kind: 'site', id: COORDINATOR_NAME },
        { kind: 'keys', id: kind },
      ],
      ...(role === undefined ? {} : { role }),
    };
    await audit.record({ ...entry, outcome: 'begun' });
    await keyLog.publish(
      COORDINATOR_NAME,
      await vault.rotationLeaf(kind, nowMs(), own(), options.epochDays()),
    );
    await settle();
    await audit.record({ ...entry, outcome: 'ok' });
    await options.rotated(kind);
  };
  const renew = (): Promise<void> =>
    inTurn(async () => {
      if (isEpochDue(own(), nowMs(), options.epochDays())) await rotate('kem', undefined);
      else await settle();
    });

  // A rotation that a crash cut short after its record came into the directory counts from here on.
  await settle();
  await renew();
  const timer = setInterval(
    () =>
      void renew().catch((error: unknown) => logger.error({ err: error }, 'the keys could not be renewed')),
    HOUR_MS,
  );
  return {
    own,
    pairs() {
      const now = nowMs();
      return own().kem.flatMap(({ epoch, toMs }) => {
        const pair = now < toMs ? held.get(epoch) : undefined;
        return pair === undefined ? [] : [pair];
      });
    },
    rotate: (kind, role) => inTurn(() => rotate(kind, role)),
    renew,
    announceLockdown: (on) =>
      inTurn(async () => {
        const before = own();
        if (on === (before.lockdown !== undefined)) return;
        const leaf = vault.signedRecord({
          v: 1,
          kind: 'lockdown',
          site: COORDINATOR_NAME,
          sequence: before.sequence + 1,
          previous: toHex(before.lastLeaf),
          atMs: nowMs(),
          on,
        });
        await keyLog.publish(COORDINATOR_NAME, leaf);
      }),
    close: () => clearInterval(timer),
  };
};
