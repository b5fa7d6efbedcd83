/** What a query of a given epsilon costs here, how many fit, and what the budgets promise over time. Spends nothing. */
import { z } from 'zod';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import type { SiteId } from '../../shared/ids.ts';
import {
  MICRO_PER_EPSILON,
  type MicroEpsilon,
  microEpsilon,
  parseEpsilon,
} from '../../shared/privacy/epsilon.ts';
import { boundOverDays } from '../../shared/privacy/horizon.ts';
import { laplaceForEpsilon } from '../../shared/privacy/mechanism.ts';
import { orderNumber } from '../../shared/privacy/orders.ts';
import { PrivacyExplanation } from '../../shared/wire/privacy.ts';
import type { Pseudonyms } from '../access/pseudonyms.ts';
import type { Ledger, LedgerReading } from '../budget/ledger.ts';

export interface ExplainRouteOptions {
  readonly self: SiteId;
  readonly ledger: Ledger;
  readonly pseudonyms: Pseudonyms;
  readonly defaultEpsilon: number;
}

/** A month and a year. */
const HORIZON_DAYS = [30, 365] as const;

/** Epsilon values add up at this many queries under basic composition; exact, in millionths. */
const basicCount = (budgetMicro: number, queryMicro: number): number => Math.floor(budgetMicro / queryMicro);

const explainLedger = (reading: LedgerReading, costUnits: bigint, micro: MicroEpsilon) => ({
  ledger: reading.ledger,
  rule: reading.rule,
  order: reading.orderTenths === 0 ? null : orderNumber(reading.orderTenths),
  delta: reading.delta,
  budgetEpsilon: reading.budgetMicroEpsilon / MICRO_PER_EPSILON,
  queriesInAll: Number(reading.budgetUnits / costUnits),
  queriesLeft: Number(reading.remainingUnits / costUnits),
  queriesByAddition: basicCount(reading.budgetMicroEpsilon, micro),
  overDays:
    reading.day === null ? [] : HORIZON_DAYS.map((days) => boundOverDays(reading, days, reading.delta)),
});

export const registerPrivacyExplain = ({ fastify }: HttpApp, options: ExplainRouteOptions): void => {
  const { self, ledger, pseudonyms, defaultEpsilon } = options;
  const asked = (epsilon: string | undefined): MicroEpsilon =>
    epsilon === undefined
      ? microEpsilon(Math.round(defaultEpsilon * MICRO_PER_EPSILON))
      : parseEpsilon(epsilon);
  fastify.get(
    '/privacy/explain',
    {
      config: { access: 'privacy.read' },
      schema: {
        querystring: z.strictObject({ epsilon: z.string().max(40).optional() }),
        response: { 200: PrivacyExplanation },
      },
    },
    (request) => {
      const key = principalOf(request);
      const micro = asked(request.query.epsilon);
      const mechanism = laplaceForEpsilon({ epsilon: micro, sensitivity: 1n }, ledger.limits());
      const { costs, readings } = ledger.quote(
        { sender: self, asker: pseudonyms.of(key), department: key.department },
        [mechanism],
      );
      return {
        site: self,
        department: key.department,
        epsilon: micro / MICRO_PER_EPSILON,
        ledgers: readings.map((reading) => explainLedger(reading, costs[reading.ledger], micro)),
      };
    },
  );
};
