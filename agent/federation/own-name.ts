/**
 * An agent's watch over its own name in the directory: every record of the site must be one that this home made. What it made is on its
 * disk before it goes out.
 */
import { equalConstantTime, toHex } from '../../shared/bytes.ts';
import type { IdentityPublic } from '../../shared/crypto/signature.ts';
import type { DirectoryState } from '../../shared/directory/chain.ts';
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
  const first = toHex(directoryLeafHash(enrolment));
  return {
    remember: (leaf) =>
      store.write([{ type: 'put', key: PREFIX + toHex(directoryLeafHash(leaf)), value: new Uint8Array(0) }]),
    async isForeign(leaf) {
      const { record } = parseLeaf(leaf);
      if (record.site !== site || (record.kind === 'revoke' && record.by !== site)) return false;
      const name = toHex(directoryLeafHash(leaf));
      return name !== first && (await store.get(PREFIX + name)) === undefined;
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
 * @throws QflError `revoked`, `key_changed`
 */
export const checkOwnName = (state: DirectoryState, site: SiteId, identity: IdentityPublic): void => {
  const own = state.get(site);
  if (own === undefined) return;
  if (own.revokedMs !== undefined)
    throw new QflError('revoked', { detail: `${site} was revoked by the coordinator` });
  if (!equalConstantTime(fingerprintOf(own.identity), fingerprintOf(identity)))
    throw new QflError('key_changed', {
      detail: `the directory holds a key for ${site} that is not ours`,
      next: 'Call the operator of the federation and the other hospitals now.',
    });
};
