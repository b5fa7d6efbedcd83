/** Statistics and the privacy budgets behind them. */
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import type { ApiKeyRecord } from '../../shared/http/api-keys.ts';
import { OPERATOR_ROLE } from '../../shared/http/control.ts';
import { QueryId, type SiteId } from '../../shared/ids.ts';
import { microEpsilon, MICRO_PER_EPSILON, parseEpsilon } from '../../shared/privacy/epsilon.ts';
import { StatsResult } from '../../shared/wire/stats.ts';
import { type AccessPolicy, requirePermission } from '../access/policy.ts';
import type { Pseudonyms } from '../access/pseudonyms.ts';
import { showReading } from '../answer/contribute.ts';
import type { Statistics } from '../answer/statistics.ts';
import type { Ledger } from '../budget/ledger.ts';
import { parseCohortOptions } from '../records/cohort.ts';

export interface PrivacyRouteOptions {
  readonly self: SiteId;
  readonly statistics: Statistics;
  readonly ledger: Ledger;
  readonly policy: AccessPolicy;
  readonly pseudonyms: Pseudonyms;
  readonly defaultEpsilon: number;
}

const CountBody = z.strictObject({
  /** FHIR resource type whose patients are counted. */
  count: z.string().min(1).max(64),
  /** Conditions that all must hold: `code=…`, `gender=…`, `birthdate=…`. */
  where: z.array(z.string().max(500)).max(8).default([]),
  /** Decimal text, such as "0.1", so that no digit is lost; the site's default when left out. */
  epsilon: z.union([z.string(), z.number()]).optional(),
  confidence: z.number().gt(0.5).lt(1).default(0.95),
});

const DAILY_TEXT =
  'A daily budget limits how fast information can be drawn. It does not expire what was learnt: after D days the bound is the D-fold composition, unless the site-lifetime budget stops it first. Only the site-lifetime budget, over all users and departments together, bounds what is learnt about one patient; it never resets.';

const askerOf = (key: ApiKeyRecord, pseudonyms: Pseudonyms) => ({
  pseudonym: pseudonyms.of(key),
  role: key.role,
  department: key.department,
});

export const registerPrivacy = ({ fastify }: HttpApp, options: PrivacyRouteOptions): void => {
  const { self, statistics, ledger, policy, pseudonyms } = options;
  const epsilonOf = (given: string | number | undefined): number =>
    given === undefined
      ? microEpsilon(Math.round(options.defaultEpsilon * MICRO_PER_EPSILON))
      : parseEpsilon(String(given));
  const readings = (key: ApiKeyRecord) =>
    ledger.readings({ sender: self, asker: pseudonyms.of(key), department: key.department }).map(showReading);

  fastify.post(
    '/v1/stats',
    { config: { access: 'any-key' }, schema: { body: CountBody, response: { 200: StatsResult } } },
    async (request) => {
      const key = principalOf(request);
      requirePermission(policy, key, 'measurement');
      const { count, where, epsilon, confidence } = request.body;
      const microEpsilonAsked = epsilonOf(epsilon);
      const { microEpsilonPerQueryMax } = ledger.limits();
      // Told here, before any other site hears of it: most sites have the same bound.
      if (microEpsilonAsked > microEpsilonPerQueryMax) {
        throw new QflError('invalid_request', {
          detail: `a query may charge at most epsilon ${microEpsilonPerQueryMax / MICRO_PER_EPSILON}`,
          next: 'Ask with a smaller epsilon: more noise, less of the budget.',
        });
      }
      return statistics.count({
        cohort: parseCohortOptions(count, where),
        microEpsilon: microEpsilonAsked,
        confidence,
        asker: askerOf(key, pseudonyms),
      });
    },
  );
  fastify.get(
    '/v1/stats/:queryId',
    {
      config: { access: 'any-key' },
      schema: { params: z.strictObject({ queryId: QueryId }), response: { 200: StatsResult } },
    },
    (request) => {
      const key = principalOf(request);
      requirePermission(policy, key, 'measurement');
      return statistics.result(request.params.queryId, pseudonyms.of(key));
    },
  );
  fastify.get('/privacy/budgets', { config: { access: 'any-key' } }, (request) => {
    const key = principalOf(request);
    return { site: self, department: key.department, ledgers: readings(key), meaning: DAILY_TEXT };
  });
  fastify.get('/privacy/status', { config: { access: 'any-key' } }, () => {
    const { day, head, openReservations, fault } = ledger.status();
    const limits = ledger.limits();
    return {
      site: self,
      serving: fault === undefined,
      fault: fault ?? null,
      rule: limits.rule,
      windowDay: day,
      openReservations,
      head: { counter: head.counter, hash: Buffer.from(head.hash).toString('hex') },
      epsilonPerQueryMax: limits.microEpsilonPerQueryMax / MICRO_PER_EPSILON,
      meaning: DAILY_TEXT,
    };
  });
  fastify.get(
    '/privacy/history',
    {
      config: { access: ['admin', 'auditor', OPERATOR_ROLE] },
      schema: {
        querystring: z.strictObject({
          before: z.coerce.number().int().nonnegative().optional(),
          limit: z.coerce.number().int().min(1).max(1_000).default(50),
        }),
      },
    },
    async (request) => {
      const { before, limit } = request.query;
      const entries = await ledger.history({ limit, ...(before === undefined ? {} : { before }) });
      return {
        entries: JSON.parse(
          JSON.stringify(entries, (_key, value: unknown) =>
            typeof value === 'bigint' ? String(value) : value,
          ),
        ) as unknown,
      };
    },
  );
};
