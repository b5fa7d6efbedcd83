/**
 * Audit entries: what a leaf of the audit logs says. Canonical JSON of strings and integers; nothing personal: people are
 * pseudonyms, and names, query text and free text stand only as a commitment whose opening is stored beside the leaf.
 */
import { z } from 'zod';
import { concat, toHex, utf8 } from '../bytes.ts';
import { sodium } from '../crypto/sodium.ts';
import { QflError } from '../errors.ts';
import { Pseudonym } from '../ids.ts';
import type { RandomBytes } from '../random.ts';
import { DataClass } from '../wire/envelope.ts';
import { canonicalBytes, parseCanonical } from './canonical.ts';
import { leafFacts } from './entry-pattern.ts';

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
  'key.compared',
  'key.recovery',
  'access.refused',
  'account.created',
  'account.changed',
  'account.signed_in',
  'account.signed_out',
  'account.sign_in_refused',
  'account.locked',
  'account.unlocked',
  'session.token_reused',
  'tokens.revoked',
  'proposal.made',
  'proposal.approved',
  'proposal.refused',
  'budget.raised',
  'settings.changed',
  'notification.sent',
  'incident.reported',
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
  'backup.made',
  'log.restored',
  'round.started',
  'round.joined',
  'round.sent',
  'round.revealed',
  'round.ended',
  'model.registered',
  'model.promoted',
  'model.rolled_back',
  'model.deleted',
  'model.exported',
  'model.pulled',
  'model.removed',
  'model.refused',
  'model.used',
] as const;
export const AuditAction = z.enum(AUDIT_ACTIONS);
export type AuditAction = z.infer<typeof AuditAction>;

export const AuditOutcome = z.enum(['begun', 'ok', 'refused', 'failed', 'unknown']);
export type AuditOutcome = z.infer<typeof AuditOutcome>;

const CODE = /^[a-z0-9][a-z0-9._:/-]{0,127}$/i;
const HEX32 = /^[0-9a-f]{64}$/;
const HEX16 = /^[0-9a-f]{32}$/;
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const OBJECTS_MAX = 64;
const code = z.string().regex(CODE, 'a code of 1–128 characters');
const hex32 = z.string().regex(HEX32);

/** 26 characters of Crockford base 32: 48 bits of time in ms, 80 random bits; sorts by time. */
const Ulid = z.string().regex(ULID);

export const AuditEntry = z.strictObject({
  v: z.literal(1),
  id: Ulid,
  timeMs: z.int().nonnegative(),
  /** Position in this log from 0 on, without gaps, over restarts; equals the leaf's index. */
  counter: z.int().nonnegative(),
  /** 16 bytes in hex, new at every start of the program. */
  bootId: z.string().regex(HEX16),
  /** Which program: `coordinator` or the site's name. */
  source: code,
  actor: Pseudonym.nullable(),
  role: code.nullable(),
  action: AuditAction,
  outcome: AuditOutcome,
  objects: z.array(z.strictObject({ kind: code, id: code })).max(OBJECTS_MAX),
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

const ACTIONS: ReadonlySet<string> = new Set(AUDIT_ACTIONS);
const OUTCOMES: ReadonlySet<string> = new Set(AuditOutcome.options);
const CLASSES: ReadonlySet<string> = new Set(DataClass.options);

/** A pattern makes a string of whatever it is given: that it is one is asked first. */
const matches = (pattern: RegExp, text: unknown): boolean => typeof text === 'string' && pattern.test(text);
const isNullOr = (pattern: RegExp, text: string | null): boolean => text === null || matches(pattern, text);
const isCount = (value: number | null): boolean =>
  value !== null && Number.isSafeInteger(value) && value >= 0;
const quoted = (text: string | null): string => (text === null ? 'null' : `"${text}"`);

/** Nothing that passes needs an escape in JSON. */
const isPlain = (entry: AuditEntry): boolean =>
  entry.v === 1 &&
  matches(ULID, entry.id) &&
  matches(HEX16, entry.bootId) &&
  matches(CODE, entry.source) &&
  ACTIONS.has(entry.action) &&
  OUTCOMES.has(entry.outcome) &&
  isNullOr(HEX16, entry.actor) &&
  isNullOr(CODE, entry.role) &&
  isNullOr(CODE, entry.purpose) &&
  isNullOr(CODE, entry.requestId) &&
  isNullOr(HEX32, entry.session) &&
  isNullOr(HEX32, entry.detail) &&
  (entry.classification === null || CLASSES.has(entry.classification)) &&
  isCount(entry.timeMs) &&
  isCount(entry.counter) &&
  (entry.cost === null || isCount(entry.cost)) &&
  entry.objects.length <= OBJECTS_MAX &&
  entry.objects.every(({ kind, id }) => matches(CODE, kind) && matches(CODE, id));

/** The members in the order of their names, as RFC 8785 wants it. */
const plainText = (entry: AuditEntry): string => {
  let objects = '';
  for (const { kind, id } of entry.objects)
    objects += `${objects === '' ? '' : ','}{"id":"${id}","kind":"${kind}"}`;
  return `{"action":"${entry.action}","actor":${quoted(entry.actor)},"bootId":"${entry.bootId}","classification":${quoted(entry.classification)},"cost":${entry.cost},"counter":${entry.counter},"detail":${quoted(entry.detail)},"id":"${entry.id}","objects":[${objects}],"outcome":"${entry.outcome}","purpose":${quoted(entry.purpose)},"requestId":${quoted(entry.requestId)},"role":${quoted(entry.role)},"session":${quoted(entry.session)},"source":"${entry.source}","timeMs":${entry.timeMs},"v":1}`;
};

/**
 * The leaf of an entry: canonical JSON. Written directly, in a quarter of the time that the schema and the general writer take: every action
 * waits for it. A test compares both; whatever is not plain goes the slow way, which says what is wrong.
 * @throws QflError `invalid_request` for what is no entry
 */
export const encodeEntry = (entry: AuditEntry): Uint8Array => {
  return isPlain(entry) ? utf8(plainText(entry)) : canonicalBytes(parseEntry(entry, 'not an audit event'));
};

const parseEntry = (value: unknown, what: string): AuditEntry => {
  const parsed = AuditEntry.safeParse(value);
  if (parsed.success) return parsed.data;
  const paths = parsed.error.issues.map(({ path }) => path.join('.') || '(entry)');
  throw new QflError('invalid_request', { detail: `${what}: ${[...new Set(paths)].join(', ')}` });
};

/** @throws QflError `invalid_request` when the leaf is not canonical or not an entry */
export const decodeEntry = (leaf: Uint8Array): AuditEntry =>
  parseEntry(parseCanonical(leaf), 'not an audit entry');

/**
 * `decodeEntry` in a third of the time, for who reads millions: a leaf in the one spelling has every member, and only the code lists remain to be asked.
 * @throws QflError `invalid_request`
 */
export const readEntry = (leaf: Uint8Array): AuditEntry => {
  if (leafFacts(leaf) === undefined) return decodeEntry(leaf);
  const entry: AuditEntry = JSON.parse(
    Buffer.from(leaf.buffer, leaf.byteOffset, leaf.byteLength).toString('latin1'),
  );
  return isPlain(entry) ? entry : decodeEntry(leaf);
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

const TIME_CHARACTERS = 10;
const RANDOM_CHARACTERS = 16;

export const ulid = (timeMs: number, random: RandomBytes): string => {
  let text = '';
  for (let rest = timeMs, at = 0; at < TIME_CHARACTERS; at += 1) {
    text = CROCKFORD[rest % 32]! + text;
    rest = Math.floor(rest / 32);
  }
  const bytes = random(RANDOM_CHARACTERS);
  // 256 is a multiple of 32: each character is as likely as any other.
  for (let at = 0; at < RANDOM_CHARACTERS; at += 1) text += CROCKFORD[bytes[at]! % 32]!;
  return text;
};
