/** The last step of a restore: the audit log begins anew under its next name, and its first entry names the one before. */
import type { AuditLog } from '../audit/audit-log.ts';
import { toBase64, utf8 } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import type { Store } from '../store/port.ts';
import { puttingRestored, type RestoredState } from './restored.ts';

export interface RestoredHome {
  readonly store: Store;
  readonly audit: AuditLog;
  readonly restored: RestoredState;
}

/** @param create makes the new, empty log */
export const beginAuditAnew = async (
  { store, audit: { log }, restored }: RestoredHome,
  backupMs: number,
  clock: Pick<Clock, 'nowMs'>,
  create: (epoch: number) => Promise<AuditLog>,
): Promise<void> => {
  const epoch = restored.epoch + 1;
  const before = { origin: log.origin, size: log.size, root: toBase64(await log.rootAt(log.size)) };
  const next = await create(epoch);
  try {
    await next.record({
      action: 'log.restored',
      outcome: 'ok',
      role: 'operator',
      objects: [
        { kind: 'log', id: before.origin },
        { kind: 'entries', id: String(before.size) },
        { kind: 'root', id: Buffer.from(before.root, 'base64').toString('hex') },
      ],
      detail: utf8(`restored from a backup of ${new Date(backupMs).toISOString()}`),
    });
    await store.write([puttingRestored({ epoch, restoredMs: Math.trunc(clock.nowMs()), backupMs, before })]);
  } finally {
    await next.log.close();
  }
};
