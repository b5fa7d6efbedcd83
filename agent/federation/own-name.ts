/** An agent's watch over its own name in the directory. */
import type { IdentityPublic } from '../../shared/crypto/signature.ts';
import { equalConstantTime } from '../../shared/bytes.ts';
import type { DirectoryState } from '../../shared/directory/chain.ts';
import { fingerprintOf } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';

/**
 * A record under our name that we did not make is an attack: stop rather than speak under a stranger's key.
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
