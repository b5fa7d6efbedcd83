/**
 * Recoveries under way: approvals of other sites, gathered until there are enough; then the record comes into the directory and its day of waiting begins.
 * Nothing here is trusted: each agent checks every signature again.
 */
import { z } from 'zod';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { Clock } from '../../shared/clock.ts';
import { RECOVERY_APPROVALS, requireSite } from '../../shared/directory/chain.ts';
import { COORDINATOR_NAME, recordHolds, Signature } from '../../shared/directory/record.ts';
import { checkRequest, parseRequest, recoveryLeaf, requestId } from '../../shared/directory/recovery.ts';
import { QflError } from '../../shared/errors.ts';
import { SiteId } from '../../shared/ids.ts';
import type { Store } from '../../shared/store/port.ts';
import { createRecordStore } from '../../shared/store/records.ts';
import type { RecoveryState } from '../../shared/wire/keys.ts';
import type { KeyLog } from './key-log.ts';
import { createSerial } from '../../shared/serial.ts';

/** Requests that wait for approvals at once. */
const OPEN_MAX = 100;

const Stored = z.strictObject({
  request: z.string(),
  approvals: z.array(z.strictObject({ site: SiteId, signature: Signature })).max(8),
  published: z.boolean(),
});
type Stored = z.infer<typeof Stored>;

export interface Recoveries {
  /**
   * One site's approval, checked. The second of another site publishes.
   * @throws QflError `expired`, `conflict`, `not_found`, `bad_signature`, `forbidden`, `overloaded`
   */
  approve(site: SiteId, request: string, signature: Signature): Promise<RecoveryState>;
  list(): Promise<RecoveryState[]>;
}

export interface RecoveriesOptions {
  readonly store: Store;
  readonly keyLog: KeyLog;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly clock: Clock;
}

const shown = ({ request, approvals, published }: Stored): RecoveryState => {
  const { record, phrase } = parseRequest(request);
  return {
    site: record.site,
    phrase,
    approvedBy: approvals.map(({ site }) => site),
    needed: RECOVERY_APPROVALS,
    published,
    fromMs: record.fromMs,
  };
};

export const createRecoveries = ({ store, keyLog, audit, clock }: RecoveriesOptions): Recoveries => {
  const records = createRecordStore(store, 'recovery/', Stored);
  const inTurn = createSerial();

  /** Those whose hour is over are forgotten. */
  const open = async (): Promise<Stored[]> => {
    const found: Stored[] = [];
    for await (const stored of records.list()) {
      const request = parseRequest(stored.request);
      if (clock.nowMs() < request.record.fromMs) found.push(stored);
      else await records.delete(requestId(request));
    }
    return found;
  };
  const approve = async (site: SiteId, text: string, signature: Signature): Promise<RecoveryState> => {
    const request = parseRequest(text);
    const { record } = request;
    const id = requestId(request);
    const known = await records.get(id);
    if (known?.published === true) return shown(known);
    checkRequest(request, keyLog.state, clock.nowMs());
    if (site === record.site || site === COORDINATOR_NAME)
      throw new QflError('forbidden', { detail: 'a site does not approve its own recovery' });
    if (!recordHolds(requireSite(keyLog.state, site, clock.nowMs()).identity, record, signature))
      throw new QflError('bad_signature', { detail: `the approval is not signed by ${site}` });
    if (known === undefined && (await open()).length >= OPEN_MAX)
      throw new QflError('overloaded', { detail: 'too many recoveries are under way' });
    const others = (known?.approvals ?? []).filter((one) => one.site !== site);
    const approvals = [...others, { site, signature }];
    const published = approvals.length >= RECOVERY_APPROVALS;
    await audit.record({
      action: 'key.recovery',
      outcome: published ? 'ok' : 'begun',
      objects: [
        { kind: 'site', id: record.site },
        { kind: 'approved-by', id: site },
      ],
    });
    if (published) await keyLog.publish(COORDINATOR_NAME, recoveryLeaf(request, approvals));
    const stored = { request: text, approvals, published };
    await records.put(id, stored);
    return shown(stored);
  };
  return {
    approve: (site, request, signature) => inTurn(() => approve(site, request, signature)),
    list: async () => (await open()).map(shown),
  };
};
