/** `/v1/rounds`: begin a training, see its sealed rounds, follow one, end one. */
import { z } from 'zod';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { openSse } from '../../shared/http/sse.ts';
import { RoundId } from '../../shared/ids.ts';
import { RoundPage, RoundShown } from '../../shared/wire/round.ts';
import { TrainingRequest } from '../../shared/wire/training.ts';
import { TaskRequest, TaskShown } from '../../shared/wire/task.ts';
import type { Rounds } from '../rounds/rounds.ts';
import type { Tasks } from '../tasks/tasks.ts';
import { callerOf } from './caller.ts';

export interface RoundRouteOptions {
  readonly rounds: Rounds;
  readonly tasks: Tasks;
}

const Params = z.strictObject({ id: RoundId });
const WATCHERS_MAX = 256;
/** For each round of a training: its sites have to be there, learn and send. */
const TIMEOUT_MS = 86_400_000;

export const registerRoundRoutes = (
  { fastify, streams }: HttpApp,
  { rounds, tasks }: RoundRouteOptions,
): void => {
  let watchers = 0;
  fastify.post(
    '/v1/rounds',
    {
      config: { access: 'rounds.change' },
      schema: {
        summary: 'Begin a training in sealed rounds, as a task',
        body: TrainingRequest,
        response: { 201: TaskShown },
      },
    },
    async (request, reply) => {
      const body = TaskRequest.parse({
        spec: { kind: 'train', training: request.body },
        attemptsMax: 1,
        timeoutMs: TIMEOUT_MS,
      });
      const made = await tasks.create({ tasks: [body] }, callerOf(request), undefined);
      return reply.code(201).send(made.tasks[0]!);
    },
  );
  fastify.get(
    '/v1/rounds',
    {
      config: { access: 'rounds.read' },
      schema: { summary: 'Sealed rounds, newest first', response: { 200: RoundPage } },
    },
    async () => ({ rounds: [...(await rounds.list())] }),
  );
  fastify.get(
    '/v1/rounds/:id',
    {
      config: { access: 'rounds.read' },
      schema: { summary: 'A sealed round', params: Params, response: { 200: RoundShown } },
    },
    (request) => rounds.show(request.params.id),
  );
  fastify.post(
    '/v1/rounds/:id/cancel',
    {
      config: { access: 'rounds.change' },
      schema: { summary: 'End a sealed round without a sum', params: Params, response: { 200: RoundShown } },
    },
    async (request) => {
      const { id } = request.params;
      const { task } = await rounds.show(id);
      // Whose training it is decides who may end it.
      if (task !== null) await tasks.cancel(task, callerOf(request));
      await rounds.cancel(id, 'somebody cancelled it').catch((error: unknown) => {
        if (task === null || toQflError(error).code !== 'conflict') throw error;
      });
      return rounds.show(id);
    },
  );
  fastify.get(
    '/v1/rounds/:id/watch',
    {
      config: { access: 'rounds.read' },
      schema: { summary: 'Follow a sealed round as server-sent events', params: Params },
    },
    async (request, reply) => {
      const { id } = request.params;
      await rounds.show(id);
      if (watchers >= WATCHERS_MAX)
        throw new QflError('overloaded', {
          detail: `${watchers} watchers are connected already`,
          next: 'Ask for the round now and then instead: GET /v1/rounds/ID.',
        });
      watchers += 1;
      const stream = openSse(reply, streams);
      try {
        for await (const shown of rounds.watch(id, stream.signal))
          await stream.send(JSON.stringify(shown), 'round');
      } finally {
        watchers -= 1;
        stream.end();
      }
      return reply;
    },
  );
};
