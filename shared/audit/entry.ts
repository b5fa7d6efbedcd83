/**
 * Audit entries: what a leaf of the audit logs says. Canonical JSON of strings and integers; nothing personal: people are
 * pseudonyms, and names, query text and free text stand only as a commitment whose opening is stored beside the leaf.
 */
import { z } from 'zod';
import { concat, toHex } from '../bytes.ts';
import { sodium } from '../crypto/sodium.ts';
import { QflError } from '../errors.ts';
import { Pseudonym } from '../ids.ts';
import type { RandomBytes } from '../random.ts';
import { DataClass } from '../wire/envelope.ts';
import { canonicalBytes, parseCanonical } from './canonical.ts';

/** Everything that is ever logged; an action that is not here cannot be written. */
export const AUDIT_ACTIONS = [
  'program.start',
  'program.stop',
  'clock.confirmed',
  'site.invited',
  'site.joined',
  'site.approved',
  'site.revoked',
  'session.opened',
  'session.closed',
  'session.refused',
  'key.created',
  'key.revoked',
  'key.rotated',
  'access.refused',
  'chat.asked',
  'chat.served',
  'chat.answered',
  'stats.asked',
  'stats.served',
  'stats.answered',
  'budget.reserved',
  'budget.committed',
  'budget.released',
  'budget.refused',
  'ledger.countersigned',
  'ledger.restored',
  'ledger.stated',
  'ledger.compacted',
  'ledger.block_retired',
  'records.imported',
  'records.erased',
  'erasure.refused',
  'plan.made',
  'relay.dispatched',
  'policy.changed',
  'task.created',
  'task.started',
  'task.ended',
  'task.cancelled',
  'tasks.exported',
  'tasks.imported',
  'lockdown.changed',
  'directory.alarm',
  'witness.refused',
  'audit.read',
  'audit.erased',
  'audit.held',
  'audit.hold_released',
  'audit.pruned',
  'audit.exported',
] as const;
export const AuditAction = z.enum(AUDIT_ACTIONS);
export type AuditAction = z.infer<typeof AuditAction>;

export const AuditOutcome = z.enum(['begun', 'ok', 'refused', 'failed', 'unknown']);
export type AuditOutcome = z.infer<typeof AuditOutcome>;

const code = z.string().regex(/^[a-z0-9][a-z0-9._:/-]{0,127}$/i, 'a code of 1–128 characters');
const hex32 = z.string().regex(/^[0-9a-f]{64}$/);

/** 26 characters of Crockford base 32: 48 bits of time in ms, 80 random bits; sorts by time. */
const Ulid = z.string().regex(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);

export const AuditEntry = z.strictObject({
  v: z.literal(1),
  id: Ulid,
  timeMs: z.int().nonnegative(),
  /** Position in this log from 0 on, without gaps, over restarts; equals the leaf's index. */
  counter: z.int().nonnegative(),
  /** 16 bytes in hex, new at every start of the program. */
  bootId: z.string().regex(/^[0-9a-f]{32}$/),
  /** Which program: `coordinator` or the site's name. */
  source: code,
  actor: Pseudonym.nullable(),
  role: code.nullable(),
  action: AuditAction,
  outcome: AuditOutcome,
  objects: z.array(z.strictObject({ kind: code, id: code })).max(64),
  purpose: code.nullable(),
  classification: DataClass.nullable(),
  /** SHA-256 of the session, in hex. */
  session: hex32.nullable(),
  requestId: code.nullable(),
  /** Privacy spent, in units of 2^-40 nat. */
  cost: z.int().nonnegative().nullable(),
  /** BLAKE2b-256(salt ‖ detail), in hex; null when there is no detail. */
  detail: hex32.nullable(),
});
export type AuditEntry = z.infer<typeof AuditEntry>;

export const encodeEntry = (entry: AuditEntry): Uint8Array => canonicalBytes(entry);

/** @throws QflError `invalid_request` when the leaf is not canonical or not an entry */
export const decodeEntry = (leaf: Uint8Array): AuditEntry => {
  const parsed = AuditEntry.safeParse(parseCanonical(leaf));
  if (parsed.success) return parsed.data;
  const paths = parsed.error.issues.map(({ path }) => path.join('.') || '(entry)');
  throw new QflError('invalid_request', { detail: `not an audit entry: ${[...new Set(paths)].join(', ')}` });
};

const SALT_BYTES = 32;
const COMMITMENT_BYTES = 32;
const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** The salt and the bytes, as stored beside the leaf; whoever destroys it leaves a commitment that says nothing. */
export const sealDetail = (
  detail: Uint8Array,
  random: RandomBytes,
): { readonly commitment: string; readonly opening: Uint8Array } => {
  const opening = concat(random(SALT_BYTES), detail);
  return { commitment: toHex(sodium.crypto_generichash(COMMITMENT_BYTES, opening, null)), opening };
};

/** @throws QflError `bad_signature` when the opening does not belong to the commitment */
export const openDetail = (commitment: string, opening: Uint8Array): Uint8Array => {
  if (toHex(sodium.crypto_generichash(COMMITMENT_BYTES, opening, null)) !== commitment) {
    throw new QflError('bad_signature', { detail: 'the stored detail does not belong to this entry' });
  }
  return opening.subarray(SALT_BYTES);
};

export const ulid = (timeMs: number, random: RandomBytes): string => {
  const bits = (BigInt(timeMs) << 80n) | BigInt(`0x${toHex(random(10))}`);
  return Array.from(
    { length: 26 },
    (_, at) => CROCKFORD[Number((bits >> BigInt(5 * (25 - at))) & 31n)]!,
  ).join('');
};
