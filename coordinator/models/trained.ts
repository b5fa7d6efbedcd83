/** What a training hands over at its end, as the registry keeps it. */
import { tensorsOf } from '../../shared/learning/tensors.ts';
import type { TrainingResult } from '../../shared/wire/training.ts';
import type { TrainedModel } from '../rounds/training.ts';
import { type FinishedStep, registerTraining, type RoundFacts } from './register.ts';
import type { ModelRegistry } from './registry.ts';

/** The held-out patients come in a round of their own, after the last step. */
const stepsOf = ({ steps, evaluation }: TrainedModel['result']): FinishedStep[] => {
  if (evaluation === null) return [...steps];
  const { round, auc, accuracy, patients, noise } = evaluation;
  return [
    ...steps,
    {
      round,
      held_out_auc: auc,
      held_out_accuracy: accuracy,
      held_out_patients: patients,
      held_out_auc_noise: noise.auc,
    },
  ];
};

/** Of one training there is one version, however often it is handed over. @throws QflError as `registerTraining` */
export const registerTrained = async (
  registry: Pick<ModelRegistry, 'register'>,
  rounds: RoundFacts,
  { task, request, weights, result }: TrainedModel,
): Promise<NonNullable<TrainingResult['version']>> => {
  const { name, data, model, sites = [] } = request;
  const left = new Set(result.without);
  const { record } = await registerTraining(registry, rounds, {
    task,
    name,
    model,
    data,
    scaling: result.scaling,
    tensors: tensorsOf(model, data).tensors,
    weights,
    sites: sites.filter((site) => !left.has(site)),
    before: result.scalingRound === null ? [] : [result.scalingRound],
    steps: stepsOf(result),
    privacy: { unit: result.unit, epsilon: result.epsilon, delta: result.delta },
  });
  return { name: record.name, version: record.version, digest: record.digest };
};
