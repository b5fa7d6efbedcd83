/**
 * What makes a directory record count: its place in the site's chain and the signatures that its kind asks for. Pure; both sides
 * run it: the coordinator before it accepts a record, each agent before it uses one.
 */
import type { z } from 'zod';
import { equalConstantTime, fromBase64, toHex } from '../bytes.ts';
import { CLOCK_SKEW_MS, DAY_MS, HOUR_MS, MINUTE_MS } from '../clock.ts';
import type { IdentityPublic } from '../crypto/signature.ts';
import { QflError } from '../errors.ts';
import type { SiteId } from '../ids.ts';
import { PrekeyId } from '../wire/envelope.ts';
import {
  bringsIdentity,
  COORDINATOR_NAME,
  directoryLeafHash,
  type DirectoryRecord,
  identityOf,
  type IdentityRecord,
  type Leaf,
  type LockdownRecord,
  parseLeaf,
  type PrekeyRecord,
  recordHolds,
  type RotateRecord,
} from './record.ts';

export const RECOVERY_WAIT_MS = DAY_MS;
export const RECOVERY_APPROVALS = 2;
/** The KEM key before stays good for this long after a new epoch began. */
export const KEM_OVERLAP_MS = 7 * DAY_MS;
/** Epochs in their overlap at once: of a site that rotates daily, all of them. */
const RETIRED_EPOCHS_MAX = 7;
/** What was signed just before an identity was replaced may still be under way. */
export const IDENTITY_OVERLAP_MS = HOUR_MS;
/** A directory that was cosigned just now may lack a record that came while it was: as long as such signatures are good for anything. */
const COSIGNED_LATE_MS = 10 * MINUTE_MS;

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
/** An identity that was replaced: what it signed while it was in force stays true. */
export interface PastIdentity {
  readonly identity: IdentityPublic;
  readonly fromMs: number;
  /** When the next one came. */
  readonly endMs: number;
  /** Until when new messages under it are still taken; not after `endMs` where it was replaced in an emergency, or lost. */
  readonly takenToMs: number;
}
/** What an identity record brings. */
interface Brought {
  readonly identity: IdentityPublic;
  readonly sinceMs: number;
  readonly kem: KemEpoch;
  readonly witness: NoteKeysPublic;
  readonly log: NoteKeysPublic;
}
export interface SiteKeys {
  readonly site: SiteId;
  readonly identity: IdentityPublic;
  /** Since when the identity counts, by the clock of whoever published it. */
  readonly sinceMs: number;
  /** Identities before it, newest first. */
  readonly past: readonly PastIdentity[];
  /** Newest first; behind it those whose overlap lasts. */
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
  /** Of the coordinator: it has stopped the federation. */
  readonly lockdown?: { readonly sinceMs: number } | undefined;
  /** When keys that two other sites vouched for took the place of lost ones, if they ever did. */
  readonly recoveredMs?: number | undefined;
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
  sinceMs: record.kind === 'recover' ? record.fromMs : record.atMs,
  kem: { ...record.kem, key: fromBase64(record.kem.key), leafHash: hash },
  witness: notePublic(record.witness),
  log: notePublic(record.log),
});

const isSame = (left: IdentityPublic, right: IdentityPublic): boolean =>
  equalConstantTime(left.ed25519, right.ed25519) && equalConstantTime(left.mldsa65, right.mldsa65);

/** The identities before, with the one that `next` replaces in front. */
const pastAfter = (keys: SiteKeys, next: Brought, overlapMs: number): readonly PastIdentity[] => {
  if (isSame(keys.identity, next.identity)) return keys.past;
  const { identity, sinceMs: fromMs, past } = keys;
  const endMs = next.sinceMs;
  return [{ identity, fromMs, endMs, takenToMs: endMs + overlapMs }, ...past];
};

/** The keys that count at `atMs`: a recovery that waited long enough has come into force. */
export const inForceAt = (keys: SiteKeys, atMs: number): SiteKeys => {
  const { recovering } = keys;
  if (recovering === undefined || atMs < recovering.fromMs) return keys;
  const { kem, ...brought } = recovering.brought;
  return {
    ...keys,
    ...brought,
    past: pastAfter(keys, recovering.brought, 0),
    kem: [kem],
    prekeys: [],
    revokedMs: undefined,
    recovering: undefined,
    recoveredMs: recovering.fromMs,
    // Whoever lost the keys cannot take an alarm back that was raised with them.
    suspended: undefined,
  };
};

/** Whose signature on a message of now counts: the identity, and for an hour the one that it replaced in good order. */
export const identitiesNow = (keys: SiteKeys, nowMs: number): readonly IdentityPublic[] => [
  keys.identity,
  ...keys.past
    .filter(({ takenToMs, endMs }) => takenToMs > endMs && nowMs < takenToMs)
    .map((one) => one.identity),
];

/** Whose signature counted at `atMs`: for receipts, ledger heads and other words that outlive a rotation. */
export const identitiesAt = (keys: SiteKeys, atMs: number): readonly IdentityPublic[] => {
  const found = keys.past
    .filter(
      (one) =>
        one.fromMs - CLOCK_SKEW_MS <= atMs && atMs < Math.max(one.takenToMs, one.endMs + CLOCK_SKEW_MS),
    )
    .map(({ identity }) => identity);
  return atMs >= keys.sinceMs - CLOCK_SKEW_MS ? [keys.identity, ...found] : found;
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
  return { ...brought, past: [], kem: [kem], prekeys: [], active: false, revokedMs: undefined };
};

/** The epochs before, each until its own overlap ends. */
const retired = ({ kem }: SiteKeys, atMs: number): readonly KemEpoch[] =>
  kem
    .map((one, at) => (at === 0 ? { ...one, toMs: Math.min(one.toMs, atMs + KEM_OVERLAP_MS) } : one))
    .filter(({ toMs }) => atMs < toMs)
    .slice(0, RETIRED_EPOCHS_MAX);

const rotate = (record: z.infer<typeof RotateRecord>, { leaf, hash, before }: Step): Made => {
  const all = broughtBy(record, hash);
  const { kem, ...brought } = all;
  if (before === undefined || !recordHolds(brought.identity, record, leaf.signature))
    throw refuse(`the record of ${record.site} is not signed by its own key`);
  const signed = leaf.previousSignature;
  if (signed === undefined || !recordHolds(before.identity, record, signed))
    throw refuse(`the new keys of ${record.site} are not signed by its identity before`);
  const rest = { ...before, ...brought, recovering: undefined };
  if (record.emergency === true) return { ...rest, past: pastAfter(before, all, 0), kem: [kem], prekeys: [] };
  const past = pastAfter(before, all, IDENTITY_OVERLAP_MS);
  return { ...rest, past, kem: [kem, ...retired(before, record.atMs)] };
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

const lockdown = (record: z.infer<typeof LockdownRecord>, { leaf, before }: Step): Made => {
  const isOwn = record.site === COORDINATOR_NAME && before !== undefined;
  if (!isOwn || !recordHolds(before.identity, record, leaf.signature))
    throw refuse('a lockdown of the federation is signed by its coordinator alone');
  if (record.on === (before.lockdown !== undefined))
    throw refuse(record.on ? 'the federation is locked down already' : 'there is no lockdown to end');
  return { ...before, lockdown: record.on ? { sinceMs: record.atMs } : undefined };
};

const made = (record: DirectoryRecord, step: Step): Made => {
  if (record.kind === 'enrol') return enrol(record, step);
  if (record.kind === 'rotate') return rotate(record, step);
  if (record.kind === 'recover') return recover(record, step);
  if (record.kind === 'lockdown') return lockdown(record, step);
  return record.kind === 'revoke' ? revoke(record, step) : publishPrekeys(record, step);
};

/** What the reader of a new leaf knows of when it was published, by clocks that are not the leaf's. */
export interface Published {
  /** When the directory stood without it. */
  readonly afterMs: number;
  readonly nowMs: number;
}

/**
 * A day passes between a recovery and its keys, whatever times its records name: one that is dated back would count at once, and so would one that
 * the new keys follow with a record from the future.
 */
const checkWaits = (
  record: DirectoryRecord,
  known: SiteKeys | undefined,
  { afterMs, nowMs }: Published,
): void => {
  if (record.kind === 'recover' && record.fromMs - afterMs < RECOVERY_WAIT_MS - COSIGNED_LATE_MS)
    throw refuse(`the recovery of ${record.site} came less than a day before its keys would count`);
  const fromMs = known?.recovering?.fromMs;
  if (fromMs !== undefined && record.atMs >= fromMs && nowMs < fromMs - CLOCK_SKEW_MS)
    throw refuse(`the record of ${record.site} is dated after a recovery that still waits`);
};

/** What one more leaf makes of its site. */
export interface Applied {
  readonly record: DirectoryRecord;
  readonly keys: SiteKeys;
}

/**
 * A site's keys after one more leaf; the state is not changed. Verifying the signatures is nearly all of the work, so whoever goes on keeps what this
 * returns, and whoever reads a whole directory sets it in a map of their own.
 * @param published of a leaf that is new to the reader: recoveries are then held to their day
 * @throws QflError `protocol`, `key_changed`, `revoked`
 */
export const keysAfter = (state: DirectoryState, bytes: Uint8Array, published?: Published): Applied => {
  const leaf = parseLeaf(bytes);
  const { record } = leaf;
  const known = state.get(record.site);
  if (published !== undefined) checkWaits(record, known, published);
  const before = known === undefined ? undefined : inForceAt(known, record.atMs);
  checkChain(record, before);
  const hash = directoryLeafHash(bytes);
  const keys = made(record, { leaf, hash, state, before });
  return { record, keys: { ...keys, site: record.site, sequence: record.sequence, lastLeaf: hash } };
};

/** The state after one more leaf, the one before left as it is: a copy of all sites. @throws as `keysAfter` */
export const applyLeaf = (
  state: DirectoryState,
  bytes: Uint8Array,
  published?: Published,
): Map<SiteId, SiteKeys> => {
  const { keys } = keysAfter(state, bytes, published);
  return new Map(state).set(keys.site, keys);
};

/**
 * What an identity leaf brings, checked against the identity that it brings alone: good only for whoever knows that identity by another way.
 * @throws QflError `protocol`, `key_changed`
 */
export const broughtBySelf = (
  bytes: Uint8Array,
): { readonly identity: IdentityPublic; readonly kem: KemEpoch } => {
  const leaf = parseLeaf(bytes);
  const { record } = leaf;
  if (!bringsIdentity(record)) throw new QflError('protocol', { detail: 'a record that brings no identity' });
  const { identity, kem } = broughtBy(record, directoryLeafHash(bytes));
  if (recordHolds(identity, record, leaf.signature)) return { identity, kem };
  throw refuse(`the record of ${record.site} is not signed by its own key`);
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
  if (epoch === undefined || nowMs >= epoch.toMs)
    throw new QflError('unknown_key', { detail: `${keys.site} has no key to seal to` });
  return { id: PrekeyId.parse(`static-${epoch.epoch}`), key: epoch.key };
};
