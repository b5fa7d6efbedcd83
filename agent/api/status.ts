/** Health, readiness, status and metrics of an agent. */
import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import { OPERATOR_ROLE } from '../../shared/http/roles.ts';
import type { Metrics } from '../../shared/http/metrics.ts';
import type { Federation } from '../federation/federation.ts';
import type { AgentHome } from '../home.ts';
import type { Models } from '../llm/models.ts';
import { showDirectory } from './directory.ts';
import { blockCounts } from '../records/blocks.ts';

const OPERATORS: ReadonlySet<string> = new Set(['admin', OPERATOR_ROLE]);

const directorySummary = (federation: Federation) => {
  const { confirmedSize, confirmedMs, quorum, witnesses, refusal, lockdown } = showDirectory(federation);
  return { confirmedSize, confirmedMs, quorum, witnesses, refusal, lockdown };
};

export interface StatusOptions {
  readonly home: AgentHome;
  readonly federation: Federation;
  readonly models: Models;
  readonly metrics: Metrics;
  /** False when metrics are answered on a port of their own, or not at all. */
  readonly metricsHere: boolean;
  readonly clock: Clock;
  readonly startedMs: number;
  readonly fingerprint: () => string;
  /** Null while the ledger serves; why not, otherwise. */
  ledgerFault(): string | null;
}

export const registerStatus = ({ fastify }: HttpApp, options: StatusOptions): void => {
  const { home, federation, models, metrics, clock, startedMs } = options;
  const open = { config: { access: 'public', rateLimit: false } } as const;
  fastify.get(
    '/health',
    { ...open, schema: { response: { 200: z.strictObject({ status: z.literal('ok') }) } } },
    () => ({ status: 'ok' as const }),
  );
  fastify.get('/ready', open, () => {
    if (federation.link.state !== 'online')
      throw new QflError('not_ready', {
        detail: 'not connected to the coordinator',
        next: 'Local models answer meanwhile; see "qfl agent status".',
      });
    const fault = options.ledgerFault();
    if (fault !== null) throw new QflError('not_ready', { detail: fault });
    return { status: 'ready' };
  });
  if (options.metricsHere)
    fastify.get('/metrics', open, async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.render()),
    );
  fastify.get('/status', { config: { access: 'status.read' } }, async (request) => ({
    program: 'agent',
    site: home.profile.site,
    federation: home.profile.federation.name,
    coordinator: home.profile.url,
    fingerprint: options.fingerprint(),
    uptimeMs: Math.trunc(clock.nowMs() - startedMs),
    link: federation.link.state,
    linkError: federation.link.lastError?.message ?? null,
    standing: federation.standing,
    directorySize: federation.mirror.checkpoint.size,
    directory: directorySummary(federation),
    models: await models.telemetry(),
    sites: federation.board()?.sites ?? null,
    ledgerFault: options.ledgerFault(),
    auditSize: home.audit.log.size,
    // Exact counts of records: for whoever runs the site.
    ...(OPERATORS.has(principalOf(request).role)
      ? { dataBlocks: (await blockCounts(home.records)) ?? null }
      : {}),
  }));
};
