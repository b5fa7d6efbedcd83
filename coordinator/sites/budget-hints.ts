/** What is known here of the sites' budgets. Their ledgers are the only truth; this is a hint for planning, rounded to tenths by the sites themselves. */
import type { SiteId } from '../../shared/ids.ts';
import type { Presence } from './presence.ts';
import type { Registry } from './registry.ts';

export const BUDGET_AUTHORITY =
  'each site enforces and records its own budget and raises it by two of its own people; these are hints for planning';

export interface BudgetHint {
  readonly site: SiteId;
  /** Null: it is not connected. */
  readonly siteLifetimeTenthsLeft: number | null;
}

/** Of every approved site. */
export const budgetHints = (
  registry: Pick<Registry, 'list'>,
  presence: Pick<Presence, 'telemetry'>,
): BudgetHint[] =>
  registry
    .list()
    .filter(({ status }) => status === 'approved')
    .map(({ site }) => ({ site, siteLifetimeTenthsLeft: presence.telemetry(site)?.budgetTenths ?? null }));
