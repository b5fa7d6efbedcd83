/** Models at a site: what was fetched from the registry, and what is told with them. */
import { z } from 'zod';
import { ModelName, ModelRecordRequest, ModelSummary, ModelVersion } from './model.ts';

export const PulledModel = z.strictObject({
  ...ModelSummary.omit({ stage: true, stageMs: true }).shape,
  pulledMs: z.int(),
  /** The one that answers where no version is named: of this model, what was fetched last. */
  inUse: z.boolean(),
});
export type PulledModel = z.infer<typeof PulledModel>;
export const PulledPage = z.strictObject({ models: z.array(PulledModel) });

export const PullRequest = z.strictObject({
  name: ModelName,
  version: ModelRecordRequest.shape.version.default('production'),
});

/** Raw numbers as they were measured; null or left out: not known. */
const Value = z.union([z.number(), z.boolean(), z.null()]);
const Moments = z.strictObject({
  /** Since the first measurement, ascending. */
  hours: z.array(z.number().nonnegative()).max(1_024),
  /** For each time one value a channel. */
  values: z.array(z.array(z.number().nullable()).max(256)).max(1_024),
});
export const PredictExample = z.strictObject({
  /** By the names of the model's features, such as `age`, `sex=female`, `condition=38341003`, `observation=2339-0`. */
  features: z.record(z.string().max(120), Value).optional(),
  /** Or all of them in the model's order. */
  inputs: z.array(Value).max(1_024).optional(),
  series: Moments.optional(),
});
export type PredictExample = z.infer<typeof PredictExample>;

export const EXAMPLES_MAX = 1_024;
export const PredictRequest = z.strictObject({
  version: ModelVersion.optional(),
  /** By weights fitted to this site's own patients around the model's, where its configuration allows that (`training.local_fit`). */
  fitted: z.boolean().default(false),
  examples: z.array(PredictExample).min(1).max(EXAMPLES_MAX),
});
export type PredictRequest = z.infer<typeof PredictRequest>;

export const Prediction = z.strictObject({
  /** That the target is true, 0 … 1. */
  probability: z.number(),
  /** Does the model say the same with its weights rounded to float32? */
  coherent: z.boolean(),
});
export type Prediction = z.infer<typeof Prediction>;

export const PredictAnswer = z.strictObject({
  model: ModelName,
  version: ModelVersion,
  digest: z.string(),
  fitted: z.boolean(),
  predictions: z.array(Prediction),
  /** How many of them were known already. */
  cached: z.int(),
});
export type PredictAnswer = z.infer<typeof PredictAnswer>;

export const InferenceStatus = z.strictObject({
  predictions: z.int(),
  errors: z.int(),
  /** Of the last thousand requests, in milliseconds; null before the first. */
  p95Ms: z.number().nullable(),
  /** Share of the last thousand evaluations in which both roundings agreed; null before the first. */
  coherence: z.number().nullable(),
  coherenceState: z.enum(['unmeasured', 'good', 'low', 'alert']),
  cacheHitRatio: z.number().nullable(),
  breakers: z.array(z.strictObject({ model: z.string(), state: z.enum(['closed', 'open', 'half_open']) })),
});
export type InferenceStatus = z.infer<typeof InferenceStatus>;
