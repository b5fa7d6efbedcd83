/** A training as a task: it waits for its turn, can be cancelled and watched, and goes on after a restart. */
import { assert, QflError } from '../../../shared/errors.ts';
import type { Pseudonym } from '../../../shared/ids.ts';
import { runTraining, type TrainingOptions } from '../../rounds/training.ts';
import { checkTraining, withinEnergy, withSites } from '../../rounds/training-plan.ts';
import type { TaskExecutor } from '../executor.ts';

const MAY_TRAIN: ReadonlySet<string> = new Set(['admin', 'operator', 'researcher']);

export interface TrainExecutorOptions {
  readonly training: () => TrainingOptions;
  readonly pseudonymOf: (owner: string) => Pseudonym;
}

export const createTrainExecutor = ({ training, pseudonymOf }: TrainExecutorOptions): TaskExecutor => ({
  kind: 'train',
  prepare(spec, { role }) {
    if (!MAY_TRAIN.has(role))
      throw new QflError('forbidden', {
        detail: `trainings are for ${[...MAY_TRAIN].join(', ')}; this key has role ${role}`,
      });
    assert(spec.kind === 'train', 'an executor gets tasks of its kind');
    // Named now: after a restart the hospitals come back one by one.
    const request = withinEnergy(withSites(spec.training, training().sitesNow()));
    // Refuses what cannot be planned before anything waits for it.
    checkTraining(request);
    return { ...spec, training: request };
  },
  async run({ id, task, spec, signal, progress }) {
    assert(spec.kind === 'train', 'an executor gets tasks of its kind');
    const value = await runTraining(spec.training, training(), {
      task: id,
      asker: pseudonymOf(task.createdBy.owner),
      signal,
      progress: (done, total, figures) =>
        progress({
          done,
          total,
          unit: 'rounds',
          ...(figures === undefined ? {} : { figures: { ...figures } }),
        }),
    });
    return { form: 'json', value, cached: false };
  },
});
