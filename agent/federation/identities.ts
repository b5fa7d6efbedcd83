/** Whose signature counted when: this site's and its coordinator's, by the chains that the directory holds. */
import { fromBase64 } from '../../shared/bytes.ts';
import { always, type IdentitiesAt } from '../../shared/crypto/signature.ts';
import { type DirectoryState, identitiesAt } from '../../shared/directory/chain.ts';
import { COORDINATOR_NAME } from '../../shared/directory/record.ts';
import type { SiteId } from '../../shared/ids.ts';
import { verifyFederation } from '../../shared/wire/federation-info.ts';
import type { AgentHome } from '../home.ts';
import { storedDirectory } from './directory.ts';

export interface HomeIdentities {
  readonly site: IdentitiesAt;
  readonly coordinator: IdentitiesAt;
}

/** By the directory as it is now; before the directory has the name, `otherwise`. */
export const identitiesIn =
  (directory: () => DirectoryState, site: SiteId, otherwise: IdentitiesAt): IdentitiesAt =>
  (atMs) => {
    const keys = directory().get(site);
    return keys === undefined ? otherwise(atMs) : identitiesAt(keys, atMs);
  };

/** Of a program that rests: from the directory that it mirrored. */
export const identitiesOfHome = async ({ store, vault, profile }: AgentHome): Promise<HomeIdentities> => {
  const directory = await storedDirectory(store);
  const { identity } = verifyFederation(profile.federation, fromBase64(profile.coordinatorFingerprint));
  return {
    site: identitiesIn(() => directory, profile.site, always(vault.identity.publicKeys)),
    coordinator: identitiesIn(() => directory, COORDINATOR_NAME, always(identity)),
  };
};
