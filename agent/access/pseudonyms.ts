/** What this site's users are called outside it: a keyed hash of the key's name, so two keys of one person are one asker. */
import type { Actor } from '../../shared/access/actor.ts';
import type { Principal } from '../../shared/access/principal.ts';
import { Pseudonym } from '../../shared/ids.ts';
import { blind } from '../../shared/store/encrypted.ts';

export interface Pseudonyms {
  of(key: Pick<Principal, 'name'>): Pseudonym;
  /** For every act of somebody: who, and in which role. */
  readonly actorOf: (by: Pick<Principal, 'name' | 'role'>) => Actor;
}

/** @param secret 32 bytes that never leave the site */
export const createPseudonyms = (secret: Uint8Array): Pseudonyms => {
  const of: Pseudonyms['of'] = ({ name }) => Pseudonym.parse(blind(secret, 'user', name));
  return { of, actorOf: (by) => ({ actor: of(by), role: by.role }) };
};
