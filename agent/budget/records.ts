/**
 * The records of the journal. Payload = u32 length of the JSON, the JSON (canonical), then the sealed answer where there is one.
 * Written once, never changed: a new field needs a new version of the genesis record.
 */
import { z } from 'zod';
import { fromUtf8 } from '../../shared/bytes.ts';
import { type CanonicalValue, canonicalJson } from '../../shared/audit/canonical.ts';
import type { Charge } from './accounts.ts';
import { type Mechanism, mechanismToText } from '../../shared/privacy/mechanism.ts';
import { assert } from '../../shared/errors.ts';
import { DepartmentId, Pseudonym, QueryId, SiteId } from '../../shared/ids.ts';
import { LedgerLimits, MechanismTexts, Orders } from './limits.ts';

/** Why a charge may be given back: a public fact, known without the data, that nothing ran. The list is closed on purpose. */
export const PublicReason = z.enum([
  'backend_absent',
  'validation_failed',
  'not_permitted',
  'queue_full',
  'cancelled_before_start',
]);
export type PublicReason = z.infer<typeof PublicReason>;

const Units = z.string().regex(/^(0|[1-9]\d{0,38})$/);
const Counter = z.int().nonnegative();
const Day = z.int().nonnegative();
const TimeMs = z.int().nonnegative();
const Words = z.string().min(1).max(200);

export const EnvelopeHash = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'an envelope hash is 64 hexadecimal characters');

/** One query of one verified sender, exactly as it was sealed. */
export const ChargeKey = z.strictObject({ sender: SiteId, queryId: QueryId, envelopeHash: EnvelopeHash });
export type ChargeKey = z.infer<typeof ChargeKey>;

export const keyText = ({ sender, queryId, envelopeHash }: ChargeKey): string =>
  `${sender}/${queryId}/${envelopeHash}`;

export const Costs = z.strictObject({
  site_lifetime: Units,
  asking_site_day: Units,
  department_day: Units,
  user_day: Units,
});

const Genesis = z.strictObject({
  type: z.literal('genesis'),
  version: z.literal(1),
  site: SiteId,
  day: Day,
  limits: LedgerLimits,
  orders: Orders,
  atMs: TimeMs,
});
const Reserved = z.strictObject({
  type: z.literal('reserved'),
  ...ChargeKey.shape,
  asker: Pseudonym,
  department: DepartmentId,
  day: Day,
  mechanisms: MechanismTexts,
  costs: Costs,
  atMs: TimeMs,
});
/** `reserved` is the counter of the reservation that ends. The sealed answer follows the JSON. */
const Committed = z.strictObject({ type: z.literal('committed'), reserved: Counter, atMs: TimeMs });
const Refunded = z.strictObject({
  type: z.literal('refunded'),
  reserved: Counter,
  reason: PublicReason,
  atMs: TimeMs,
});
/** The run ended without a known outcome; its charge stays. */
const Unknown = z.strictObject({
  type: z.literal('unknown'),
  reserved: Counter,
  cause: z.enum(['restart', 'failed']),
  atMs: TimeMs,
});
/** A new day. `confirmed`: the coordinator's signed time says so too; `uptime`: 24 h of this process passed. */
const Window = z.strictObject({
  type: z.literal('window'),
  day: Day,
  cause: z.enum(['confirmed', 'uptime']),
  atMs: TimeMs,
});
/** An administrator took back a jump ahead. `sums`: day, account, units of every day from the reopened one on. */
const Undo = z.strictObject({
  type: z.literal('undo'),
  day: Day,
  sums: z.array(z.tuple([Day, z.string(), Units])),
  by: Words,
  reason: Words,
  atMs: TimeMs,
});
const Limits = z.strictObject({
  type: z.literal('limits'),
  limits: LedgerLimits,
  orders: Orders,
  by: Words,
  reason: Words,
  atMs: TimeMs,
});

export const LedgerRecord = z.discriminatedUnion('type', [
  Genesis,
  Reserved,
  Committed,
  Refunded,
  Unknown,
  Window,
  Undo,
  Limits,
]);
export type LedgerRecord = z.infer<typeof LedgerRecord>;
export type ReservedRecord = z.infer<typeof Reserved>;

const NOTHING = new Uint8Array(0);
const LENGTH_BYTES = 4;

/**
 * Canonical JSON. The two records of every charge are made with their members in order and of plain text only, so that the built-in
 * writer gives the same spelling at a fraction of the cost; a test holds them to it.
 */
const spell = (record: LedgerRecord): string =>
  record.type === 'reserved' || record.type === 'committed'
    ? JSON.stringify(record)
    : // Every record is made of strings, integers, arrays and objects: what canonical JSON holds.
      canonicalJson(record satisfies CanonicalValue);

/** A query charged, in canonical order. */
export const reservedRecord = (
  key: ChargeKey,
  charge: Charge,
  mechanisms: readonly Mechanism[],
  atMs: number,
): ReservedRecord => ({
  asker: charge.asker,
  atMs,
  costs: {
    asking_site_day: String(charge.costs.asking_site_day),
    department_day: String(charge.costs.department_day),
    site_lifetime: String(charge.costs.site_lifetime),
    user_day: String(charge.costs.user_day),
  },
  day: charge.day,
  department: charge.department,
  envelopeHash: key.envelopeHash,
  mechanisms: mechanisms.map(mechanismToText),
  queryId: key.queryId,
  sender: key.sender,
  type: 'reserved',
});

/** The end of a query that was answered, in canonical order. */
export const committedRecord = (reserved: number, atMs: number): LedgerRecord => ({
  atMs,
  reserved,
  type: 'committed',
});

export const encodeRecord = (record: LedgerRecord, answer: Uint8Array = NOTHING): Uint8Array => {
  const json = spell(record);
  const jsonBytes = Buffer.byteLength(json);
  const payload = Buffer.allocUnsafe(LENGTH_BYTES + jsonBytes + answer.byteLength);
  payload.writeUInt32BE(jsonBytes);
  payload.write(json, LENGTH_BYTES);
  payload.set(answer, LENGTH_BYTES + jsonBytes);
  return payload;
};

export interface DecodedRecord {
  readonly record: LedgerRecord;
  readonly answer: Uint8Array;
}

/** @throws when the payload is not a record: it was authenticated before, so it was written by another version. */
export const decodeRecord = (payload: Uint8Array): DecodedRecord => {
  assert(payload.byteLength >= LENGTH_BYTES, 'a ledger record begins with a length');
  const length = Buffer.from(payload.buffer, payload.byteOffset, LENGTH_BYTES).readUInt32BE();
  const json = payload.subarray(LENGTH_BYTES, LENGTH_BYTES + length);
  return {
    record: LedgerRecord.parse(JSON.parse(fromUtf8(json))),
    answer: payload.subarray(LENGTH_BYTES + length),
  };
};
