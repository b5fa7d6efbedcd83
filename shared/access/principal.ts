/** Who sends a request, once that is proven: a person, a program with a key, or whoever works on the machine itself. */
import type { DepartmentId } from '../ids.ts';
import type { DataClass } from '../wire/envelope.ts';
import type { Operation } from './operations.ts';

export interface Principal {
  readonly kind: 'account' | 'key' | 'operator';
  /** Of the account or the key; hexadecimal. */
  readonly id: string;
  /** Personal: never logged, never in an audit leaf. */
  readonly name: string;
  readonly role: string;
  readonly department: DepartmentId;
  /** The highest class of data it may send. */
  readonly dataClass: DataClass;
  /** Operations to which it is limited below its role; null: whatever the role may. */
  readonly scopes: readonly Operation[] | null;
  /** The session a person signed in with; null for programs. */
  readonly sessionId: string | null;
  /** True until a person whose role needs a second factor has one: may only look after the own account. */
  readonly isRestricted: boolean;
}

/** Proves what a bearer token says. @throws QflError `unauthenticated`, in the same words whatever is wrong */
export interface Authenticator {
  verify(token: string): Promise<Principal>;
}
