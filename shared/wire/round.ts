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

const Code = z.string().regex(/^[\w.-]{1,40}$/);
/** What a model looks at of each patient. */
export const Feature = z.discriminatedUnion('kind', [
  /** Age in years at the end of the records, divided by `scale`. */
  z.strictObject({ kind: z.literal('age'), scale: z.number().positive().default(100) }),
  z.strictObject({ kind: z.literal('sex'), is: z.enum(['female', 'male']) }),
  /** Has the patient this condition? */
  z.strictObject({ kind: z.literal('condition'), code: Code }),
]);
export type Feature = z.infer<typeof Feature>;

export const LogisticSettings = z.strictObject({
  /** The condition that is told from the features. */
  target: Code,
  features: z.array(Feature).min(1).max(256),
});
export type LogisticSettings = z.infer<typeof LogisticSettings>;

/** A training: some rounds, one after another, each a step. */
export const TrainingRequest = z.strictObject({
  trainer: z.literal('logistic').default('logistic'),
  settings: LogisticSettings,
  rounds: z.int().min(1).max(1_000).default(10),
  learningRate: z.number().positive().max(100).default(1),
  /** Length that a patient's gradient is clipped to. */
  clip: z.number().positive().max(1_000).default(1),
  /** Privacy of the whole training for each patient, in (0, 100] with this delta. */
  epsilon: z.number().positive().max(100),
  delta: z.number().gt(0).lt(1).default(1e-6),
  /** All that are there when left out. */
  sites: z.array(SiteId).min(3).max(1_000).optional(),
  minCohort: z.int().min(2).max(1_000).optional(),
  /** False: the coordinator sees single vectors; each hospital has to allow that. */
  masked: z.boolean().default(true),
  rule: z.enum(['sum', ...ROBUST_RULES]).default('sum'),
  department: DepartmentId.default(DepartmentId.parse('research')),
  /** A step of a round ends when nothing came for so long. */
  silenceMs: z.int().min(1_000).max(86_400_000).default(60_000),
});
export type TrainingRequest = z.infer<typeof TrainingRequest>;

export const TrainingStep = z.strictObject({
  round: RoundId,
  /** Patients in the sum, with noise. */
  patients: z.number(),
  /** Mean loss and share of right predictions before the step, with noise. */
  loss: z.number(),
  accuracy: z.number(),
  survivors: z.int(),
});
export type TrainingStep = z.infer<typeof TrainingStep>;
export const TrainingResult = z.strictObject({
  weights: z.array(z.number()),
  steps: z.array(TrainingStep),
  epsilon: z.number(),
  delta: z.number(),
  unit: z.enum(['patient', 'site']),
});
export type TrainingResult = z.infer<typeof TrainingResult>;

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
