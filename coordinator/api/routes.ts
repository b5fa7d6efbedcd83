/** The coordinator's HTTP face: what anybody may read, what any key may read, and what administrators and operators may do. */
import { Readable } from 'node:stream';
import { z } from 'zod';
import { toBase64 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { COORDINATOR_NAME } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import type { Metrics } from '../../shared/http/metrics.ts';
import { SiteId } from '../../shared/ids.ts';
import { FederationInfo } from '../../shared/wire/federation-info.ts';
import { LEAVES_PER_REPLY_MAX } from '../../shared/wire/session.ts';
import type { ExportLogs } from '../audit/export.ts';
import type { ActorPseudonyms } from '../access/pseudonyms.ts';
import type { CoordinatorHome } from '../home.ts';
import { FederationPolicy, type PolicyBook } from '../policy.ts';
import { ExportRequestBody } from '../../shared/wire/audit-export.ts';
import { withProgress } from './export-stream.ts';
import type { Invitations } from '../sites/invitations.ts';
import { BUDGET_AUTHORITY, budgetHints } from '../sites/budget-hints.ts';
import type { Presence } from '../sites/presence.ts';
import type { Registry, SiteEntry } from '../sites/registry.ts';
import {
  InvitationMade,
  InvitationShown,
  PolicyInForce,
  PublicLeaves,
  SiteListQuery,
  SiteShown,
} from '../../shared/wire/admin.ts';

export interface RouteOptions {
  readonly home: CoordinatorHome;
  readonly registry: Registry;
  readonly invitations: Invitations;
  readonly presence: Presence;
  readonly policy: PolicyBook;
  readonly metrics: Metrics;
  /** False when metrics are answered on a port of their own, or not at all. */
  readonly metricsHere: boolean;
  readonly clock: Clock;
  readonly startedMs: number;
  readonly info: () => FederationInfo;
  readonly exportLogs: ExportLogs;
  readonly pseudonyms: ActorPseudonyms;
}

/** The coordinator's own name in the directory, and the names of its logs in an export. */
const RESERVED: ReadonlySet<string> = new Set([COORDINATOR_NAME, 'keys']);
const SiteParams = z.strictObject({ site: SiteId });

const showSite = (
  { site, status, fingerprint, joinedMs, approvedMs, revokedMs }: SiteEntry,
  presence: Presence,
): z.infer<typeof SiteShown> => {
  const connection = presence.of(site);
  const telemetry = presence.telemetry(site);
  return {
    site,
    status,
    fingerprint,
    joinedMs,
    approvedMs,
    revokedMs,
    online: connection !== undefined,
    connectedMs: connection?.connectedMs ?? null,
    models: telemetry?.models ?? null,
    budgetTenths: telemetry?.budgetTenths ?? null,
  };
};

const readRoutes = ({ fastify }: HttpApp, options: RouteOptions): void => {
  const { home, registry, presence, metrics, clock, startedMs, info } = options;
  const open = { config: { access: 'public', rateLimit: false } } as const;
  fastify.get(
    '/health',
    {
      ...open,
      schema: {
        summary: 'Is the process alive?',
        response: { 200: z.strictObject({ status: z.literal('ok') }) },
      },
    },
    () => ({ status: 'ok' as const }),
  );
  fastify.get(
    '/ready',
    {
      ...open,
      schema: {
        summary: 'Does it serve?',
        response: { 200: z.strictObject({ status: z.literal('ready'), sitesOnline: z.int() }) },
      },
    },
    () => ({ status: 'ready' as const, sitesOnline: presence.online().length }),
  );
  if (options.metricsHere)
    fastify.get('/metrics', { ...open, schema: { summary: 'Prometheus metrics' } }, async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.render()),
    );
  fastify.get(
    '/v1/federation',
    {
      config: { access: 'public' },
      schema: { summary: 'Who this coordinator is: keys and names', response: { 200: FederationInfo } },
    },
    () => info(),
  );
  fastify.get(
    '/v1/directory/leaves',
    {
      config: { access: 'public' },
      schema: {
        summary: 'Records of the key directory from an index on, with its signed size and root',
        querystring: z.strictObject({ from: z.coerce.number().int().nonnegative().default(0) }),
        response: { 200: PublicLeaves },
      },
    },
    async (request) => {
      const { from } = request.query;
      const { log } = home.keyLog;
      const checkpoint = await log.checkpoint();
      const leaves: string[] = [];
      for await (const { leaf } of log.entries(from, from + LEAVES_PER_REPLY_MAX))
        leaves.push(toBase64(leaf));
      return { checkpoint, next: from + leaves.length, leaves };
    },
  );
  fastify.get(
    '/status',
    { config: { access: 'status.read' }, schema: { summary: 'The state of the federation' } },
    () => ({
      program: 'coordinator',
      federation: home.name,
      uptimeMs: Math.trunc(clock.nowMs() - startedMs),
      sites: registry.list().map((entry) => ({
        site: entry.site,
        status: entry.status,
        online: presence.of(entry.site) !== undefined,
      })),
      directorySize: home.keyLog.log.size,
      auditSize: home.audit.log.size,
    }),
  );
  fastify.get(
    '/privacy/status',
    {
      config: { access: 'privacy.read' },
      schema: { summary: 'What is left of budgets, as the sites say it' },
    },
    () => ({
      authority: BUDGET_AUTHORITY,
      sites: budgetHints(registry, presence),
    }),
  );
  fastify.get(
    '/privacy/budgets',
    { config: { access: 'privacy.read' }, schema: { summary: 'What is left of budgets, site by site' } },
    () => ({ sites: budgetHints(registry, presence) }),
  );
};

const siteRoutes = ({ fastify }: HttpApp, options: RouteOptions): void => {
  const { home, registry, invitations, presence, pseudonyms } = options;
  const reads = { access: 'sites.read' } as const;
  const changes = { access: 'sites.change' } as const;
  fastify.get(
    '/v1/sites',
    {
      config: reads,
      schema: {
        summary: 'Sites, their state and models',
        querystring: SiteListQuery,
        response: { 200: z.strictObject({ sites: z.array(SiteShown) }) },
      },
    },
    (request) => {
      const { status, after, limit } = request.query;
      const found = registry
        .list()
        .filter(
          (one) =>
            (status === undefined || one.status === status) && (after === undefined || one.site > after),
        )
        .toSorted((a, b) => (a.site < b.site ? -1 : 1));
      return { sites: found.slice(0, limit).map((entry) => showSite(entry, presence)) };
    },
  );
  fastify.post(
    '/v1/invitations',
    {
      config: changes,
      schema: {
        summary: 'A one-time token for a hospital to join with',
        body: z.strictObject({ site: SiteId, autoApprove: z.boolean().default(false) }),
        response: { 201: InvitationMade },
      },
    },
    async (request, reply) => {
      const { site, autoApprove } = request.body;
      if (RESERVED.has(site))
        throw new QflError('invalid_request', {
          detail: `no site can be called ${site}: the federation uses that name itself`,
          next: 'Choose another name.',
        });
      if (registry.list().some((entry) => entry.site === site))
        throw new QflError('conflict', {
          detail: `there is a site ${site} already`,
          next: 'Choose another name.',
        });
      await home.audit.record({
        action: 'site.invited',
        outcome: 'ok',
        ...pseudonyms.actorOf(principalOf(request)),
        objects: [{ kind: 'site', id: site }],
      });
      const made = await invitations.create(site, autoApprove);
      return reply.code(201).send({ site, autoApprove, ...made });
    },
  );
  fastify.get(
    '/v1/invitations',
    {
      config: reads,
      schema: {
        summary: 'Invitations that are open',
        response: { 200: z.strictObject({ invitations: z.array(InvitationShown) }) },
      },
    },
    async () => ({ invitations: await invitations.list() }),
  );
  fastify.post(
    '/v1/sites/:site/approve',
    {
      config: changes,
      schema: {
        summary: 'Let a site in, after comparing fingerprints',
        params: SiteParams,
        body: z.strictObject({ fingerprint: z.string().optional() }).optional(),
        response: { 200: SiteShown },
      },
    },
    async (request) => {
      const { site } = request.params;
      const expected = registry.get(site).fingerprint;
      const given = request.body?.fingerprint;
      if (given !== undefined && given !== expected)
        throw new QflError('conflict', {
          detail: `${site} shows the fingerprint ${expected}, not ${given}`,
          next: 'Do not approve it; call the hospital.',
        });
      await home.audit.record({
        action: 'site.approved',
        outcome: 'ok',
        ...pseudonyms.actorOf(principalOf(request)),
        objects: [{ kind: 'site', id: site }],
      });
      return showSite(await registry.approve(site), presence);
    },
  );
  fastify.post(
    '/v1/sites/:site/revoke',
    {
      config: changes,
      schema: {
        summary: 'End the sessions of a site and take its keys out of force, for good',
        params: SiteParams,
        body: z.strictObject({ reason: z.string().max(200).default('revoked by the operator') }).optional(),
        response: { 200: SiteShown },
      },
    },
    async (request) => {
      const { site } = request.params;
      registry.get(site);
      await home.audit.record({
        action: 'site.revoked',
        outcome: 'ok',
        ...pseudonyms.actorOf(principalOf(request)),
        objects: [{ kind: 'site', id: site }],
      });
      const entry = await registry.revoke(site, request.body?.reason ?? 'revoked by the operator');
      presence.disconnect(site, new QflError('revoked', { detail: `${site} was revoked` }));
      return showSite(entry, presence);
    },
  );
};

const policyRoutes = ({ fastify }: HttpApp, { home, policy, pseudonyms }: RouteOptions): void => {
  fastify.get(
    '/v1/policy',
    {
      config: { access: 'policy.read' },
      schema: { summary: 'The policy in force', response: { 200: PolicyInForce } },
    },
    () => policy.current,
  );
  fastify.put(
    '/v1/policy',
    {
      config: { access: 'policy.change' },
      schema: {
        summary: 'Replace the policy; raising what is relayed needs two people',
        body: z.strictObject({ version: z.int(), policy: FederationPolicy }),
        response: { 200: PolicyInForce },
      },
    },
    async (request) => {
      const wanted = request.body;
      const checkRaise = ({ microEpsilonMax }: FederationPolicy): void => {
        if (wanted.policy.microEpsilonMax <= microEpsilonMax) return;
        throw new QflError('forbidden', {
          detail: `relaying more than epsilon ${microEpsilonMax / 1e6} per query needs two people`,
          next: 'Propose it: "qfl proposal epsilon VALUE"; another administrator approves.',
        });
      };
      checkRaise(policy.current.policy);
      await home.audit.record({
        action: 'policy.changed',
        outcome: 'ok',
        ...pseudonyms.actorOf(principalOf(request)),
      });
      return policy.replace(wanted.policy, wanted.version, checkRaise);
    },
  );
};

const auditRoutes = ({ fastify }: HttpApp, { home, exportLogs, pseudonyms }: RouteOptions): void => {
  fastify.post(
    '/v1/audit/export',
    {
      config: { access: 'audit.export' },
      schema: {
        summary:
          'The logs, or a part of them, as a signed bundle; with lines of progress before it on request',
        body: ExportRequestBody,
      },
    },
    async (request, reply) => {
      const by = pseudonyms.actorOf(principalOf(request));
      const { progress, ...wanted } = request.body;
      await home.audit.record({ action: 'audit.exported', outcome: 'ok', ...by });
      const start = (tell?: (done: number, total: number) => void) =>
        exportLogs({
          requestedBy: `${by.role} ${by.actor}`,
          ...wanted,
          ...(tell === undefined ? {} : { progress: tell }),
        });
      const name = `qfl-audit.tar${wanted.recipient === undefined ? '' : '.age'}`;
      return reply
        .type(progress ? 'application/octet-stream' : 'application/x-tar')
        .header('content-disposition', `attachment; filename="${name}"`)
        .send(Readable.from(progress ? withProgress(start) : start(), { objectMode: false }));
    },
  );
};

export const registerRoutes = (app: HttpApp, options: RouteOptions): void => {
  readRoutes(app, options);
  siteRoutes(app, options);
  policyRoutes(app, options);
  auditRoutes(app, options);
};
