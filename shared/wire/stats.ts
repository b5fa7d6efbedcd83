/** Federated statistics: the question that travels sealed, and what each site answers. */
import { z } from 'zod';
import { QueryId, SiteId } from '../ids.ts';
import { MechanismText } from '../privacy/mechanism.ts';

export const StatsQuery = z.strictObject({
  kind: z.literal('count'),
  /** What is counted, as the serving site's own parser reads it. */
  cohort: z.unknown(),
  microEpsilon: z.int().min(1),
});
export type StatsQuery = z.infer<typeof StatsQuery>;

const Integer = z.string().regex(/^-?\d{1,40}$/);

/** One ledger as the asker meets it; public parameters only. */
export const LedgerShown = z.strictObject({
  ledger: z.enum(['site_lifetime', 'asking_site_day', 'department_day', 'user_day']),
  budgetEpsilon: z.number(),
  spentEpsilon: z.number(),
  remainingEpsilon: z.number(),
  /** When the window renews; null for a ledger that never does. */
  renewsAtMs: z.number().nullable(),
});
export type LedgerShown = z.infer<typeof LedgerShown>;

/** A site's sealed answer. */
export const StatsAnswer = z.strictObject({
  /** The noisy count, an integer; may be negative. */
  value: Integer,
  mechanism: MechanismText,
  microEpsilon: z.int(),
  /** Charged at this site to its lifetime ledger, integer of 2^-40 nat. */
  chargedUnits: Integer,
  ledgers: z.array(LedgerShown),
});
export type StatsAnswer = z.infer<typeof StatsAnswer>;

export const Interval = z.strictObject({ low: Integer, high: Integer, confidence: z.number() });

export const StatsSiteResult = z.discriminatedUnion('status', [
  z.strictObject({ status: z.literal('answered'), site: SiteId, interval: Interval, answer: StatsAnswer }),
  z.strictObject({
    status: z.literal('refused'),
    site: SiteId,
    code: z.string(),
    detail: z.string().nullable(),
    facts: z.record(z.string(), z.unknown()).nullable(),
  }),
]);
export type StatsSiteResult = z.infer<typeof StatsSiteResult>;

/** What the asker gets. */
export const StatsResult = z.strictObject({
  queryId: QueryId,
  kind: z.literal('count'),
  /** Canonical text of what was counted. */
  counted: z.string(),
  /** True when every site with records answered. */
  complete: z.boolean(),
  /** Sum over the sites that answered; null when none did. */
  total: Integer.nullable(),
  interval: Interval.nullable(),
  epsilonPerSite: z.number(),
  sites: z.array(StatsSiteResult),
});
export type StatsResult = z.infer<typeof StatsResult>;
