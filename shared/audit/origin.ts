/**
 * Names of logs. A home that was restored or recovered begins a new audit log under the next name, `NAME.1`, `NAME.2`: its keys are those of
 * NAME, said under the new name. Whoever knows the keys of NAME knows those of every log that follows it.
 */
import { renamed, type VerifierKey } from './verifier-key.ts';

/** Name of a log after so many restores. */
export const restoredOrigin = (origin: string, epoch: number): string =>
  epoch === 0 ? origin : `${origin}.${epoch}`;

/** The name a log had before any restore. */
export const baseOrigin = (origin: string): string => origin.replace(/\.[1-9]\d{0,5}$/, '');

/** Of keys that are known, those of this log: under its own name, else under the one that it had before any restore. */
export const keysOfOrigin = (known: readonly VerifierKey[], origin: string): readonly VerifierKey[] => {
  const exact = known.filter(({ name }) => name === origin);
  if (exact.length > 0) return exact;
  const base = baseOrigin(origin);
  return base === origin ? [] : known.filter(({ name }) => name === base).map((key) => renamed(key, origin));
};
