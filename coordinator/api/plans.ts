/** `/v1/plans`: why a query went where it went. Who asks whom is for those who run and check the federation. */
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { PlanList, PlanRecord } from '../../shared/wire/plan.ts';
import { PLANS_ON_DISK } from '../planning/plan-shelf.ts';
import { PLANS_KEPT, type PlanRecords } from '../planning/records.ts';

const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 500;

export const registerPlanRoutes = (
  { fastify }: HttpApp,
  { records }: { readonly records: PlanRecords },
): void => {
  const config = { access: 'plans.read' } as const;
  fastify.get(
    '/v1/plans',
    {
      config,
      schema: {
        summary: 'The newest plans',
        querystring: z.strictObject({
          limit: z.coerce.number().int().min(1).max(LIMIT_MAX).default(LIMIT_DEFAULT),
        }),
        response: { 200: PlanList },
      },
    },
    (request) => ({
      plans: [...records.list(request.query.limit)],
      kept: records.size,
      keptMax: PLANS_KEPT,
    }),
  );
  fastify.get(
    '/v1/plans/:queryId',
    {
      config,
      schema: {
        summary: 'Why a query went where it went',
        params: z.strictObject({ queryId: z.string().max(64) }),
        response: { 200: PlanRecord },
      },
    },
    (request) => {
      const record = records.get(request.params.queryId);
      if (record === undefined)
        throw new QflError('not_found', {
          detail: `no plan of the query ${request.params.queryId} is kept`,
          next: `The newest ${PLANS_KEPT} plans are kept, ${PLANS_ON_DISK} of them over a restart: "qfl plan list".`,
        });
      return record;
    },
  );
};
