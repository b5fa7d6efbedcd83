/**
 * New keys for a site that lost its own: the request that it makes, and what whoever approves or publishes it looks at. The record says itself when the
 * keys count; so a request is good for an hour only, and a full day lies ahead when it comes into the directory.
 */
import { fromBase64, toBase64, toHex, utf8 } from '../bytes.ts';
import { CLOCK_SKEW_MS, HOUR_MS } from '../clock.ts';
import { QflError } from '../errors.ts';
import { type DirectoryState, RECOVERY_WAIT_MS } from './chain.ts';
import {
  COORDINATOR_NAME,
  fingerprintOf,
  fingerprintPhrase,
  identityOf,
  type Leaf,
  parseLeaf,
  recordHolds,
  type RecoverRecord,
} from './record.ts';

export const RECOVERY_REQUEST_LIFE_MS = HOUR_MS;

/** When keys asked for at `atMs` come into force: a day after the last moment in which they can be published. */
export const recoveryFromMs = (atMs: number): number => atMs + RECOVERY_REQUEST_LIFE_MS + RECOVERY_WAIT_MS;

export interface RecoveryRequest {
  readonly record: RecoverRecord;
  readonly signature: Leaf['signature'];
  /** Of the new identity: read by telephone to whoever approves. */
  readonly phrase: string;
}

export const encodeRequest = (leaf: Uint8Array): string => toBase64(leaf);

/** @throws QflError `protocol`, `bad_signature` */
export const parseRequest = (text: string): RecoveryRequest => {
  const { record, signature } = parseLeaf(fromBase64(text.trim()));
  if (record.kind !== 'recover')
    throw new QflError('protocol', { detail: 'this is not a request for recovery' });
  const identity = identityOf(record);
  if (!recordHolds(identity, record, signature))
    throw new QflError('bad_signature', { detail: 'the request is not signed by the keys that it brings' });
  return { record, signature, phrase: fingerprintPhrase(fingerprintOf(identity)) };
};

/**
 * May it be approved, and published, now?
 * @throws QflError `expired`, `conflict`, `not_found`
 */
export const checkRequest = ({ record }: RecoveryRequest, state: DirectoryState, nowMs: number): void => {
  const again = `At ${record.site}, run "qfl keys recover begin" again.`;
  const keys = state.get(record.site);
  if (keys === undefined || record.site === COORDINATOR_NAME)
    throw new QflError('not_found', { detail: `${record.site} is not in the directory`, next: again });
  const isEarly = record.atMs > nowMs + CLOCK_SKEW_MS;
  if (
    isEarly ||
    nowMs > record.atMs + RECOVERY_REQUEST_LIFE_MS ||
    record.fromMs - nowMs < RECOVERY_WAIT_MS - CLOCK_SKEW_MS
  )
    throw new QflError('expired', { detail: 'the request is not of this hour', next: again });
  if (record.sequence !== keys.sequence + 1 || record.previous !== toHex(keys.lastLeaf))
    throw new QflError('conflict', {
      detail: `${record.site} has published a record since the request was made`,
      next: `If that was not the hospital itself, call the operator. Otherwise: ${again}`,
    });
};

/** The leaf that goes into the directory. */
export const recoveryLeaf = (
  { record, signature }: Pick<RecoveryRequest, 'record' | 'signature'>,
  approvals: NonNullable<Leaf['approvals']>,
): Uint8Array => utf8(JSON.stringify({ record, signature, approvals }));

/** Names a request in a store. */
export const requestId = ({ signature }: RecoveryRequest): string =>
  signature.ed25519.slice(0, 43).replaceAll(/[^A-Za-z0-9]/g, '-');
