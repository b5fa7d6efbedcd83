/** Experiments: the figures of a training wherever they are kept. */
import { describe, expect, test } from 'vitest';
import { createExperiments } from '../../../coordinator/models/experiments.ts';
import type { TaskCaller } from '../../../coordinator/tasks/executor.ts';
import { QflError, toQflError } from '../../../shared/errors.ts';
import { RoundId, TaskId } from '../../../shared/ids.ts';
import type { ModelShown } from '../../../shared/wire/model.ts';
import { ExperimentListQuery } from '../../../shared/wire/experiment.ts';
import { type TaskShown, TaskShown as TaskSchema } from '../../../shared/wire/task.ts';
import { DIABETES, newVersion } from './fixture.ts';

const idOf = (at: number): TaskId => TaskId.parse(String(at).padStart(32, '0'));
const roundOf = (at: number): RoundId => RoundId.parse(String(at).padStart(32, 'a'));
const stepOf = (at: number, loss: number | null) => ({
  round: roundOf(at),
  patients: 300.5,
  loss,
  accuracy: 0.5,
  survivors: 3,
});
const taskOf = (at: number, state: TaskShown['state'], kind: TaskShown['kind'] = 'train'): TaskShown =>
  TaskSchema.parse({
    id: idOf(at),
    kind,
    state,
    version: 1,
    priority: 4,
    dependsOn: [],
    resources: {},
    createdMs: at,
    queuedMs: at,
    notBeforeMs: null,
    startedMs: null,
    endedMs: null,
    deadlineMs: null,
    timeoutMs: 1,
    attempts: 1,
    attemptsMax: 1,
    delivery: 'at_least_once',
    site: null,
    reference: null,
    createdBy: 'researcher',
    failure: null,
    progress: null,
    result: null,
  });

const { name, lineage, metrics } = newVersion(4);
const shown: ModelShown = {
  record: {
    v: 1,
    federation: 'test',
    name,
    version: 2,
    digest: '0'.repeat(64),
    bytes: 1,
    createdMs: 77,
    lineage,
    metrics: [...metrics],
  },
  stage: 'none',
  stageMs: 77,
  signature: { ed25519: '', mldsa65: '' },
};
const tasks = [taskOf(1, 'running'), taskOf(2, 'done'), taskOf(3, 'cancelled'), taskOf(5, 'done', 'quantum')];
const callers: TaskCaller[] = [];
const experiments = createExperiments({
  tasks: {
    get(id, caller) {
      callers.push(caller);
      const found = tasks.find((task) => task.id === id);
      if (found === undefined) throw new QflError('not_found');
      return found;
    },
    list: ({ kind }) => ({ tasks: tasks.filter((task) => task.kind === kind), next: null }),
    result: () =>
      Promise.resolve({
        form: 'json',
        text: JSON.stringify({ steps: [stepOf(1, 0.7), stepOf(2, 0.5)], epsilon: 1 }),
      }),
  },
  shelf: {
    figures: (id) =>
      Promise.resolve(
        id === idOf(1)
          ? {
              scaling: null,
              scalingRound: null,
              steps: [stepOf(9, null)],
              evaluation: null,
              isScored: false,
              failed: 0,
              without: [],
              round: null,
              averagedSteps: 0,
            }
          : undefined,
      ),
  },
  registry: {
    ofTraining: (task) => (task === idOf(4) ? { name: DIABETES, version: 2 } : undefined),
    show: () => Promise.resolve(shown),
  },
});

describe('an experiment', () => {
  test('that goes on has the steps so far, without figures that nobody knows', async () => {
    expect(await experiments.show(idOf(1))).toMatchObject({
      state: 'running',
      rounds: [roundOf(9)],
      steps: [{ step: 1, values: { patients: 300.5, accuracy: 0.5, survivors: 3 } }],
      model: null,
    });
  });

  test('that is done has a curve for each figure', async () => {
    const { curves } = await experiments.show(idOf(2));
    expect(curves.map(({ name: figure }) => figure)).toEqual(['patients', 'loss', 'accuracy', 'survivors']);
    expect(curves[1]?.points).toEqual([
      { step: 1, value: 0.7 },
      { step: 2, value: 0.5 },
    ]);
  });

  test('that was cancelled has none; one whose task is forgotten has those of its model', async () => {
    expect(await experiments.show(idOf(3))).toMatchObject({ state: 'cancelled', steps: null, curves: [] });
    expect(await experiments.show(idOf(4))).toMatchObject({
      state: 'done',
      model: { name: 'diabetes', version: 2 },
      curves: [
        { name: 'loss', points: [{ step: 1 }] },
        { name: 'accuracy', points: [{ step: 1, value: 0.7 }] },
      ],
    });
  });

  test('is a training: other tasks and unknown ids are not found', async () => {
    for (const at of [5, 6])
      expect(await experiments.show(idOf(at)).catch((error: unknown) => toQflError(error).code)).toBe(
        'not_found',
      );
    expect(experiments.list(ExperimentListQuery.parse({})).experiments.map(({ id }) => id)).toEqual([
      idOf(1),
      idOf(2),
      idOf(3),
    ]);
  });
});
