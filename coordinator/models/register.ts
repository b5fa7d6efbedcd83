/** From a training that is done to a version in the registry: its weights as a file, and where they came from. */
import { toQflError } from '../../shared/errors.ts';
import type { RoundId, SiteId, TaskId } from '../../shared/ids.ts';
import type { TensorPart } from '../../shared/learning/model.ts';
import { learningDataHash } from '../../shared/models/record.ts';
import { writeFlat } from '../../shared/tensor/safetensors.ts';
import type { LearningData, ModelSpec, Scaling } from '../../shared/wire/learning.ts';
import {
  type LineageRound,
  type ModelMetric,
  ModelName,
  type ModelRecord,
  type ModelShown,
} from '../../shared/wire/model.ts';
import type { RoundShown } from '../../shared/wire/round.ts';
import type { ModelRegistry } from './registry.ts';

/** One step: its round, and whatever figures the training measured. */
export type FinishedStep = { readonly round: RoundId } & Readonly<Record<string, unknown>>;

export interface FinishedTraining {
  readonly task: TaskId;
  /** As the request says; made of the target where it says none. */
  readonly name?: ModelName | undefined;
  readonly model: ModelSpec;
  readonly data: LearningData | null;
  readonly scaling: Scaling | null;
  readonly tensors: readonly TensorPart[];
  readonly weights: Float64Array;
  readonly sites: readonly SiteId[];
  readonly steps: readonly FinishedStep[];
  /** Rounds before the first step: of means and spreads. */
  readonly before?: readonly RoundId[];
  readonly privacy: ModelRecord['lineage']['privacy'];
}

/** Such as `logistic-44054006`: what kind of model tells what. */
export const modelNameFor = (model: ModelSpec, data: LearningData | null): ModelName => {
  const kind = model.kind === 'external' ? model.trainer : model.kind;
  const target = data === null ? '' : typeof data.target === 'string' ? data.target : data.target.code;
  const name = `${kind}${target === '' ? '' : '-'}${target}`.toLowerCase().replaceAll(/[^a-z0-9._-]/g, '-');
  return ModelName.parse(name.replace(/^[^a-z0-9]+/, '').slice(0, 64) || 'model');
};

/** Where rounds are looked up: `Rounds` has it. */
export interface RoundFacts {
  show(id: RoundId): Promise<Pick<RoundShown, 'planHash' | 'sumHash' | 'survivors' | 'sites'>>;
}

/** Ended rounds are forgotten in the end; of a very long training the first ones may be. */
const roundOf = async (rounds: RoundFacts, { round, survivors }: FinishedStep): Promise<LineageRound> => {
  const shown = await rounds.show(round).catch((error: unknown) => {
    if (toQflError(error).code === 'not_found') return undefined;
    throw error;
  });
  if (shown === undefined)
    return {
      round,
      planHash: null,
      sumHash: null,
      survivors: typeof survivors === 'number' ? survivors : 0,
      lost: null,
    };
  const there = new Set(shown.survivors);
  return {
    round,
    planHash: shown.planHash,
    sumHash: shown.sumHash,
    survivors: there.size,
    lost: shown.sites.filter((site) => !there.has(site)),
  };
};

/** The figures of a step; what is no number names something and is kept elsewhere. */
export const metricOf = (step: FinishedStep, at: number): ModelMetric => ({
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
  rounds: RoundFacts,
  finished: FinishedTraining,
): Promise<ModelShown> => {
  const { task, model, data, scaling, tensors, weights, sites, steps, before = [], privacy } = finished;
  const lineageRounds: LineageRound[] = [];
  for (const step of [...before.map((round) => ({ round })), ...steps])
    lineageRounds.push(await roundOf(rounds, step));
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
