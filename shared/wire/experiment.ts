/** Experiments: each training with its figures step by step, while it goes on and afterwards. */
import { z } from 'zod';
import { RoundId, TaskId } from '../ids.ts';
import { ModelMetric, ModelName, ModelVersion } from './model.ts';
import { LIST_LIMIT_MAX, TaskState } from './task.ts';

const ModelRef = z.strictObject({ name: ModelName, version: ModelVersion });

export const ExperimentListed = z.strictObject({
  /** That of the training's task. */
  id: TaskId,
  state: TaskState,
  createdMs: z.int(),
  startedMs: z.int().nullable(),
  endedMs: z.int().nullable(),
  /** What it left in the registry. */
  model: ModelRef.nullable(),
});
export type ExperimentListed = z.infer<typeof ExperimentListed>;

export const ExperimentShown = z.strictObject({
  ...ExperimentListed.shape,
  /** Figures of each step; null where they are known no more. */
  steps: z.array(ModelMetric).nullable(),
  /** The round of each step. */
  rounds: z.array(RoundId),
  /** The same figures, one curve a name. */
  curves: z.array(
    z.strictObject({
      name: z.string(),
      points: z.array(z.strictObject({ step: z.int(), value: z.number() })),
    }),
  ),
});
export type ExperimentShown = z.infer<typeof ExperimentShown>;

/** Newest first. */
export const ExperimentPage = z.strictObject({
  experiments: z.array(ExperimentListed),
  next: TaskId.nullable(),
});
export type ExperimentPage = z.infer<typeof ExperimentPage>;
export const ExperimentListQuery = z.strictObject({
  state: TaskState.optional(),
  after: TaskId.optional(),
  limit: z.coerce.number().int().min(1).max(LIST_LIMIT_MAX).default(50),
});
export type ExperimentListQuery = z.infer<typeof ExperimentListQuery>;
