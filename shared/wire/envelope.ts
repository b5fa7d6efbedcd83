/**
 * What the coordinator may read of a sealed query. Sender: the asking agent, once per query, with the sealed body. The
 * coordinator plans on it and passes it on unchanged; it is associated data of everything sealed, so changing a byte of it
 * leaves nothing that opens.
 */
import { z } from 'zod';
import { Pseudonym, QueryId, SiteId } from '../ids.ts';

export const ENVELOPE_VERSION = 'fed-e2e/1';
export const RECIPIENTS_MAX = 64;
export const CHAT_CANDIDATES_MAX = 3;
/** From this priority on a request is an emergency: slots that are kept for emergencies are open to it. */
export const EMERGENCY_PRIORITY = 8;

export const PrekeyId = z
  .string()
  .regex(/^(static-\d{1,6}|[0-9a-f]{16})$/)
  .brand<'PrekeyId'>();
export type PrekeyId = z.infer<typeof PrekeyId>;

export const CouplingToken = z.string().regex(/^[0-9a-f]{32}$/);

export const DataClass = z.enum(['public', 'internal', 'confidential', 'restricted']);
export type DataClass = z.infer<typeof DataClass>;

export const Envelope = z.strictObject({
  v: z.literal(ENVELOPE_VERSION),
  queryId: QueryId,
  kind: z.enum(['chat', 'stats']),
  sender: SiteId,
  recipients: z
    .array(z.strictObject({ site: SiteId, prekey: PrekeyId }))
    .min(1)
    .max(RECIPIENTS_MAX),
  createdMs: z.int().nonnegative(),
  expiresMs: z.int().nonnegative(),
  /** What each contributing site will charge, in millionths of epsilon; 0 for chat. */
  microEpsilon: z.int().nonnegative(),
  /** Model asked for; null where the kind needs none. */
  model: z.string().max(128).nullable(),
  /** Power of two at or above the number of prompt bytes: enough to plan with, too little to read. */
  sizeBucketBytes: z.int().nonnegative(),
  /** 0 (background) to 9 (emergency). */
  priority: z.int().min(0).max(9),
  /**
   * Blind: requests with the same token gain from the same site (one conversation, one prefix). A keyed hash of the asking site that changes every
   * day; the coordinator learns that two requests belong together and nothing else.
   */
  affinity: CouplingToken.optional(),
  /** Requests with the same token should not meet at one site (copies of one question). */
  apart: CouplingToken.optional(),
  /** BLAKE2b-256 commitment to the body key, base64: the cipher alone does not commit. */
  commitment: z.base64().length(44),
});
export type Envelope = z.infer<typeof Envelope>;

/** What only the recipients read. */
export const QueryContent = z.strictObject({
  purpose: z.string().max(200),
  legalBasis: z.string().max(200),
  dataClass: DataClass,
  asker: Pseudonym,
  role: z.string().max(40),
  department: z.string().max(40),
  /** The query itself, in the form of its kind. */
  query: z.unknown(),
  /** Directory state the asker sealed against. */
  checkpoint: z.strictObject({ size: z.int().nonnegative(), root: z.base64() }),
});
export type QueryContent = z.infer<typeof QueryContent>;

/** First sealed chunk of an answer. */
export const AnswerStart = z.strictObject({
  queryId: QueryId,
  site: SiteId,
  model: z.string().nullable(),
  policyVersion: z.int().nonnegative(),
  /** Charged at this site for this query, integer of 2^-40 nat, as a decimal string. */
  spend: z.string().regex(/^\d+$/),
  /** Hash of the ledger record of the charge, hex; null where nothing was charged. */
  ledgerHash: z.string().nullable(),
  signature: z.base64(),
});
export type AnswerStart = z.infer<typeof AnswerStart>;

/** Last sealed chunk of an answer. */
export const AnswerEnd = z.strictObject({
  chunks: z.int().nonnegative(),
  hash: z.base64(),
  signature: z.base64(),
});
export type AnswerEnd = z.infer<typeof AnswerEnd>;

/** A site's signed word on what became of a query. */
export const Receipt = z.strictObject({
  queryId: QueryId,
  queryHash: z.string().regex(/^[0-9a-f]{64}$/),
  site: SiteId,
  outcome: z.enum(['refused', 'answered']),
  reason: z.string().max(40).nullable(),
  answerHash: z.string().nullable(),
  spend: z.string().regex(/^\d+$/),
  atMs: z.int(),
  signature: z.base64(),
});
export type Receipt = z.infer<typeof Receipt>;
