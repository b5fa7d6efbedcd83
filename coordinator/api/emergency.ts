/** Lockdown, decisions of two people, and what was sent out about them. */
import { z } from 'zod';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { sendEtag } from '../../shared/http/conditional.ts';
import {
  LockdownRequest,
  LockdownShown,
  NoticePage,
  ProposalPage,
  ProposalRequest,
  ProposalShown,
} from '../../shared/wire/emergency.ts';
import type { Lockdown } from '../emergency/lockdown.ts';
import type { Notices } from '../emergency/notices.ts';
import type { Proposals } from '../emergency/proposals.ts';

export interface EmergencyRouteOptions {
  readonly lockdown: Lockdown;
  readonly proposals: Proposals;
  readonly notices: Notices;
}

const Params = z.strictObject({ id: z.string().max(40) });

const lockdownRoutes = ({ fastify }: HttpApp, { lockdown, proposals }: EmergencyRouteOptions): void => {
  const show = (): LockdownShown => ({
    ...lockdown.state,
    releaseProposal: proposals.openOf('lockdown.release')?.id ?? null,
  });
  fastify.get(
    '/v1/lockdown',
    {
      config: { access: 'lockdown.read' },
      schema: { summary: 'Is everything stopped?', response: { 200: LockdownShown } },
    },
    show,
  );
  fastify.post(
    '/v1/lockdown',
    {
      config: { access: 'lockdown.start' },
      schema: {
        summary: 'Stop everything at once: queries, tasks, sessions and tokens. Ending it takes two people',
        body: LockdownRequest,
        response: { 200: LockdownShown },
      },
    },
    async (request) => {
      await lockdown.start(request.body.reason, principalOf(request));
      return show();
    },
  );
};

const proposalRoutes = ({ fastify }: HttpApp, { proposals }: EmergencyRouteOptions): void => {
  const reads = { access: 'proposals.read' } as const;
  const decides = { access: 'proposals.decide' } as const;
  fastify.get(
    '/v1/proposals',
    {
      config: reads,
      schema: {
        summary: 'Decisions that need two people',
        querystring: z.strictObject({
          status: ProposalShown.shape.status.optional(),
          limit: z.coerce.number().int().min(1).max(500).default(50),
        }),
        response: { 200: ProposalPage },
      },
    },
    (request) => {
      const { status, limit } = request.query;
      return {
        proposals: proposals
          .list()
          .filter((one) => status === undefined || one.status === status)
          .slice(0, limit),
      };
    },
  );
  fastify.post(
    '/v1/proposals',
    {
      config: decides,
      schema: {
        summary: 'Propose one; another administrator decides',
        body: ProposalRequest,
        response: { 201: ProposalShown },
      },
    },
    async (request, reply) => {
      const { kind, payload } = request.body;
      const made = await proposals.propose(kind, payload, principalOf(request));
      sendEtag(reply, made.version);
      return reply.code(201).send(made);
    },
  );
  fastify.get(
    '/v1/proposals/:id',
    { config: reads, schema: { summary: 'Show one', params: Params, response: { 200: ProposalShown } } },
    (request, reply) => {
      const found = proposals.get(request.params.id);
      sendEtag(reply, found.version);
      return found;
    },
  );
  fastify.post(
    '/v1/proposals/:id/approve',
    {
      config: decides,
      schema: {
        summary: 'Approve it, as another person than the one who proposed it; it is done at once',
        params: Params,
        response: { 200: ProposalShown },
      },
    },
    (request) => proposals.approve(request.params.id, principalOf(request)),
  );
  fastify.post(
    '/v1/proposals/:id/refuse',
    { config: decides, schema: { summary: 'Refuse it', params: Params, response: { 200: ProposalShown } } },
    (request) => proposals.refuse(request.params.id, principalOf(request)),
  );
};

const noticeRoutes = ({ fastify }: HttpApp, { notices }: EmergencyRouteOptions): void => {
  fastify.get(
    '/v1/notices',
    {
      config: { access: 'settings.read' },
      schema: {
        summary: 'What was sent out, and whether it was taken',
        querystring: z.strictObject({ limit: z.coerce.number().int().min(1).max(500).default(50) }),
        response: { 200: NoticePage },
      },
    },
    (request) => ({ notices: notices.list().slice(0, request.query.limit) }),
  );
};

export const registerEmergencyRoutes = (app: HttpApp, options: EmergencyRouteOptions): void => {
  lockdownRoutes(app, options);
  proposalRoutes(app, options);
  noticeRoutes(app, options);
};
