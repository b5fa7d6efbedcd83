/** Trainings and their figures, from where each keeps them: one that goes on on its shelf, one that is done in its task's result, one whose task is forgotten in the registry. */
import { z } from 'zod';
import { QflError, toQflError } from '../../shared/errors.ts';
import { OPERATOR_ROLE } from '../../shared/http/roles.ts';
import { RoundId, type TaskId } from '../../shared/ids.ts';
import type {
  ExperimentListed,
  ExperimentListQuery,
  ExperimentPage,
  ExperimentShown,
} from '../../shared/wire/experiment.ts';
import type { ModelMetric, ModelRecord } from '../../shared/wire/model.ts';
import type { TaskShown } from '../../shared/wire/task.ts';
import type { TrainingShelf } from '../rounds/training-shelf.ts';
import type { Tasks } from '../tasks/tasks.ts';
import { metricOf } from './register.ts';
import type { ModelRegistry } from './registry.ts';

export interface Experiments {
  list(query: ExperimentListQuery): ExperimentPage;
  /** @throws QflError `not_found` */
  show(id: TaskId): Promise<ExperimentShown>;
}

export interface ExperimentOptions {
  readonly tasks: Pick<Tasks, 'get' | 'list' | 'result'>;
  /** Where trainings that go on keep their steps. */
  readonly shelf: Pick<TrainingShelf, 'figures'>;
  readonly registry: Pick<ModelRegistry, 'ofTraining' | 'show'>;
}

/** Rounds are shown to everybody who is signed in, and so are the trainings that they are of: neither says what it learns from. */
const EVERYBODY = { role: OPERATOR_ROLE, owner: OPERATOR_ROLE };

/** Whatever else a training keeps or tells: its steps have a round and figures. */
const Steps = z.looseObject({ steps: z.array(z.looseObject({ round: RoundId })) });

interface Course {
  readonly steps: readonly ModelMetric[];
  readonly rounds: readonly RoundId[];
}

const courseOf = ({ steps }: z.infer<typeof Steps>): Course => ({
  steps: steps.map(metricOf),
  rounds: steps.map(({ round }) => round),
});
const courseOfRecord = ({ metrics, lineage }: ModelRecord): Course => ({
  steps: metrics,
  rounds: lineage.rounds.map(({ round }) => round),
});

const curvesOf = (steps: readonly ModelMetric[]): ExperimentShown['curves'] => {
  const curves = new Map<string, { step: number; value: number }[]>();
  for (const { step, values } of steps)
    for (const [name, value] of Object.entries(values)) {
      const points = curves.get(name) ?? [];
      points.push({ step, value });
      curves.set(name, points);
    }
  return [...curves].map(([name, points]) => ({ name, points }));
};

export const createExperiments = ({ tasks, shelf, registry }: ExperimentOptions): Experiments => {
  const listed = ({ id, state, createdMs, startedMs, endedMs }: TaskShown): ExperimentListed => ({
    id,
    state,
    createdMs,
    startedMs,
    endedMs,
    model: registry.ofTraining(id) ?? null,
  });
  const taskOf = (id: TaskId): TaskShown | undefined => {
    try {
      const task = tasks.get(id, EVERYBODY);
      return task.kind === 'train' ? task : undefined;
    } catch (error) {
      if (toQflError(error).code === 'not_found') return undefined;
      throw error;
    }
  };
  const recordOf = async (id: TaskId): Promise<ModelRecord | undefined> => {
    const found = registry.ofTraining(id);
    return found === undefined ? undefined : (await registry.show(found.name, found.version)).record;
  };
  /** Of one that was cancelled nothing is left. */
  const courseOfTask = async ({ id, state }: TaskShown): Promise<Course | undefined> => {
    if (state === 'done') {
      const result = await tasks.result(id, EVERYBODY);
      return result.form === 'json' ? courseOf(Steps.parse(JSON.parse(result.text))) : undefined;
    }
    const kept = await shelf.figures(id);
    if (kept !== undefined) return courseOf(kept);
    return state === 'waiting' || state === 'queued' || state === 'running'
      ? { steps: [], rounds: [] }
      : undefined;
  };
  return {
    list({ state, after, limit }) {
      const page = tasks.list(
        {
          kind: 'train',
          limit,
          ...(state === undefined ? {} : { state }),
          ...(after === undefined ? {} : { after }),
        },
        EVERYBODY,
      );
      return { experiments: page.tasks.map(listed), next: page.next };
    },
    async show(id) {
      const [task, record] = [taskOf(id), await recordOf(id)];
      if (task === undefined && record === undefined)
        throw new QflError('not_found', {
          detail: `there is no training ${id}`,
          next: 'See what there is: GET /v1/experiments',
        });
      const course =
        record === undefined
          ? task === undefined
            ? undefined
            : await courseOfTask(task)
          : courseOfRecord(record);
      const head: ExperimentListed =
        task === undefined
          ? {
              id,
              state: 'done',
              createdMs: record?.createdMs ?? 0,
              startedMs: null,
              endedMs: record?.createdMs ?? null,
              model: registry.ofTraining(id) ?? null,
            }
          : listed(task);
      return {
        ...head,
        steps: course === undefined ? null : [...course.steps],
        rounds: [...(course?.rounds ?? [])],
        curves: curvesOf(course?.steps ?? []),
      };
    },
  };
};
