/**
 * The key directory's records: who holds which key. Each is a leaf of the `keys` tree, signed by the site it speaks for, and
 * chained to the site's record before (design: security, section 5). An identity record carries both signatures; a
 * prekey record, made daily and worthless after two days, Ed25519 alone.
 */
import { z } from 'zod';
import { fromBase64, framed, fromUtf8, toBase64, toHex, utf8 } from '../bytes.ts';
import { hashOf } from '../crypto/hash.ts';
import { type Identity, type IdentityPublic, verifyHybrid, verifySignature } from '../crypto/signature.ts';
import { QflError } from '../errors.ts';
import { SiteId } from '../ids.ts';
import { PrekeyId } from '../wire/envelope.ts';

/** The name under which the coordinator's own keys stand. */
export const COORDINATOR_NAME = SiteId.parse('coordinator');
export const RECORD_BYTES_MAX = 32_768;
const LABEL = 'qfl directory record v1';

const Key = (bytes: number) =>
  z.base64().refine((text) => fromBase64(text).byteLength === bytes, `needs ${bytes} bytes`);
const LeafHash = z.string().regex(/^[0-9a-f]{64}$/);

const common = {
  v: z.literal(1),
  site: SiteId,
  /** 0, 1, 2 … for each site. */
  sequence: z.int().nonnegative(),
  /** Hash of the site's leaf before this one. */
  previous: LeafHash.nullable(),
  atMs: z.int().nonnegative(),
};

export const IdentityRecord = z.strictObject({
  ...common,
  kind: z.literal('identity'),
  ed25519: Key(32),
  mldsa65: Key(1952),
  /** The X-Wing key of this epoch. */
  kem: z.strictObject({ epoch: z.int().nonnegative(), key: Key(1216), fromMs: z.int(), toMs: z.int() }),
});
export const PrekeyRecord = z.strictObject({
  ...common,
  kind: z.literal('prekeys'),
  prekeys: z
    .array(z.strictObject({ id: PrekeyId, key: Key(1216), fromMs: z.int(), toMs: z.int() }))
    .min(1)
    .max(4),
});
/** Signed by the coordinator: the site's keys count no longer. */
export const RevocationRecord = z.strictObject({
  ...common,
  kind: z.literal('revocation'),
  reason: z.string().max(200),
});

export const DirectoryRecord = z.discriminatedUnion('kind', [IdentityRecord, PrekeyRecord, RevocationRecord]);
export type DirectoryRecord = z.infer<typeof DirectoryRecord>;
export type IdentityRecord = z.infer<typeof IdentityRecord>;
export type PrekeyRecord = z.infer<typeof PrekeyRecord>;

const Signature = z.strictObject({ ed25519: z.base64(), mldsa65: z.base64().nullable() });
type Signature = z.infer<typeof Signature>;
const Leaf = z.strictObject({
  record: DirectoryRecord,
  signature: Signature,
  /** By the identity before, when this record changes the identity. */
  previousSignature: Signature.optional(),
});
type Leaf = z.infer<typeof Leaf>;

/** Field order is fixed by the schema, so the same record always gives the same bytes. */
const recordBytes = (record: DirectoryRecord): Uint8Array =>
  utf8(JSON.stringify(DirectoryRecord.parse(record)));

const signRecord = (identity: Identity, record: DirectoryRecord): Signature => {
  const message = recordBytes(record);
  if (record.kind === 'prekeys') return { ed25519: toBase64(identity.sign(LABEL, message)), mldsa65: null };
  const { ed25519, mldsa65 } = identity.signHybrid(LABEL, message);
  return { ed25519: toBase64(ed25519), mldsa65: toBase64(mldsa65) };
};

/** A leaf's bytes, signed by `identity`, and by `previous` where the identity changes. */
export const signLeaf = (record: DirectoryRecord, identity: Identity, previous?: Identity): Uint8Array =>
  utf8(
    JSON.stringify({
      record: DirectoryRecord.parse(record),
      signature: signRecord(identity, record),
      ...(previous === undefined ? {} : { previousSignature: signRecord(previous, record) }),
    }),
  );

/** @throws QflError `protocol` */
export const parseLeaf = (bytes: Uint8Array): Leaf => {
  if (bytes.byteLength > RECORD_BYTES_MAX) throw new QflError('too_large', { detail: 'a directory record' });
  try {
    return Leaf.parse(JSON.parse(fromUtf8(bytes)));
  } catch (cause) {
    throw new QflError('protocol', { detail: 'a directory record is not valid', cause });
  }
};

const holds = (key: IdentityPublic, record: DirectoryRecord, signature: Signature): boolean => {
  const message = recordBytes(record);
  const ed25519 = fromBase64(signature.ed25519);
  if (record.kind === 'prekeys') return verifySignature(key, LABEL, message, ed25519);
  return (
    signature.mldsa65 !== null &&
    verifyHybrid(key, LABEL, message, { ed25519, mldsa65: fromBase64(signature.mldsa65) })
  );
};

/** Names a leaf in chains and handshakes; the tree has its own hash of the same bytes. */
export const directoryLeafHash = (bytes: Uint8Array): Uint8Array => hashOf('qfl directory leaf', bytes);

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
export interface SiteKeys {
  readonly site: SiteId;
  readonly identity: IdentityPublic;
  /** Newest first; at most two, for the overlap of epochs. */
  readonly kem: readonly KemEpoch[];
  readonly prekeys: readonly Prekey[];
  readonly sequence: number;
  readonly lastLeaf: Uint8Array;
  readonly revokedMs: number | undefined;
}
export type DirectoryState = ReadonlyMap<SiteId, SiteKeys>;

const refuse = (detail: string): QflError =>
  new QflError('key_changed', {
    detail,
    next: 'Do not use this key; ask the federation operator and compare fingerprints by telephone.',
  });
const publicOf = (record: IdentityRecord): IdentityPublic => ({
  ed25519: fromBase64(record.ed25519),
  mldsa65: fromBase64(record.mldsa65),
});
const sameIdentity = (left: IdentityPublic, right: IdentityPublic): boolean =>
  toHex(left.ed25519) === toHex(right.ed25519) && toHex(left.mldsa65) === toHex(right.mldsa65);

const checkChain = (record: DirectoryRecord, before: SiteKeys | undefined): void => {
  const expected = before === undefined ? 0 : before.sequence + 1;
  const previous = before === undefined ? null : toHex(before.lastLeaf);
  if (record.sequence !== expected || record.previous !== previous)
    throw refuse(`the record of ${record.site} does not follow its last one`);
  if (before?.revokedMs !== undefined)
    throw new QflError('revoked', { detail: `${record.site} was revoked` });
};

const applyIdentity = (
  leaf: Leaf,
  record: IdentityRecord,
  before: SiteKeys | undefined,
  hash: Uint8Array,
): SiteKeys => {
  const identity = publicOf(record);
  if (!holds(identity, record, leaf.signature))
    throw refuse(`the record of ${record.site} is not signed by its own key`);
  if (before !== undefined && !sameIdentity(before.identity, identity)) {
    const signed = leaf.previousSignature;
    if (signed === undefined || !holds(before.identity, record, signed))
      throw refuse(`the new identity of ${record.site} is not signed by the one before`);
  }
  const epoch: KemEpoch = { ...record.kem, key: fromBase64(record.kem.key), leafHash: hash };
  return {
    site: record.site,
    identity,
    kem: [epoch, ...(before?.kem.slice(0, 1) ?? [])],
    prekeys: before?.prekeys ?? [],
    sequence: record.sequence,
    lastLeaf: hash,
    revokedMs: undefined,
  };
};

const applyPrekeys = (
  leaf: Leaf,
  record: PrekeyRecord,
  before: SiteKeys | undefined,
  hash: Uint8Array,
): SiteKeys => {
  if (before === undefined || !holds(before.identity, record, leaf.signature))
    throw refuse(`the prekeys of ${record.site} are not signed by its key`);
  const prekeys = record.prekeys.map(({ id, key, fromMs, toMs }) => ({
    id,
    key: fromBase64(key),
    fromMs,
    toMs,
  }));
  return { ...before, prekeys, sequence: record.sequence, lastLeaf: hash };
};

/**
 * The state after one more leaf. Both sides run it: the coordinator before it accepts a record, each agent before
 * it uses one.
 * @throws QflError `protocol`, `key_changed`, `revoked`, `unknown_key`
 */
export const applyLeaf = (state: DirectoryState, bytes: Uint8Array): Map<SiteId, SiteKeys> => {
  const leaf = parseLeaf(bytes);
  const { record } = leaf;
  const before = state.get(record.site);
  checkChain(record, before);
  const hash = directoryLeafHash(bytes);
  const next = new Map(state);
  if (record.kind === 'identity') next.set(record.site, applyIdentity(leaf, record, before, hash));
  else if (record.kind === 'prekeys') next.set(record.site, applyPrekeys(leaf, record, before, hash));
  else {
    const coordinator = state.get(COORDINATOR_NAME);
    if (
      before === undefined ||
      coordinator === undefined ||
      !holds(coordinator.identity, record, leaf.signature)
    )
      throw refuse(`the revocation of ${record.site} is not signed by the coordinator`);
    next.set(record.site, { ...before, sequence: record.sequence, lastLeaf: hash, revokedMs: record.atMs });
  }
  return next;
};

/** A site in force. @throws QflError `unknown_key`, `revoked` */
export const requireSite = (state: DirectoryState, site: SiteId): SiteKeys => {
  const keys = state.get(site);
  if (keys === undefined) throw new QflError('unknown_key', { detail: `${site} is not in the directory` });
  if (keys.revokedMs !== undefined) throw new QflError('revoked', { detail: `${site} was revoked` });
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

/** Names an identity for people: compared by voice between hospitals, carried by join tokens. */
export const fingerprintOf = (identity: IdentityPublic): Uint8Array =>
  hashOf('qfl identity fingerprint', framed(identity.ed25519, identity.mldsa65));

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
/** 80 bits of a fingerprint as four groups of four characters (Crockford's base 32: no i, l, o, u). */
export const fingerprintPhrase = (fingerprint: Uint8Array): string => {
  const bits = BigInt(`0x${toHex(fingerprint.subarray(0, 10))}`);
  const characters = Array.from(
    { length: 16 },
    (_, index) => ALPHABET[Number((bits >> BigInt(75 - 5 * index)) & 31n)] ?? '',
  );
  return characters.join('').replace(/(.{4})(?=.)/g, '$1-');
};
