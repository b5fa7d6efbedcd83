/**
 * The site's own lockdown: what it does when the directory is proven wrong. Nothing goes out to other sites, nothing of theirs is served, no
 * checkpoint of the directory is cosigned; the log goes on. It outlives a restart, and only an administrator ends it.
 */
import { z } from 'zod';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Store } from '../../shared/store/port.ts';

const KEY = 'lockdown';
const Stored = z.strictObject({
  kind: z.enum(['own_name', 'fork']),
  detail: z.string(),
  sinceMs: z.int(),
  /** The signed checkpoint or the leaf that proves it, base64; for whoever examines it. */
  evidence: z.base64().nullable(),
});
export type LockdownState = z.infer<typeof Stored>;

export interface Lockdown {
  readonly state: LockdownState | undefined;
  /** The first reason stays. Resolves when it is on the disk and in the log. */
  engage(reason: Omit<LockdownState, 'sinceMs'>): Promise<void>;
  /** @throws QflError `not_found` when there is none */
  release(role: string): Promise<void>;
  /** @throws QflError `lockdown` */
  require(): void;
}

export interface LockdownOptions {
  readonly store: Store;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told once for each lockdown, after it is on the disk. */
  engaged(state: LockdownState): void;
  released(): void;
}

export const openLockdown = async (options: LockdownOptions): Promise<Lockdown> => {
  const { store, audit, clock, logger } = options;
  const stored = await store.get(KEY);
  let state = stored === undefined ? undefined : Stored.parse(JSON.parse(fromUtf8(stored)));
  return {
    get state() {
      return state;
    },
    async engage(reason) {
      if (state !== undefined) return;
      // In memory first: from this moment nothing more goes out, whatever the disk says.
      state = { ...reason, sinceMs: Math.trunc(clock.nowMs()) };
      logger.error({ kind: reason.kind, detail: reason.detail }, 'this site is locked down');
      await store.write([{ type: 'put', key: KEY, value: utf8(JSON.stringify(state)) }]);
      await audit.record({
        action: 'lockdown.changed',
        outcome: 'ok',
        objects: [
          { kind: 'lockdown', id: 'on' },
          { kind: 'reason', id: reason.kind },
        ],
      });
      options.engaged(state);
    },
    async release(role) {
      if (state === undefined) throw new QflError('not_found', { detail: 'this site is not locked down' });
      await audit.record({
        action: 'lockdown.changed',
        outcome: 'ok',
        role,
        objects: [
          { kind: 'lockdown', id: 'off' },
          { kind: 'reason', id: state.kind },
        ],
      });
      await store.write([{ type: 'del', key: KEY }]);
      state = undefined;
      options.released();
    },
    require() {
      if (state === undefined) return;
      throw new QflError('lockdown', {
        detail: state.detail,
        next: 'Call the other hospitals and the operator; an administrator of this site ends the lockdown when the cause is known.',
        facts: { kind: state.kind, sinceMs: state.sinceMs },
      });
    },
  };
};
