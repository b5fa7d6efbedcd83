/** The privacy budgets: what is spent, what remains, and what that means. */
import { z } from 'zod';
import type { HttpApp } from '../../shared/http/app.ts';
import { principalOf } from '../../shared/http/bearer.ts';
import type { Principal } from '../../shared/access/principal.ts';
import type { SiteId } from '../../shared/ids.ts';
import { MICRO_PER_EPSILON } from '../../shared/privacy/epsilon.ts';
import type { Pseudonyms } from '../access/pseudonyms.ts';
import { showReading } from '../answer/contribute.ts';
import type { Ledger } from '../budget/ledger.ts';

export interface PrivacyRouteOptions {
  readonly self: SiteId;
  readonly ledger: Ledger;
  readonly pseudonyms: Pseudonyms;
}

const DAILY_TEXT =
  'A daily budget limits how fast information can be drawn. It does not expire what was learnt: after D days the bound is the D-fold composition, unless the site-lifetime budget stops it first. Only the site-lifetime budget, over all users and departments together, bounds what is learnt about one patient; it never resets.';

const ANCHORED_TEXT =
  'The coordinator countersigned this ledger’s head; an older copy of this agent is refused when it connects.';
const UNANCHORED_TEXT =
  'Nobody outside has countersigned this ledger yet: an older copy of the whole agent would not be noticed.';

export const registerPrivacy = ({ fastify }: HttpApp, options: PrivacyRouteOptions): void => {
  const { self, ledger, pseudonyms } = options;
  const readings = (key: Principal) =>
    ledger.readings({ sender: self, asker: pseudonyms.of(key), department: key.department }).map(showReading);

  fastify.get('/privacy/budgets', { config: { access: 'privacy.read' } }, (request) => {
    const key = principalOf(request);
    return { site: self, department: key.department, ledgers: readings(key), meaning: DAILY_TEXT };
  });
  fastify.get('/privacy/status', { config: { access: 'privacy.read' } }, () => {
    const { day, head, openReservations, fault, epoch, countersigned } = ledger.status();
    const limits = ledger.limits();
    return {
      site: self,
      serving: fault === undefined,
      fault: fault ?? null,
      rule: limits.rule,
      windowDay: day,
      openReservations,
      head: { counter: head.counter, hash: Buffer.from(head.hash).toString('hex'), epoch },
      countersigned,
      anchor: countersigned === null ? UNANCHORED_TEXT : ANCHORED_TEXT,
      epsilonPerQueryMax: limits.microEpsilonPerQueryMax / MICRO_PER_EPSILON,
      meaning: DAILY_TEXT,
    };
  });
  fastify.get(
    '/privacy/history',
    {
      config: { access: 'privacy.history' },
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
