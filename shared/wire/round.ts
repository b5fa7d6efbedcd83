/** Sealed rounds on the coordinator's HTTP face. */
import { z } from 'zod';
import { DepartmentId, Pseudonym, RoundId, SiteId, TaskId } from '../ids.ts';
import { RoundPrivacy, RoundWork } from '../rounds/plan.ts';
import { ROBUST_RULES } from '../rounds/robust.ts';

export const RoundPhase = z.enum([
  'joining',
  'sharing',
  'collecting',
  'confirming',
  'revealing',
  'opening',
  'done',
  'aborted',
]);
export type RoundPhase = z.infer<typeof RoundPhase>;

const RoundLoss = z.strictObject({
  site: SiteId,
  phase: RoundPhase,
  code: z.string(),
  detail: z.string(),
  /** The site whose work it refused. */
  blames: SiteId.nullable().default(null),
});

export const RoundShown = z.strictObject({
  id: RoundId,
  /** The training that it is a part of. */
  task: TaskId.nullable(),
  work: z.string(),
  /** Of the plan's bytes, as the coordinator signed it and the sites agreed to it; null for rounds from before it was kept. */
  planHash: z.string().nullable().default(null),
  phase: RoundPhase,
  sites: z.array(SiteId),
  words: z.int().positive(),
  masked: z.boolean(),
  rule: z.enum(['sum', ...ROBUST_RULES]),
  privacy: RoundPrivacy,
  /** rho of zero-concentrated differential privacy that each site is charged; null where its mechanism has none. */
  rho: z.number().nullable(),
  tolerance: z.strictObject({
    sites: z.int(),
    threshold: z.int(),
    minCohort: z.int(),
    dropsTolerated: z.int(),
    corruptTolerated: z.int(),
    /** The same, for people. */
    text: z.string(),
  }),
  joined: z.int().nonnegative(),
  members: z.int().nonnegative(),
  /** Bytes of masked vectors that are here, and those of all members together. */
  receivedBytes: z.int().nonnegative(),
  expectedBytes: z.int().nonnegative(),
  survivors: z.array(SiteId),
  losses: z.array(RoundLoss),
  startedMs: z.int(),
  endedMs: z.int().nullable(),
  /** BLAKE2b-256 of the sum's bytes; null until it is open. */
  sumHash: z.string().nullable(),
  /** Why it was aborted. */
  why: z.string().nullable(),
});
export type RoundShown = z.infer<typeof RoundShown>;

export const RoundPage = z.strictObject({ rounds: z.array(RoundShown) });

/** An agent's statistic as a sealed round. Each site holds the price against its own; the coordinator passes it on. */
export const RoundStatsRequest = z.strictObject({
  round: RoundId,
  sites: z.array(SiteId).min(3).max(1_000),
  words: z.int().positive().max(1_000_000),
  work: RoundWork,
  privacy: RoundPrivacy,
  microEpsilon: z.int().positive(),
  asker: Pseudonym,
  department: DepartmentId,
});
export type RoundStatsRequest = z.infer<typeof RoundStatsRequest>;
/** The payload is the sum: 32-bit integers, little-endian. */
export const RoundStatsReply = z.strictObject({ survivors: z.array(SiteId) });
