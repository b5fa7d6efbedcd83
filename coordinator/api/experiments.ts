/** `/v1/experiments`: how the figures of each training went, step by step. */
import { z } from 'zod';
import type { HttpApp } from '../../shared/http/app.ts';
import { TaskId } from '../../shared/ids.ts';
import { ExperimentListQuery, ExperimentPage, ExperimentShown } from '../../shared/wire/experiment.ts';
import type { Experiments } from '../models/experiments.ts';

export const registerExperimentRoutes = ({ fastify }: HttpApp, experiments: Experiments): void => {
  const reads = { access: 'rounds.read' } as const;
  fastify.get(
    '/v1/experiments',
    {
      config: reads,
      schema: {
        summary: 'Trainings, newest first, with the model that each left',
        querystring: ExperimentListQuery,
        response: { 200: ExperimentPage },
      },
    },
    (request) => experiments.list(request.query),
  );
  fastify.get(
    '/v1/experiments/:id',
    {
      config: reads,
      schema: {
        summary: 'A training with a curve for each of its figures, also while it goes on',
        params: z.strictObject({ id: TaskId }),
        response: { 200: ExperimentShown },
      },
    },
    (request) => experiments.show(request.params.id),
  );
};
