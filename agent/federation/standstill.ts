/**
 * The coordinator's word in the directory that the federation stands still. It takes effect as soon as it is seen, for it takes away only; the word
 * that ends it, once a quorum of sites has seen it. Both are in the mirror, so they hold over restarts and without a connection.
 */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { COORDINATOR_NAME, parseLeaf } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import type { Store } from '../../shared/store/port.ts';
import type { DirectoryMirror } from './directory.ts';

const LOGGED = 'standstill-logged';

export interface Standstill {
  readonly sinceMs: number;
}

export const standstillOf = ({
  seen,
  state,
}: Pick<DirectoryMirror, 'seen' | 'state'>): Standstill | undefined =>
  seen.get(COORDINATOR_NAME)?.lockdown ?? state.get(COORDINATOR_NAME)?.lockdown;

/** @throws QflError `lockdown` */
export const refuseStandstill = (found: Standstill | undefined): void => {
  if (found === undefined) return;
  throw new QflError('lockdown', {
    detail: 'an administrator of the federation stopped all processing',
    next: 'Two administrators of the coordinator end it ("qfl lockdown off"). What this site answers by itself goes on.',
    facts: { kind: 'federation', sinceMs: found.sinceMs },
  });
};

/** Writes each change into this site's own log once, whatever is read again at a start. */
export const openStandstillLog = async (
  store: Store,
  audit: AuditLog,
): Promise<{ log(leaf: Uint8Array): Promise<void> }> => {
  const stored = await store.get(LOGGED);
  let logged = stored === undefined ? -1 : Number(fromUtf8(stored));
  return {
    async log(leaf) {
      const { record } = parseLeaf(leaf);
      if (record.kind !== 'lockdown' || record.sequence <= logged) return;
      await audit.record({
        action: 'lockdown.changed',
        outcome: 'ok',
        objects: [
          { kind: 'lockdown', id: record.on ? 'on' : 'off' },
          { kind: 'reason', id: 'federation' },
        ],
      });
      logged = record.sequence;
      await store.write([{ type: 'put', key: LOGGED, value: utf8(String(logged)) }]);
    },
  };
};
