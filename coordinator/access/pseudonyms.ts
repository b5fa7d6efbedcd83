/** What people and programs are called in audit leaves: a keyed hash of the account or key, never a name. */
import { Pseudonym } from '../../shared/ids.ts';
import { blind } from '../../shared/store/encrypted.ts';

export interface ActorPseudonyms {
  of(id: string): Pseudonym;
}

/** @param secret 32 bytes that never leave the coordinator */
export const createActorPseudonyms = (secret: Uint8Array): ActorPseudonyms => ({
  of: (id) => Pseudonym.parse(blind(secret, 'actor', id)),
});
