/** This site's approval of another site's new keys: an administrator here has heard the phrase from them. */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { signRecord } from '../../shared/directory/record.ts';
import { checkRequest, parseRequest } from '../../shared/directory/recovery.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Vault } from '../../shared/keys/vault.ts';
import { normalPhrase, RecoveryState } from '../../shared/wire/keys.ts';
import type { Peer } from '../../shared/wire/peer.ts';
import { METHODS } from '../../shared/wire/session.ts';
import type { DirectoryMirror } from './directory.ts';

const TIMEOUT_MS = 15_000;

export interface ApprovalOptions {
  readonly self: SiteId;
  readonly vault: Vault;
  readonly mirror: DirectoryMirror;
  readonly audit: AuditLog;
  readonly clock: Clock;
}

/** @throws QflError `key_changed` for another phrase, `expired`, `conflict`, `forbidden`, `protocol`, `bad_signature` */
export const approveRecovery = async (
  asked: { readonly request: string; readonly phrase: string; readonly role: string },
  peer: Peer,
  { self, vault, mirror, audit, clock }: ApprovalOptions,
): Promise<RecoveryState> => {
  const request = parseRequest(asked.request);
  const { record, phrase } = request;
  if (record.site === self)
    throw new QflError('forbidden', {
      detail: 'a site does not approve its own recovery',
      next: 'Two administrators of two other hospitals have to.',
    });
  const fits = normalPhrase(asked.phrase) === phrase;
  await audit.record({
    action: 'key.recovery',
    outcome: fits ? 'begun' : 'refused',
    role: asked.role,
    objects: [
      { kind: 'site', id: record.site },
      { kind: 'fingerprint', id: phrase },
    ],
  });
  if (!fits)
    throw new QflError('key_changed', {
      detail: `the request brings keys with the phrase ${phrase}, not what was read to you`,
      next: `Call ${record.site} on a number that you know, and let them read the phrase of their request.`,
    });
  checkRequest(request, mirror.seen, clock.nowMs());
  const { header } = await peer.request(
    METHODS.recovery,
    { header: signRecord(vault.identity, record), payload: utf8(asked.request.trim()) },
    { timeoutMs: TIMEOUT_MS },
  );
  const state = RecoveryState.safeParse(header);
  if (!state.success) throw new QflError('protocol', { detail: 'a wrong reply about a recovery' });
  return state.data;
};
