/**
 * The records of the journal. Payload = u32 length of the JSON, the JSON (canonical), then the sealed answer where there is one.
 * Written once, never changed: a new field needs a new version of the genesis record.
 */
import { z } from 'zod';
import { fromUtf8 } from '../../shared/bytes.ts';
import { type CanonicalValue, canonicalJson } from '../../shared/audit/canonical.ts';
import { type Charge, DaySumTexts } from './accounts.ts';
import { type Amount, AmountText, deltaUnitsOf, lossOf } from './amount.ts';
import { Block, BLOCKS_MAX } from './blocks.ts';
import { scalarOf } from './filters.ts';
import { type Mechanism, mechanismToText } from '../../shared/privacy/mechanism.ts';
import { assert } from '../../shared/errors.ts';
import { DepartmentId, Pseudonym, QueryId, SiteId } from '../../shared/ids.ts';
import { LEDGER_KINDS, type LedgerKind, LedgerLimits, MechanismTexts, Orders } from './limits.ts';

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
  /** 2 since restores, data blocks and the curve, 3 since delta; journals of earlier versions read the same. */
  version: z.union([z.literal(1), z.literal(2), z.literal(3)]),
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
  /** What every ledger is charged at each order, under `rdp_curve`; `costs` then holds its `scalarOf`. */
  curve: z.array(Units).min(2).max(1_000).exactOptional(),
  /** What every ledger is charged of its delta, in units of 2^-80. */
  delta: Units.exactOptional(),
  /** The data blocks that are read. */
  blocks: z.array(Block).min(1).max(BLOCKS_MAX).exactOptional(),
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
  sums: DaySumTexts,
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

/** A data block is never read again. */
const Retired = z.strictObject({
  type: z.literal('retired'),
  block: Block,
  by: Words,
  reason: Words,
  atMs: TimeMs,
});
/** A head that the coordinator countersigned; `units` is the lifetime spend it stated. */
export const CountersignedFacts = z.strictObject({
  epoch: Counter,
  counter: Counter,
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  units: Units,
  /** And of its delta; left out when that is nothing. */
  delta: Units.exactOptional(),
  atMs: TimeMs,
});
export type CountersignedFacts = z.infer<typeof CountersignedFacts>;
/** An answer that left this site, known by its receipt only: `raise` is what this journal had not counted of it. */
const ReceiptMerged = z.strictObject({
  type: z.literal('receipt'),
  queryId: QueryId,
  envelopeHash: EnvelopeHash,
  units: Units,
  raise: AmountText,
  atMs: TimeMs,
});
/** The end of a restore: a new epoch begins. `raise` brings the lifetime sum up to what was countersigned. */
const Restored = z.strictObject({
  type: z.literal('restored'),
  epoch: z.int().positive(),
  raise: AmountText,
  /** The newest countersigned head that was known; null when there was none. */
  countersigned: CountersignedFacts.nullable(),
  by: Words,
  reason: Words,
  atMs: TimeMs,
});
/** An administrator's word on what nobody holds a receipt for; the lifetime ledger serves again. */
const Statement = z.strictObject({
  type: z.literal('statement'),
  raise: AmountText,
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
  Retired,
  ReceiptMerged,
  Restored,
  Statement,
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
): ReservedRecord => {
  const { asking_site_day, department_day, site_lifetime, user_day } = charge.costs;
  const loss = lossOf(site_lifetime);
  const isCurve = loss.length > 1;
  const delta = deltaUnitsOf(site_lifetime);
  const text = (amount: Amount): string =>
    isCurve ? String(scalarOf('rdp_curve', amount)) : String(amount[0]);
  return {
    asker: charge.asker,
    atMs,
    ...(charge.blocks.length === 0 ? {} : { blocks: z.array(Block).parse(charge.blocks) }),
    costs: {
      asking_site_day: text(asking_site_day),
      department_day: text(department_day),
      site_lifetime: text(site_lifetime),
      user_day: text(user_day),
    },
    // The grid is the same for every ledger, and so is the cost.
    ...(isCurve ? { curve: loss.map(String) } : {}),
    day: charge.day,
    // So is the delta, which depends on the mechanism alone.
    ...(delta === 0n ? {} : { delta: String(delta) }),
    department: charge.department,
    envelopeHash: key.envelopeHash,
    mechanisms: mechanisms.map(mechanismToText),
    queryId: key.queryId,
    sender: key.sender,
    type: 'reserved',
  };
};

/** What a reservation charged. */
export const chargeOf = (record: ReservedRecord): Charge => {
  const { curve } = record;
  const delta = BigInt(record.delta ?? '0');
  const onCurve = curve === undefined ? undefined : [...curve.map(BigInt), delta];
  const at = (kind: LedgerKind): Amount => onCurve ?? [BigInt(record.costs[kind]), delta];
  return {
    sender: record.sender,
    asker: record.asker,
    department: record.department,
    day: record.day,
    costs: {
      site_lifetime: at('site_lifetime'),
      asking_site_day: at('asking_site_day'),
      department_day: at('department_day'),
      user_day: at('user_day'),
    },
    blocks: record.blocks ?? [],
  };
};

/** The costs of a reservation as single numbers. */
export const scalarCosts = (record: ReservedRecord): Record<LedgerKind, bigint> =>
  Object.fromEntries(LEDGER_KINDS.map((kind) => [kind, BigInt(record.costs[kind])])) as Record<
    LedgerKind,
    bigint
  >;

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
