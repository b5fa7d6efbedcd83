/** What people and programs are called in audit leaves: a keyed hash of the account or key, never a name. */
import type { Actor } from '../../shared/access/actor.ts';
import { Pseudonym } from '../../shared/ids.ts';
import { blind } from '../../shared/store/encrypted.ts';

export interface ActorPseudonyms {
  of(id: string): Pseudonym;
  /** For every act of somebody: who, and in which role. */
  readonly actorOf: (by: { readonly id: string; readonly role: string }) => Actor;
}

/** @param secret 32 bytes that never leave the coordinator */
export const createActorPseudonyms = (secret: Uint8Array): ActorPseudonyms => {
  const of = (id: string): Pseudonym => Pseudonym.parse(blind(secret, 'actor', id));
  return { of, actorOf: ({ id, role }) => ({ actor: of(id), role }) };
};
