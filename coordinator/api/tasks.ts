/** Tasks over HTTP: make, list, show, cancel, watch, fetch results, save and read back the whole state; and how well the coordinator does. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { ActorOf } from '../../shared/access/actor.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { faultOf, problemOf } from '../../shared/http/problem.ts';
import { openSse, type SseStream } from '../../shared/http/sse.ts';
import { HealthShown } from '../../shared/health/wire.ts';
import type { HealthMonitor } from '../../shared/health/monitor.ts';
import { TaskId } from '../../shared/ids.ts';
import {
  TaskImportAnswer,
  TaskListQuery,
  TaskPage,
  TaskRequest,
  TaskShown,
  TasksMade,
  TasksRequest,
  TaskStatePage,
} from '../../shared/wire/task.ts';
import { callerOf } from './caller.ts';
import type { FeedEvent } from '../tasks/feed.ts';
import type { Tasks } from '../tasks/tasks.ts';

export interface TaskRouteOptions {
  readonly tasks: Tasks;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly actorOf: ActorOf;
  readonly health: HealthMonitor;
}

const Params = z.strictObject({ id: TaskId });
/** A page of a saved state is about 256 KiB, more when its last task is large. */
const IMPORT_BODY_BYTES = 4 * 1024 * 1024;
const WATCHERS_MAX = 256;
const KEY_HEADER = 'idempotency-key';
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,128}$/;

/** @throws QflError `invalid_request` */
const idempotencyKeyOf = (request: FastifyRequest): string | undefined => {
  const key = request.headers[KEY_HEADER];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && IDEMPOTENCY_KEY.test(key)) return key;
  throw new QflError('invalid_request', {
    detail: 'an Idempotency-Key is 1–128 visible ASCII characters',
    next: 'A random UUID will do.',
  });
};

const makeRoutes = ({ fastify }: HttpApp, { tasks }: TaskRouteOptions): void => {
  fastify.post(
    '/v1/tasks',
    {
      config: { access: 'tasks.create', idempotency: 'own' },
      schema: {
        summary: 'Make tasks',
        body: z.union([TaskRequest, TasksRequest]),
        response: { 200: TasksMade, 201: TasksMade },
      },
    },
    async (request, reply) => {
      const body = 'tasks' in request.body ? request.body : { tasks: [request.body] };
      const made = await tasks.create(body, callerOf(request), idempotencyKeyOf(request));
      return reply.code(made.repeated ? 200 : 201).send({ tasks: [...made.tasks], repeated: made.repeated });
    },
  );
  fastify.post(
    '/v1/tasks/:id/cancel',
    {
      config: { access: 'tasks.create' },
      schema: { summary: 'Cancel a task', params: Params, response: { 200: TaskShown } },
    },
    (request) => tasks.cancel(request.params.id, callerOf(request)),
  );
};

const readRoutes = ({ fastify }: HttpApp, { tasks }: TaskRouteOptions): void => {
  fastify.get(
    '/v1/tasks',
    {
      config: { access: 'tasks.read' },
      schema: { summary: 'List tasks', querystring: TaskListQuery, response: { 200: TaskPage } },
    },
    (request) => {
      const page = tasks.list(request.query, callerOf(request));
      return { tasks: [...page.tasks], next: page.next };
    },
  );
  fastify.get(
    '/v1/tasks/:id',
    {
      config: { access: 'tasks.read' },
      schema: { summary: 'Show a task', params: Params, response: { 200: TaskShown } },
    },
    (request) => tasks.get(request.params.id, callerOf(request)),
  );
  fastify.get(
    '/v1/tasks/:id/result',
    { config: { access: 'tasks.read' }, schema: { summary: 'The result of a task', params: Params } },
    async (request, reply) => {
      const result = await tasks.result(request.params.id, callerOf(request));
      if (result.form === 'json')
        return reply
          .type('application/json')
          .serializer((text: string) => text)
          .send(result.text);
      return reply
        .type(result.contentType)
        .header('content-length', result.bytes)
        .header('content-disposition', `attachment; filename="qfl-task-${request.params.id}.tar"`)
        .send(result.stream);
    },
  );
};

/** An event with its id, for `Last-Event-ID`: the id line belongs to the event that follows in the same turn. */
const sendEvent = (reply: FastifyReply, stream: SseStream, { eventId, news }: FeedEvent): Promise<void> => {
  if (!reply.raw.destroyed && !reply.raw.writableEnded) reply.raw.write(`id: ${eventId}\n`);
  return stream.send(JSON.stringify(news), news.what);
};

const follow = async (
  events: AsyncIterable<FeedEvent>,
  reply: FastifyReply,
  stream: SseStream,
  requestId: string,
): Promise<void> => {
  try {
    for await (const event of events) await sendEvent(reply, stream, event);
  } catch (thrown) {
    const error = toQflError(thrown);
    if (error.code !== 'cancelled')
      await stream.send(JSON.stringify(problemOf(faultOf(error), requestId)), 'error');
  } finally {
    stream.end();
  }
};

const watchRoutes = ({ fastify, streams }: HttpApp, { tasks }: TaskRouteOptions): void => {
  let watchers = 0;
  fastify.get(
    '/v1/tasks/:id/watch',
    {
      config: { access: 'tasks.read' },
      schema: { summary: 'Follow a task as server-sent events', params: Params },
    },
    async (request, reply) => {
      const { id } = request.params;
      const caller = callerOf(request);
      tasks.get(id, caller);
      if (watchers >= WATCHERS_MAX)
        throw new QflError('overloaded', {
          detail: `${watchers} watchers are connected already`,
          next: 'Ask for the task now and then instead: GET /v1/tasks/ID.',
        });
      const lastEventId = request.headers['last-event-id'];
      watchers += 1;
      try {
        const stream = openSse(reply, streams);
        const since = typeof lastEventId === 'string' ? lastEventId : undefined;
        await follow(tasks.watch(id, caller, stream.signal, since), reply, stream, request.id);
      } finally {
        watchers -= 1;
      }
      return reply;
    },
  );
};

const PageQuery = z.strictObject({
  page: z.coerce.number().int().min(0).default(0),
  /** Tag and `next` of the page before. */
  tag: z
    .string()
    .regex(/^([0-9a-f]{64})?$/)
    .default(''),
  from: TaskId.optional(),
});

const stateRoutes = ({ fastify }: HttpApp, { tasks, audit, actorOf }: TaskRouteOptions): void => {
  fastify.get(
    '/v1/tasks/export',
    {
      config: { access: 'tasks.transfer' },
      schema: {
        summary: 'A page of the whole state, with its tag',
        querystring: PageQuery,
        response: { 200: TaskStatePage },
      },
    },
    async (request) => {
      const { page, tag, from = null } = request.query;
      await audit.record({ action: 'tasks.exported', outcome: 'ok', ...actorOf(principalOf(request)) });
      return tasks.exportPage({ page, tag, from });
    },
  );
  fastify.post(
    '/v1/tasks/import',
    {
      bodyLimit: IMPORT_BODY_BYTES,
      config: { access: 'tasks.transfer' },
      schema: {
        summary: 'Read a saved state back',
        querystring: z.strictObject({ dryRun: z.stringbool().default(false) }),
        body: TaskStatePage,
        response: { 200: TaskImportAnswer },
      },
    },
    async (request) => {
      const { dryRun } = request.query;
      if (!dryRun)
        await audit.record({ action: 'tasks.imported', outcome: 'begun', ...actorOf(principalOf(request)) });
      return tasks.importPage(request.body, dryRun);
    },
  );
};

/** `/health` says that the program lives; `/ready` that work sent here will be done; this says how well it does. */
const healthRoutes = ({ fastify }: HttpApp, { health }: TaskRouteOptions): void => {
  fastify.get(
    '/v1/health',
    {
      config: { access: 'tasks.read' },
      schema: { summary: 'How well the coordinator does, metric by metric', response: { 200: HealthShown } },
    },
    () => health.read(),
  );
  fastify.addHook('onRequest', async (request) => {
    if (request.routeOptions.url !== '/ready') return;
    const { verdict, metrics } = health.read();
    if (verdict !== 'unhealthy') return;
    const worst = metrics.filter(({ score }) => score !== null && score < 0.5).map(({ name }) => name);
    throw new QflError('not_ready', {
      detail: `the coordinator is not doing well: ${worst.join(', ')}`,
      next: 'GET /v1/health shows each figure.',
    });
  });
};

export const registerTaskRoutes = (app: HttpApp, options: TaskRouteOptions): void => {
  makeRoutes(app, options);
  stateRoutes(app, options);
  readRoutes(app, options);
  watchRoutes(app, options);
  healthRoutes(app, options);
};
