/**
 * The conversation of a connection: what the coordinator says in M2, what the site states in M3, enrolment, the directory,
 * presence and telemetry. Method and event names are in `METHODS`, with who calls.
 */
import { z } from 'zod';
import { framed, utf8 } from '../bytes.ts';
import { SiteId } from '../ids.ts';

export const METHODS = {
  /** Site, once after each connection: am I approved? Answered with `Standing`. */
  hello: 'hello',
  /** Site: directory leaves from an index on. `LeavesRequest` → `LeavesReply`, payload = framed leaves. */
  leaves: 'directory.leaves',
  /** Site: a new record of its own as payload. Answered with `Published`. */
  publish: 'directory.publish',
  /** Site: approves another site's recovery. `RecoveryApproval`, payload = the request. → `RecoveryState` (`keys.ts`) */
  recovery: 'directory.recovery',
  /** Site: the newest checkpoint of the directory with cosignatures, as payload; empty when there is none. */
  directoryCheckpoint: 'directory.checkpoint',
  /** Coordinator, event: the directory's checkpoint got new cosignatures; payload = the note. */
  directoryConfirmed: 'directory.confirmed',
  /** Site, plain; then coordinator to all sites, event: `SignedAlarm` (`alarm.ts`) */
  alarm: 'directory.alarm',
  /** Coordinator: C2SP `add-checkpoint`, payload = its body. `WitnessReplyHeader`, payload = signature lines. */
  witness: 'log.witness',
  /** Coordinator: the site's audit log as it stands. `LogHeadRequest` → `LogHeadReply` */
  logHead: 'log.head',
  /** Coordinator, event: `CosignedLog`; payload = a checkpoint of an audit log with its cosignatures. */
  logCosigned: 'log.cosigned',
  /** Coordinator, event: the directory grew, the board changed, the site was approved. */
  board: 'board',
  /** Coordinator, event, just before it closes: `Dismissal`. */
  dismissed: 'dismissed',
  /** Site, event every few seconds: `Telemetry`. */
  telemetry: 'telemetry',
  /** Site: the coordinator's signed time. → `SignedTime` */
  time: 'time',
  /** Site: how far its privacy ledger has come. `LedgerHeadRequest` → `LedgerHeadReply` (`ledger-head.ts`) */
  ledgerHead: 'ledger.head',
  /** Site, stream: a sealed query as payload; answers come back sealed. `RelayedPart` headers. */
  query: 'query',
  /** Coordinator, stream: a sealed query for this site as payload. `ServedPart` headers. */
  serve: 'serve',
  /** Coordinator, stream: the site's audit log for an export. `LogPart` headers. */
  auditLog: 'audit.log',
  /** Coordinator, in this order: this site's keys of an epoch of sealed rounds (`shared/rounds/epoch.ts`). */
  epochOffer: 'epoch.offer',
  epochPairings: 'epoch.pairings',
  epochNonce: 'epoch.nonce',
  epochGraph: 'epoch.graph',
  /** Coordinator: a sealed round (`shared/rounds/messages.ts`). Payload = the plan's bytes, header = its signature. */
  roundPlan: 'round.plan',
  roundShares: 'round.shares',
  roundMembers: 'round.members',
  roundSurvivors: 'round.survivors',
  roundReveal: 'round.reveal',
  roundReceipt: 'round.receipt',
  /** Coordinator, event: the round ended without a sum. */
  roundAborted: 'round.aborted',
  /** Site: its masked vector is ready; payload = the hashes of its chunks. `VectorHeader` → `UploadState` */
  roundVector: 'round.vector',
  /** Site: one chunk. `ChunkHeader` → `UploadState` */
  roundChunk: 'round.chunk',
  /** Site: a piece of the bytes that the work begins from. `ModelRequest`, answered with the piece as payload. */
  roundModel: 'round.model',
  /** Site: a statistic of its user's as a sealed round; one name is one round, however often it is asked. `RoundStatsRequest` → `RoundStatsReply` (`round.ts`) */
  roundStats: 'round.stats',
  /** Site: its work failed, and no vector will come. `RoundLost` */
  roundLost: 'round.lost',
  /** Site: the signed record of a model version. `ModelRecordRequest`, answered with a `SignedModel` as payload (`model.ts`). */
  modelRecord: 'model.record',
  /** Site: a piece of its file. `ModelChunkRequest`, answered with the piece as payload. */
  modelChunk: 'model.chunk',
} as const;

/** M2's content. Sent by the coordinator only to a site whose key it has. */
export const Welcome = z.strictObject({
  sessionId: z.string().regex(/^[0-9a-f]{32}$/),
  serverTimeMs: z.int(),
  /** After this the agent must run a fresh handshake. */
  rehandshakeMs: z.int().positive(),
});
export type Welcome = z.infer<typeof Welcome>;

export const Standing = z.strictObject({
  status: z.enum(['pending', 'approved']),
  directorySize: z.int().nonnegative(),
});
export type Standing = z.infer<typeof Standing>;

export const Dismissal = z.strictObject({ code: z.string().max(40), detail: z.string().max(1_000) });

export const LeavesRequest = z.strictObject({ from: z.int().nonnegative() });
export const LEAVES_PER_REPLY_MAX = 256;
export const LeavesReply = z.strictObject({
  /** Signed checkpoint (C2SP note) of the whole directory at this moment. */
  checkpoint: z.string().max(8_192),
  /** Index after the last leaf of this reply. */
  next: z.int().nonnegative(),
});
/** Statuses of C2SP tlog-witness; with 409 the size that the witness knows. */
export const WitnessReplyHeader = z.strictObject({
  status: z.literal([200, 400, 403, 404, 409, 422]),
  size: z.int().nonnegative().optional(),
  detail: z.string().max(1_000).optional(),
});
export type WitnessReplyHeader = z.infer<typeof WitnessReplyHeader>;
/** The largest note with cosignatures: a thousand sites that sign with two keys each. */
export const COSIGNED_BYTES_MAX = 8 * 1024 * 1024;
/** A checkpoint of now; or, with `size`, only the proof that the log of that size extends the one of size `from`. */
export const LogHeadRequest = z.strictObject({
  from: z.int().nonnegative(),
  size: z.int().nonnegative().optional(),
});
export const LogHeadReply = z.strictObject({
  checkpoint: z.string().max(8_192),
  /** Consistency proof from the size asked for, base64; empty from 0, and when nothing was added. */
  proof: z.array(z.base64()).max(63),
});
export type LogHeadReply = z.infer<typeof LogHeadReply>;
export const CosignedLog = z.strictObject({ origin: z.string().max(200) });

export const Published = z.strictObject({ index: z.int().nonnegative() });

export const ModelTelemetry = z.strictObject({
  id: z.string().max(128),
  /** Requests it can run at once. */
  slots: z.int().nonnegative(),
  inFlight: z.int().nonnegative(),
  waiting: z.int().nonnegative(),
  /** Moving average of the time to the first token here, quantised; null until measured. */
  firstTokenMs: z.int().nonnegative().nullable(),
  /** Moving average of the time a slot is taken, quantised; null until measured. */
  serviceMs: z.int().nonnegative().nullable().optional(),
  /** Slots that only emergencies may take, besides `slots`. */
  emergencySlots: z.int().nonnegative().optional(),
  /** Tokens that the back end holds at once (its KV cache), and how many it holds now, quantised upwards; absent where nobody knows. */
  tokensMax: z.int().positive().nullable().optional(),
  tokensInUse: z.int().nonnegative().optional(),
  /** Announced price of a thousand tokens, in millionths of the federation's currency unit. */
  tokenPriceMicros: z.int().nonnegative().nullable().optional(),
});
/** What a site tells of itself; quantised, and nothing about patients. */
export const Telemetry = z.strictObject({
  atMs: z.int(),
  source: z.enum(['measured', 'inferred']),
  draining: z.boolean(),
  models: z.array(ModelTelemetry).max(64),
  /** Does the site hold records that statistics can count? */
  records: z.boolean(),
  /** Remaining share of the site-lifetime privacy budget in tenths, rounded down; a hint for planning. */
  budgetTenths: z.int().min(0).max(10).nullable(),
  /** The same in millionths of epsilon, rounded down to tenths of the whole. */
  microEpsilonLeft: z.int().nonnegative().nullable().optional(),
});
export type Telemetry = z.infer<typeof Telemetry>;

/** What every site may know of the others: enough to choose candidates. */
export const Board = z.strictObject({
  directorySize: z.int().nonnegative(),
  approved: z.boolean(),
  sites: z
    .array(
      z.strictObject({
        site: SiteId,
        online: z.boolean(),
        models: z.array(z.string().max(128)).max(64),
        records: z.boolean(),
      }),
    )
    .max(1_000),
});
export type Board = z.infer<typeof Board>;

export const SignedTime = z.strictObject({
  nonce: z.string().regex(/^[0-9a-f]{32}$/),
  timeMs: z.int(),
  signature: z.base64(),
});
export const TIME_LABEL = 'qfl signed time';
/** Bytes under the coordinator's signed time. */
export const timeMessage = (nonce: string, timeMs: number): Uint8Array =>
  framed(utf8(nonce), utf8(String(timeMs)));

/** The plan that every answer carries: where it went, at what cost, and how far from the best possible at most. */
export const PlanSummary = z.strictObject({
  site: SiteId,
  solver: z.string().max(40),
  /** Cost of the placement in the planner's unit (predicted milliseconds), and the proven lower bound on it. */
  costMs: z.int(),
  boundMs: z.int(),
  candidates: z.int().positive(),
  /** Sites that refused before this one. */
  refusals: z.array(z.strictObject({ site: SiteId, code: z.string().max(40) })).max(64),
  planMicros: z.int().nonnegative(),
});
export type PlanSummary = z.infer<typeof PlanSummary>;

/** Header of each piece the coordinator relays to the asker. */
export const RelayedPart = z.strictObject({
  site: SiteId,
  plan: PlanSummary.optional(),
  /** Last piece of this site; its receipt as the site signed it. */
  receipt: z.unknown().optional(),
  /** Instead of a payload: this site gave no answer. */
  refused: z
    .strictObject({
      code: z.string().max(40),
      detail: z.string().max(1_000).optional(),
      facts: z.record(z.string(), z.unknown()).optional(),
    })
    .optional(),
});
export type RelayedPart = z.infer<typeof RelayedPart>;

/** Header of each piece a site serves. */
export const ServedPart = z.strictObject({ receipt: z.unknown().optional() });
export type ServedPart = z.infer<typeof ServedPart>;

export const LogPart = z.strictObject({
  /** First piece: signed checkpoint and verifier key of the log. */
  checkpoint: z.string().max(8_192).optional(),
  verifierKey: z.string().max(400).optional(),
  /** First piece, of a log that was pruned: the first entry that is there, and the roots of the complete subtrees before it, base64, largest first. */
  minimumIndex: z.int().nonnegative().optional(),
  frontier: z.array(z.base64()).max(64).optional(),
});
export type LogPart = z.infer<typeof LogPart>;
