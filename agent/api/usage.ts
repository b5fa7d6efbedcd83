/** Use and charges, department by department. */
import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { AgentUsageReport, UsageQuery } from '../../shared/wire/reports.ts';
import { agentUsage, agentUsageCsv, type UsageSources } from '../usage.ts';

export const registerUsage = (
  { fastify }: HttpApp,
  { clock, ...sources }: UsageSources & { readonly clock: Pick<Clock, 'nowMs'> },
): void => {
  fastify.get(
    '/v1/usage',
    {
      config: { access: 'usage.read' },
      schema: {
        summary: "Use of this site's agent and budgets, department by department, from its log and ledger",
        querystring: UsageQuery,
        response: { 200: z.union([AgentUsageReport, z.string()]) },
      },
    },
    async (request, reply) => {
      const { fromMs, toMs = Math.trunc(clock.nowMs()) + 1, format } = request.query;
      const report = await agentUsage(sources, fromMs, toMs);
      if (format === 'json') return report;
      return reply
        .type('text/csv; charset=utf-8')
        .serializer((text: string) => text)
        .send(agentUsageCsv(report));
    },
  );
};
