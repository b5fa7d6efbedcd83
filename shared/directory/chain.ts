/**
 * What makes a directory record count: its place in the site's chain and the signatures that its kind asks for. Pure; both sides
 * run it: the coordinator before it accepts a record, each agent before it uses one.
 */
import { fromBase64, toHex } from '../bytes.ts';
import { DAY_MS } from '../clock.ts';
import type { IdentityPublic } from '../crypto/signature.ts';
import { QflError } from '../errors.ts';
import type { SiteId } from '../ids.ts';
import { PrekeyId } from '../wire/envelope.ts';
import {
  COORDINATOR_NAME,
  directoryLeafHash,
  type DirectoryRecord,
  identityOf,
  type IdentityRecord,
  type Leaf,
  parseLeaf,
  type PrekeyRecord,
  recordHolds,
} from './record.ts';

export const RECOVERY_WAIT_MS = DAY_MS;
const RECOVERY_APPROVALS = 2;

export interface Prekey {
  readonly id: PrekeyId;
  readonly key: Uint8Array;
  readonly fromMs: number;
  readonly toMs: number;
}
export interface KemEpoch {
  readonly epoch: number;
  readonly key: Uint8Array;
  readonly fromMs: number;
  readonly toMs: number;
  /** Hash of the identity leaf that announced it. */
  readonly leafHash: Uint8Array;
}
export interface NoteKeysPublic {
  readonly ed25519: Uint8Array;
  readonly mldsa44: Uint8Array;
}
/** What an identity record brings. */
interface Brought {
  readonly identity: IdentityPublic;
  readonly kem: KemEpoch;
  readonly witness: NoteKeysPublic;
  readonly log: NoteKeysPublic;
}
export interface SiteKeys {
  readonly site: SiteId;
  readonly identity: IdentityPublic;
  /** Newest first; at most two, for the overlap of epochs. */
  readonly kem: readonly KemEpoch[];
  /** What it cosigns checkpoints with. */
  readonly witness: NoteKeysPublic;
  /** What signs its own audit log. */
  readonly log: NoteKeysPublic;
  readonly prekeys: readonly Prekey[];
  /** Has it ever published prekeys, that is, been there? Only such a site counts as a witness. */
  readonly active: boolean;
  readonly sequence: number;
  readonly lastLeaf: Uint8Array;
  readonly revokedMs: number | undefined;
  /** Why this agent does not use the site's keys for now, in force as they are: the site itself says that something is wrong. */
  readonly suspended?: string | undefined;
  /** New keys that will count from `fromMs` on, unless the old identity speaks before. */
  readonly recovering?: { readonly fromMs: number; readonly brought: Brought } | undefined;
}
export type DirectoryState = ReadonlyMap<SiteId, SiteKeys>;

const refuse = (detail: string): QflError =>
  new QflError('key_changed', {
    detail,
    next: 'Do not use this key; ask the federation operator and compare fingerprints by telephone.',
  });

const checkChain = (record: DirectoryRecord, before: SiteKeys | undefined): void => {
  const expected = before === undefined ? 0 : before.sequence + 1;
  const previous = before === undefined ? null : toHex(before.lastLeaf);
  if (record.sequence !== expected || record.previous !== previous)
    throw refuse(`the record of ${record.site} does not follow its last one`);
  if (before?.revokedMs !== undefined && record.kind !== 'recover')
    throw new QflError('revoked', { detail: `${record.site} was revoked` });
};

const notePublic = (keys: IdentityRecord['witness']): NoteKeysPublic => ({
  ed25519: fromBase64(keys.ed25519),
  mldsa44: fromBase64(keys.mldsa44),
});

const broughtBy = (record: IdentityRecord, hash: Uint8Array): Brought => ({
  identity: identityOf(record),
  kem: { ...record.kem, key: fromBase64(record.kem.key), leafHash: hash },
  witness: notePublic(record.witness),
  log: notePublic(record.log),
});

/** The keys that count at `atMs`: a recovery that waited long enough has come into force. */
const inForceAt = (keys: SiteKeys, atMs: number): SiteKeys => {
  const { recovering } = keys;
  if (recovering === undefined || atMs < recovering.fromMs) return keys;
  const { kem, ...brought } = recovering.brought;
  return { ...keys, ...brought, kem: [kem], prekeys: [], revokedMs: undefined, recovering: undefined };
};

interface Step {
  readonly leaf: Leaf;
  readonly hash: Uint8Array;
  readonly state: DirectoryState;
  readonly before: SiteKeys | undefined;
}
type Made = Omit<SiteKeys, 'sequence' | 'lastLeaf' | 'site'>;

const enrol = (record: IdentityRecord, { leaf, hash, before }: Step): Made => {
  const { kem, ...brought } = broughtBy(record, hash);
  if (before !== undefined || !recordHolds(brought.identity, record, leaf.signature))
    throw refuse(`the first record of ${record.site} is not signed by its own key`);
  return { ...brought, kem: [kem], prekeys: [], active: false, revokedMs: undefined };
};

const rotate = (record: IdentityRecord, { leaf, hash, before }: Step): Made => {
  const { kem, ...brought } = broughtBy(record, hash);
  if (before === undefined || !recordHolds(brought.identity, record, leaf.signature))
    throw refuse(`the record of ${record.site} is not signed by its own key`);
  const signed = leaf.previousSignature;
  if (signed === undefined || !recordHolds(before.identity, record, signed))
    throw refuse(`the new keys of ${record.site} are not signed by its identity before`);
  return { ...before, ...brought, kem: [kem, ...before.kem.slice(0, 1)], recovering: undefined };
};

const recover = (record: IdentityRecord, { leaf, hash, before, state }: Step): Made => {
  const brought = broughtBy(record, hash);
  if (record.kind !== 'recover' || before === undefined || record.site === COORDINATOR_NAME)
    throw refuse(`there is nothing of ${record.site} to recover`);
  if (record.fromMs - record.atMs < RECOVERY_WAIT_MS)
    throw refuse(`the recovery of ${record.site} does not wait a day`);
  if (!recordHolds(brought.identity, record, leaf.signature))
    throw refuse(`the recovery of ${record.site} is not signed by its new key`);
  const approved = new Set<SiteId>();
  for (const { site, signature } of leaf.approvals ?? []) {
    const keys = state.get(site);
    const other = site !== record.site && site !== COORDINATOR_NAME && keys?.revokedMs === undefined;
    if (other && keys !== undefined && recordHolds(keys.identity, record, signature)) approved.add(site);
  }
  if (approved.size < RECOVERY_APPROVALS)
    throw refuse(`the recovery of ${record.site} is not approved by ${RECOVERY_APPROVALS} other sites`);
  return { ...before, recovering: { fromMs: record.fromMs, brought } };
};

const revoke = (record: Extract<DirectoryRecord, { kind: 'revoke' }>, step: Step): Made => {
  const { leaf, before, state } = step;
  const isAllowed = record.by === COORDINATOR_NAME || record.by === record.site;
  const by = isAllowed ? state.get(record.by) : undefined;
  if (before === undefined || by === undefined || !recordHolds(by.identity, record, leaf.signature))
    throw refuse(`the revocation of ${record.site} is signed neither by the coordinator nor by itself`);
  return { ...before, revokedMs: record.atMs, recovering: undefined };
};

const publishPrekeys = (record: PrekeyRecord, { leaf, before }: Step): Made => {
  if (before === undefined || !recordHolds(before.identity, record, leaf.signature))
    throw refuse(`the prekeys of ${record.site} are not signed by its key`);
  const prekeys = record.prekeys.map(({ id, key, fromMs, toMs }) => ({
    id,
    key: fromBase64(key),
    fromMs,
    toMs,
  }));
  // Whoever holds the old identity's key has lost nothing: a recovery that waits is over.
  return { ...before, prekeys, active: true, recovering: undefined };
};

const made = (record: DirectoryRecord, step: Step): Made => {
  if (record.kind === 'enrol') return enrol(record, step);
  if (record.kind === 'rotate') return rotate(record, step);
  if (record.kind === 'recover') return recover(record, step);
  return record.kind === 'revoke' ? revoke(record, step) : publishPrekeys(record, step);
};

/**
 * The state after one more leaf.
 * @throws QflError `protocol`, `key_changed`, `revoked`
 */
export const applyLeaf = (state: DirectoryState, bytes: Uint8Array): Map<SiteId, SiteKeys> => {
  const leaf = parseLeaf(bytes);
  const { record } = leaf;
  const known = state.get(record.site);
  const before = known === undefined ? undefined : inForceAt(known, record.atMs);
  checkChain(record, before);
  const hash = directoryLeafHash(bytes);
  const keys = made(record, { leaf, hash, state, before });
  return new Map(state).set(record.site, {
    ...keys,
    site: record.site,
    sequence: record.sequence,
    lastLeaf: hash,
  });
};

/** A site in force; with the time, recoveries that came into force since count. @throws QflError `unknown_key`, `revoked` */
export const requireSite = (state: DirectoryState, site: SiteId, nowMs = 0): SiteKeys => {
  const known = state.get(site);
  if (known === undefined) throw new QflError('unknown_key', { detail: `${site} is not in the directory` });
  const keys = inForceAt(known, nowMs);
  if (keys.revokedMs !== undefined) throw new QflError('revoked', { detail: `${site} was revoked` });
  if (keys.suspended !== undefined) throw refuse(keys.suspended);
  return keys;
};

/** The prekey to seal to now; without one, the epoch key (`static-N`), which gives no forward secrecy. */
export const currentPrekey = (keys: SiteKeys, nowMs: number): { id: PrekeyId; key: Uint8Array } => {
  const prekey = keys.prekeys.filter(({ fromMs, toMs }) => fromMs <= nowMs && nowMs < toMs).at(-1);
  if (prekey !== undefined) return prekey;
  const [epoch] = keys.kem;
  if (epoch === undefined)
    throw new QflError('unknown_key', { detail: `${keys.site} has no key to seal to` });
  return { id: PrekeyId.parse(`static-${epoch.epoch}`), key: epoch.key };
};
