/** From a training that is done to a version in the registry: its weights as a file, and where they came from. */
import type { RoundId, SiteId, TaskId } from '../../shared/ids.ts';
import type { TensorPart } from '../../shared/learning/model.ts';
import { learningDataHash } from '../../shared/models/record.ts';
import { writeFlat } from '../../shared/tensor/safetensors.ts';
import type { LearningData, Scaling } from '../../shared/wire/learning.ts';
import {
  type LineageRound,
  type ModelMetric,
  ModelName,
  type ModelRecord,
  type ModelShown,
  type RegisteredSpec,
} from '../../shared/wire/model.ts';
import type { Rounds } from '../rounds/rounds.ts';
import type { ModelRegistry } from './registry.ts';

/** One step: its round, and whatever figures the training measured. */
export type FinishedStep = { readonly round: RoundId } & Readonly<Record<string, unknown>>;

export interface FinishedTraining {
  readonly task: TaskId;
  /** As the request says; made of the target where it says none. */
  readonly name?: ModelName | undefined;
  readonly model: RegisteredSpec;
  readonly data: LearningData | null;
  readonly scaling: Scaling | null;
  readonly tensors: readonly TensorPart[];
  readonly weights: Float64Array;
  readonly sites: readonly SiteId[];
  readonly steps: readonly FinishedStep[];
  readonly privacy: ModelRecord['lineage']['privacy'];
}

/** Such as `logistic-44054006`: what kind of model tells what. */
export const modelNameFor = (model: RegisteredSpec, data: LearningData | null): ModelName => {
  const kind = model.kind === 'external' ? model.trainer : model.kind;
  const target = data === null ? '' : typeof data.target === 'string' ? data.target : data.target.code;
  const name = `${kind}${target === '' ? '' : '-'}${target}`.toLowerCase().replaceAll(/[^a-z0-9._-]/g, '-');
  return ModelName.parse(name.replace(/^[^a-z0-9]+/, '').slice(0, 64) || 'model');
};

const roundOf = async (rounds: Pick<Rounds, 'show'>, id: RoundId): Promise<LineageRound> => {
  const { planHash, sumHash, survivors, sites } = await rounds.show(id);
  const there = new Set(survivors);
  return {
    round: id,
    planHash,
    sumHash,
    survivors: survivors.length,
    lost: sites.filter((site) => !there.has(site)),
  };
};

/** The figures of a step; what is no number names something and is kept elsewhere. */
const metricOf = (step: FinishedStep, at: number): ModelMetric => ({
  step: at + 1,
  values: Object.fromEntries(
    Object.entries(step).flatMap(([name, value]) =>
      typeof value === 'number' && Number.isFinite(value) ? [[name, value]] : [],
    ),
  ),
});

/**
 * Registers the model of a finished training; of one training there is one version, however often this is called.
 * @throws QflError `too_large`, `overloaded`, `storage_failed`
 */
export const registerTraining = async (
  registry: Pick<ModelRegistry, 'register'>,
  rounds: Pick<Rounds, 'show'>,
  finished: FinishedTraining,
): Promise<ModelShown> => {
  const { task, model, data, scaling, tensors, weights, sites, steps, privacy } = finished;
  const lineageRounds: LineageRound[] = [];
  for (const { round } of steps) lineageRounds.push(await roundOf(rounds, round));
  return registry.register({
    name: finished.name ?? modelNameFor(model, data),
    lineage: {
      training: task,
      rounds: lineageRounds,
      sites: [...sites],
      model,
      data,
      dataHash: data === null ? null : learningDataHash(data),
      scaling,
      privacy,
    },
    metrics: steps.map(metricOf),
    file: writeFlat(tensors, weights),
  });
};
