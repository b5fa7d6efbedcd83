/** Trained models: what a version says of itself, how it is signed, and the registry on the coordinator's HTTP face. */
import { z } from 'zod';
import { RoundId, SiteId, TaskId } from '../ids.ts';
import { LearningData, ModelSpec, Scaling } from './learning.ts';

export const ModelName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'a model name is 1–64 characters of a–z, 0–9 and "._-"')
  .brand<'ModelName'>();
export type ModelName = z.infer<typeof ModelName>;

export const VERSION_MAX = 9_999_999;
export const ModelVersion = z.int().min(1).max(VERSION_MAX);
/** A version by its number, or by where it stands. */
export const VersionRef = z.union([
  z.enum(['latest', 'production', 'staging']),
  z
    .string()
    .regex(/^[1-9]\d{0,6}$/, 'a version is its number, or latest, production or staging')
    .transform(Number),
]);
export type VersionRef = z.infer<typeof VersionRef>;

export const ModelStage = z.enum(['none', 'staging', 'production', 'archived']);
export type ModelStage = z.infer<typeof ModelStage>;

const Hash = z.string().regex(/^[0-9a-f]{64}$/);

/** A sealed round that the weights came of. */
export const LineageRound = z.strictObject({
  round: RoundId,
  /** Of the plan's bytes, as the sites signed for it; null where it is not known any more. */
  planHash: Hash.nullable(),
  sumHash: Hash.nullable(),
  /** Sites whose vectors are in the sum, and those that were lost on the way; null where that is not known any more. */
  survivors: z.int().nonnegative(),
  lost: z.array(SiteId).nullable(),
});
export type LineageRound = z.infer<typeof LineageRound>;

export const ModelLineage = z.strictObject({
  training: TaskId.nullable(),
  rounds: z.array(LineageRound).max(1_000),
  sites: z.array(SiteId).max(1_000),
  model: ModelSpec,
  /** What it learned from; null for a trainer of a hospital's own that says nothing of it. */
  data: LearningData.nullable(),
  /** BLAKE2b-256 of `data` in canonical JSON. */
  dataHash: Hash.nullable(),
  scaling: Scaling.nullable(),
  privacy: z.strictObject({
    unit: z.enum(['patient', 'site']),
    epsilon: z.number().positive(),
    delta: z.number().nonnegative(),
  }),
});
export type ModelLineage = z.infer<typeof ModelLineage>;

/** Figures of one step, by name: `loss`, `accuracy`, `patients`, whatever the training measured. */
export const ModelMetric = z.strictObject({
  step: z.int().nonnegative(),
  values: z.record(z.string().regex(/^[A-Za-z0-9_./ -]{1,64}$/), z.number()),
});
export type ModelMetric = z.infer<typeof ModelMetric>;

/** What the coordinator signs. */
export const ModelRecord = z.strictObject({
  v: z.literal(1),
  federation: z.string().max(63),
  name: ModelName,
  version: ModelVersion,
  /** BLAKE2b-256 of the safetensors file. */
  digest: Hash,
  bytes: z.int().positive(),
  createdMs: z.int().nonnegative(),
  lineage: ModelLineage,
  metrics: z.array(ModelMetric).max(1_000),
});
export type ModelRecord = z.infer<typeof ModelRecord>;

/** Of a record as text; it travels in one message. */
export const RECORD_CHARS_MAX = 4 * 1024 * 1024;
/** The record's canonical JSON and both signatures over exactly these characters. */
export const SignedModel = z.strictObject({
  text: z.string().max(RECORD_CHARS_MAX),
  signature: z.strictObject({ ed25519: z.base64(), mldsa65: z.base64() }),
});
export type SignedModel = z.infer<typeof SignedModel>;

/** A version in a list. */
export const ModelSummary = z.strictObject({
  name: ModelName,
  version: ModelVersion,
  digest: Hash,
  bytes: z.int(),
  createdMs: z.int(),
  stage: ModelStage,
  /** When it came to this stage. */
  stageMs: z.int(),
  kind: z.string(),
  training: TaskId.nullable(),
  sites: z.int(),
  rounds: z.int(),
  privacy: ModelLineage.shape.privacy,
  /** Figures of the last step. */
  metrics: ModelMetric.shape.values,
});
export type ModelSummary = z.infer<typeof ModelSummary>;

export const ModelShown = z.strictObject({
  record: ModelRecord,
  stage: ModelStage,
  stageMs: z.int(),
  signature: SignedModel.shape.signature,
});
export type ModelShown = z.infer<typeof ModelShown>;

/** A model with how many versions there are, and which are in use. */
export const ModelListed = z.strictObject({
  name: ModelName,
  versions: z.int(),
  latest: ModelVersion,
  production: ModelVersion.nullable(),
  staging: ModelVersion.nullable(),
  updatedMs: z.int(),
});
export type ModelListed = z.infer<typeof ModelListed>;

export const MODEL_PAGE_MAX = 200;
const limit = z.coerce.number().int().min(1).max(MODEL_PAGE_MAX).default(50);
/** By name, after the last one of the page before. */
export const ModelListQuery = z.strictObject({ after: ModelName.optional(), limit });
export const ModelPage = z.strictObject({ models: z.array(ModelListed), next: ModelName.nullable() });
/** Newest first, older than the last one of the page before. */
export const VersionListQuery = z.strictObject({
  before: z.coerce.number().pipe(ModelVersion).optional(),
  stage: ModelStage.optional(),
  limit,
});
export const VersionPage = z.strictObject({
  versions: z.array(ModelSummary),
  next: ModelVersion.nullable(),
});
export const StageRequest = z.strictObject({ stage: ModelStage });

/** A site asks for a version's record; the answer's payload is a `SignedModel` as JSON. */
export const ModelRecordRequest = z.strictObject({
  name: ModelName,
  version: z.union([ModelVersion, z.enum(['latest', 'production', 'staging'])]),
});
/** A piece of its file: `MODEL_CHUNK_BYTES`, fewer in the last. */
export const ModelChunkRequest = z.strictObject({
  name: ModelName,
  version: ModelVersion,
  index: z.int().nonnegative(),
});
export const MODEL_CHUNK_BYTES = 256 * 1024;
