/**
 * An agent's watch over its own name in the directory: every record of the site must be one that this home made. What it made is on its
 * disk before it goes out.
 */
import { equalConstantTime, toHex } from '../../shared/bytes.ts';
import type { IdentityPublic } from '../../shared/crypto/signature.ts';
import { type DirectoryState, inForceAt } from '../../shared/directory/chain.ts';
import { directoryLeafHash, fingerprintOf, parseLeaf } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Store } from '../../shared/store/port.ts';

const PREFIX = 'own-leaf/';

export interface OwnLeaves {
  /** Before it is published. */
  remember(leaf: Uint8Array): Promise<void>;
  /** Is this a record of our name that we did not make? Revocations are the coordinator's to make. */
  isForeign(leaf: Uint8Array): Promise<boolean>;
}

export const createOwnLeaves = (store: Store, site: SiteId, enrolment: Uint8Array): OwnLeaves => {
  const first = parseLeaf(enrolment);
  const firstName = toHex(directoryLeafHash(enrolment));
  return {
    remember: (leaf) =>
      store.write([{ type: 'put', key: PREFIX + toHex(directoryLeafHash(leaf)), value: new Uint8Array(0) }]),
    async isForeign(leaf) {
      const { record, signature } = parseLeaf(leaf);
      if (record.site !== site || (record.kind === 'revoke' && record.by !== site)) return false;
      // A home that was made to recover the name knows nothing of the records before its own, and others sign beside it.
      if (record.sequence < first.record.sequence) return false;
      if (record.kind === 'recover' && signature.ed25519 === first.signature.ed25519) return false;
      const name = toHex(directoryLeafHash(leaf));
      return name !== firstName && (await store.get(PREFIX + name)) === undefined;
    },
  };
};

export const foreignRecord = (site: SiteId): QflError =>
  new QflError('key_changed', {
    detail: `the directory holds a record of ${site} that this home did not make`,
    next: 'Call the operator of the federation and the other hospitals now. A home restored from an old backup looks the same.',
  });

/**
 * A key under our name that is not ours is an attack: stop rather than speak under a stranger's key.
 * @throws QflError `revoked`, `key_changed`; `not_ready` while recovered keys wait
 */
export const checkOwnName = (
  state: DirectoryState,
  site: SiteId,
  identity: IdentityPublic,
  nowMs = 0,
): void => {
  const found = state.get(site);
  if (found === undefined) return;
  const ours = fingerprintOf(identity);
  const { recovering } = found;
  const own = inForceAt(found, nowMs);
  if (own.recovering !== undefined && recovering !== undefined)
    if (equalConstantTime(fingerprintOf(recovering.brought.identity), ours))
      throw new QflError('not_ready', {
        detail: `the recovered keys of ${site} count from ${new Date(recovering.fromMs).toISOString()} on`,
        next: 'Leave the agent running; it connects by itself then, unless the old keys speak before.',
      });
  if (own.revokedMs !== undefined)
    throw new QflError('revoked', { detail: `${site} was revoked by the coordinator` });
  if (!equalConstantTime(fingerprintOf(own.identity), ours))
    throw new QflError('key_changed', {
      detail: `the directory holds a key for ${site} that is not ours`,
      next: 'Call the operator of the federation and the other hospitals now.',
    });
};
