/**
 * The key directory's records: who holds which key. Each is a leaf of the `keys` tree, signed by the site it speaks for, and
 * chained to the site's record before (design: security, section 5). Records that change keys carry both signatures, Ed25519 and
 * ML-DSA-65; a prekey record, made daily and worthless after two days, Ed25519 alone. What makes a record count stands in `chain.ts`.
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
export const RECORD_BYTES_MAX = 65_535;
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

/** A key pair of each kind for notes: Ed25519 and ML-DSA-44. */
const NoteKeys = z.strictObject({ ed25519: Key(32), mldsa44: Key(1312) });

const identityFields = {
  ed25519: Key(32),
  mldsa65: Key(1952),
  /** The X-Wing key of this epoch. */
  kem: z.strictObject({ epoch: z.int().nonnegative(), key: Key(1216), fromMs: z.int(), toMs: z.int() }),
  /** What it cosigns checkpoints with. */
  witness: NoteKeys,
  /** What signs the checkpoints of its own audit log. */
  log: NoteKeys,
};

/** A site's first record. Signed by the identity it brings. */
export const EnrolRecord = z.strictObject({ ...common, kind: z.literal('enrol'), ...identityFields });
/**
 * A new epoch, or new keys altogether. Signed by the identity it brings and by the one before. In an emergency, nothing made before counts
 * any more: no epoch overlaps, prekeys are gone, and nobody waits for what is under way.
 */
export const RotateRecord = z.strictObject({
  ...common,
  kind: z.literal('rotate'),
  ...identityFields,
  emergency: z.literal(true).exactOptional(),
});
/**
 * New keys of a site that lost its own. Signed by the identity it brings and by two other sites; counts from `fromMs` on, a day later
 * at the earliest, unless a record signed by the old identity comes before: then nothing was lost.
 */
export const RecoverRecord = z.strictObject({
  ...common,
  kind: z.literal('recover'),
  ...identityFields,
  fromMs: z.int().nonnegative(),
});
/** The site's keys count no longer. Signed by the coordinator, or by the site itself. */
export const RevokeRecord = z.strictObject({
  ...common,
  kind: z.literal('revoke'),
  by: SiteId,
  reason: z.string().max(200),
});
export const PrekeyRecord = z.strictObject({
  ...common,
  kind: z.literal('prekeys'),
  prekeys: z
    .array(z.strictObject({ id: PrekeyId, key: Key(1216), fromMs: z.int(), toMs: z.int() }))
    .min(1)
    .max(4),
});
/**
 * The federation stands still, or goes on again: of the coordinator alone, signed by its identity. Agents obey the first as soon as they see
 * it, the second once a quorum has seen it.
 */
export const LockdownRecord = z.strictObject({
  ...common,
  kind: z.literal('lockdown'),
  on: z.boolean(),
});

export const DirectoryRecord = z.discriminatedUnion('kind', [
  EnrolRecord,
  RotateRecord,
  RecoverRecord,
  RevokeRecord,
  PrekeyRecord,
  LockdownRecord,
]);
export type DirectoryRecord = z.infer<typeof DirectoryRecord>;
/** A record that brings an identity. */
export type IdentityRecord = z.infer<typeof EnrolRecord | typeof RotateRecord | typeof RecoverRecord>;
export type PrekeyRecord = z.infer<typeof PrekeyRecord>;
export type RecoverRecord = z.infer<typeof RecoverRecord>;

export const bringsIdentity = (record: DirectoryRecord): record is IdentityRecord =>
  record.kind === 'enrol' || record.kind === 'rotate' || record.kind === 'recover';

export const Signature = z.strictObject({ ed25519: z.base64(), mldsa65: z.base64().nullable() });
export type Signature = z.infer<typeof Signature>;
const Leaf = z.strictObject({
  record: DirectoryRecord,
  signature: Signature,
  /** Of a `rotate` record: by the identity before. */
  previousSignature: Signature.optional(),
  /** Of a `recover` record: by two other sites. */
  approvals: z
    .array(z.strictObject({ site: SiteId, signature: Signature }))
    .max(8)
    .optional(),
});
export type Leaf = z.infer<typeof Leaf>;

/** Field order is fixed by the schema, so the same record always gives the same bytes. */
const recordBytes = (record: DirectoryRecord): Uint8Array =>
  utf8(JSON.stringify(DirectoryRecord.parse(record)));

export const signRecord = (signer: Identity, record: DirectoryRecord): Signature => {
  const message = recordBytes(record);
  if (record.kind === 'prekeys') return { ed25519: toBase64(signer.sign(LABEL, message)), mldsa65: null };
  const { ed25519, mldsa65 } = signer.signHybrid(LABEL, message);
  return { ed25519: toBase64(ed25519), mldsa65: toBase64(mldsa65) };
};

/** Who signs a record beside its own identity. */
export interface Beside {
  /** The identity before, of a `rotate`. */
  readonly previous?: Identity | undefined;
  /** Two other sites, of a `recover`. */
  readonly approvals?: readonly { readonly site: SiteId; readonly signature: Signature }[];
}

/** A leaf's bytes, signed by `signer`, and by the others that its kind asks for. */
export const signLeaf = (record: DirectoryRecord, signer: Identity, beside: Beside = {}): Uint8Array =>
  utf8(
    JSON.stringify({
      record: DirectoryRecord.parse(record),
      signature: signRecord(signer, record),
      ...(beside.previous === undefined ? {} : { previousSignature: signRecord(beside.previous, record) }),
      ...(beside.approvals === undefined ? {} : { approvals: beside.approvals }),
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

/** Does `key` stand behind the record? */
export const recordHolds = (key: IdentityPublic, record: DirectoryRecord, signature: Signature): boolean => {
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

export const identityOf = (record: IdentityRecord): IdentityPublic => ({
  ed25519: fromBase64(record.ed25519),
  mldsa65: fromBase64(record.mldsa65),
});

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
