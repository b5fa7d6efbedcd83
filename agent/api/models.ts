/** Models at this site: fetch, list, check and remove them, and ask them. */
import { z } from 'zod';
import type { ActorOf } from '../../shared/access/actor.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { ModelName, ModelVersion } from '../../shared/wire/model.ts';
import {
  InferenceStatus,
  PredictAnswer,
  PredictRequest,
  PulledModel,
  PulledPage,
  PullRequest,
} from '../../shared/wire/pulled-model.ts';
import type { InferenceService } from '../inference/service.ts';
import type { PulledModels } from '../models/pulled.ts';

export interface SiteModelOptions {
  readonly models: PulledModels;
  readonly inference: InferenceService;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly actorOf: ActorOf;
}

const NameParams = z.strictObject({ name: ModelName });
const Params = z.strictObject({ name: ModelName, version: z.coerce.number().pipe(ModelVersion) });
/** A thousand patients with a thousand numbers each. */
const PREDICT_BODY_BYTES = 16 * 1024 * 1024;
const PULL_TIMEOUT_MS = 3_600_000;

const keepRoutes = ({ fastify }: HttpApp, { models, actorOf }: SiteModelOptions): void => {
  const changes = { access: 'models.change' } as const;
  fastify.get(
    '/v1/admin/models',
    {
      config: { access: 'models.read' },
      schema: { summary: 'Models that were fetched here', response: { 200: PulledPage } },
    },
    () => ({ models: [...models.list()] }),
  );
  fastify.post(
    '/v1/admin/models',
    {
      config: changes,
      schema: {
        summary: 'Fetch a version from the registry; it is in use from then on',
        body: PullRequest,
        response: { 201: PulledModel },
      },
    },
    async (request, reply) => {
      const made = await models.pull(
        request.body,
        actorOf(principalOf(request)),
        AbortSignal.timeout(PULL_TIMEOUT_MS),
      );
      return reply.code(201).send(made);
    },
  );
  fastify.post(
    '/v1/admin/models/:name/:version/verify',
    {
      config: changes,
      schema: {
        summary: 'Check signature and digest of what is on the disk',
        params: Params,
        response: { 200: PulledModel },
      },
    },
    (request) => models.verify(request.params.name, request.params.version),
  );
  fastify.delete(
    '/v1/admin/models/:name/:version',
    {
      config: changes,
      schema: { summary: 'Remove a version from this site', params: Params, response: { 200: PulledModel } },
    },
    (request) => models.remove(request.params.name, request.params.version, actorOf(principalOf(request))),
  );
};

const askRoutes = ({ fastify }: HttpApp, { inference, audit, actorOf }: SiteModelOptions): void => {
  fastify.post(
    '/v1/models/:name/predict',
    {
      bodyLimit: PREDICT_BODY_BYTES,
      config: { access: 'models.predict' },
      schema: {
        summary: 'What a model says of some patients; nothing of it leaves this site',
        params: NameParams,
        body: PredictRequest,
        response: { 200: PredictAnswer },
      },
    },
    async (request) => {
      const { name } = request.params;
      const answer = await inference.predict(name, request.body);
      await audit.record({
        action: 'model.used',
        outcome: 'ok',
        ...actorOf(principalOf(request)),
        objects: [
          { kind: 'model', id: `${name}/${answer.version}` },
          { kind: 'digest', id: answer.digest },
        ],
      });
      return answer;
    },
  );
  fastify.get(
    '/v1/inference',
    {
      config: { access: 'status.read' },
      schema: {
        summary: 'How well predictions go: speed, errors, coherence',
        response: { 200: InferenceStatus },
      },
    },
    () => inference.status(),
  );
};

export const registerSiteModels = (app: HttpApp, options: SiteModelOptions): void => {
  keepRoutes(app, options);
  askRoutes(app, options);
};
