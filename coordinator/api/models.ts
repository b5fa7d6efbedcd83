/** `/v1/registry`: what was trained, where it came from, which version is in use, and the files. */
import { z } from 'zod';
import type { ActorOf } from '../../shared/access/actor.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import {
  ModelListQuery,
  ModelName,
  ModelPage,
  ModelShown,
  ModelSummary,
  SignedModel,
  StageRequest,
  VersionListQuery,
  VersionPage,
  VersionRef,
} from '../../shared/wire/model.ts';
import type { ModelRegistry } from '../models/registry.ts';

export interface ModelRouteOptions {
  readonly registry: ModelRegistry;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly actorOf: ActorOf;
}

const NameParams = z.strictObject({ name: ModelName });
const Params = z.strictObject({ name: ModelName, version: VersionRef });
const reads = { access: 'registry.read' } as const;
const changes = { access: 'registry.change' } as const;

const listRoutes = ({ fastify }: HttpApp, { registry }: ModelRouteOptions): void => {
  fastify.get(
    '/v1/registry',
    {
      config: reads,
      schema: {
        summary: 'Trained models, by name',
        querystring: ModelListQuery,
        response: { 200: ModelPage },
      },
    },
    (request) => {
      const { after, limit } = request.query;
      const left = registry.list().filter(({ name }) => after === undefined || name > after);
      const models = left.slice(0, limit);
      return { models, next: left.length > limit ? (models.at(-1)?.name ?? null) : null };
    },
  );
  fastify.get(
    '/v1/registry/:name/versions',
    {
      config: reads,
      schema: {
        summary: 'Versions of a model, newest first',
        params: NameParams,
        querystring: VersionListQuery,
        response: { 200: VersionPage },
      },
    },
    (request) => {
      const { before, stage, limit } = request.query;
      const left = registry
        .versions(request.params.name)
        .filter(
          (one) =>
            (before === undefined || one.version < before) && (stage === undefined || one.stage === stage),
        );
      const versions = left.slice(0, limit);
      return { versions, next: left.length > limit ? (versions.at(-1)?.version ?? null) : null };
    },
  );
};

const showRoutes = ({ fastify }: HttpApp, { registry, audit, actorOf }: ModelRouteOptions): void => {
  fastify.get(
    '/v1/registry/:name/versions/:version',
    {
      config: reads,
      schema: {
        summary: 'A version with its lineage and figures; by number, or latest, production, staging',
        params: Params,
        response: { 200: ModelShown },
      },
    },
    (request) => registry.show(request.params.name, request.params.version),
  );
  fastify.get(
    '/v1/registry/:name/versions/:version/record',
    {
      config: reads,
      schema: {
        summary: 'The record of a version as it was signed, character for character',
        params: Params,
        response: { 200: SignedModel },
      },
    },
    (request) => registry.signed(request.params.name, request.params.version),
  );
  fastify.get(
    '/v1/registry/:name/versions/:version/tensors',
    { config: reads, schema: { summary: 'The weights of a version as safetensors', params: Params } },
    async (request, reply) => {
      const { name, version } = request.params;
      const summary = registry.summary(name, version);
      const file = await registry.file(summary);
      await audit.record({
        action: 'model.exported',
        outcome: 'ok',
        ...actorOf(principalOf(request)),
        objects: [
          { kind: 'model', id: `${name}/${summary.version}` },
          { kind: 'digest', id: summary.digest },
        ],
      });
      return reply
        .type('application/octet-stream')
        .header('content-length', summary.bytes)
        .header('content-disposition', `attachment; filename="${name}-${summary.version}.safetensors"`)
        .send(file);
    },
  );
};

const changeRoutes = ({ fastify }: HttpApp, { registry, actorOf }: ModelRouteOptions): void => {
  fastify.post(
    '/v1/registry/:name/versions/:version/promote',
    {
      config: changes,
      schema: {
        summary: 'Bring a version to a stage; what stood in staging or production before is archived',
        params: Params,
        body: StageRequest,
        response: { 200: ModelShown },
      },
    },
    (request) => {
      const { name, version } = request.params;
      return registry.promote(name, version, request.body.stage, actorOf(principalOf(request)));
    },
  );
  fastify.post(
    '/v1/registry/:name/rollback',
    {
      config: changes,
      schema: {
        summary: 'Bring back the version that was in production before',
        params: NameParams,
        response: { 200: ModelShown },
      },
    },
    (request) => registry.rollBack(request.params.name, actorOf(principalOf(request))),
  );
  fastify.delete(
    '/v1/registry/:name/versions/:version',
    {
      config: changes,
      schema: {
        summary: 'Delete a version that is not in production; its number is not given again',
        params: Params,
        response: { 200: ModelSummary },
      },
    },
    (request) => registry.remove(request.params.name, request.params.version, actorOf(principalOf(request))),
  );
};

export const registerModelRoutes = (app: HttpApp, options: ModelRouteOptions): void => {
  listRoutes(app, options);
  showRoutes(app, options);
  changeRoutes(app, options);
};
