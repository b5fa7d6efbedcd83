import type { Pseudonym } from '../ids.ts';
import type { Principal } from './principal.ts';

/** Whoever does something, as its entry in the audit log says: a pseudonym, never a name. */
export interface Actor {
  readonly actor: Pseudonym;
  readonly role: string;
}

/** Each program has its own pseudonyms. */
export type ActorOf = (by: Pick<Principal, 'id' | 'name' | 'role'>) => Actor;
