/** Reports made from the coordinator's log alone. */
import { z } from 'zod';
import { SiteId } from '../ids.ts';

const Period = { fromMs: z.int().nonnegative(), toMs: z.int().positive() };

export const IncidentRequest = z
  .strictObject({
    ...Period,
    /** When the organisation became aware: the 72 hours of GDPR Art. 33 begin here. Left out: the first lockdown of the period, if there is one. */
    awareMs: z.int().positive().optional(),
  })
  .refine(({ fromMs, toMs }) => fromMs < toMs, { error: 'the period ends before it begins', path: ['toMs'] });

export const IncidentReport = z.strictObject({
  format: z.literal('qfl-incident-report/1'),
  federation: z.string(),
  createdMs: z.int(),
  ...Period,
  /** Entries of the period by action and outcome. */
  counts: z.array(z.strictObject({ action: z.string(), outcome: z.string(), entries: z.int() })),
  /** What bears on security, in order; the index is that in the log. */
  timeline: z.array(
    z.strictObject({
      index: z.int(),
      timeMs: z.int(),
      action: z.string(),
      outcome: z.string(),
      actor: z.string().nullable(),
      role: z.string().nullable(),
      objects: z.array(z.strictObject({ kind: z.string(), id: z.string() })),
    }),
  ),
  /** True when there were more than the report holds. */
  timelineCut: z.boolean(),
  /** Sites that asked or answered in the period. */
  sitesInvolved: z.array(SiteId),
  awareMs: z.int().nullable(),
  notifyByMs: z.int().nullable(),
  /** Of the log, so that the report can be checked against an export. */
  logSize: z.int(),
  logRoot: z.string(),
});
export type IncidentReport = z.infer<typeof IncidentReport>;

export const IncidentAnswer = z.strictObject({
  report: IncidentReport,
  /** C2SP signed note over the SHA-256 of the report's canonical JSON. */
  note: z.string(),
  /** Markdown: a notice under GDPR Art. 33 with what the log knows filled in. */
  noticeDraft: z.string(),
});

export const UsageQuery = z.strictObject({
  fromMs: z.coerce.number().int().nonnegative().default(0),
  toMs: z.coerce.number().int().positive().optional(),
  format: z.enum(['json', 'csv']).default('json'),
});
export const UsageReport = z.strictObject({
  ...Period,
  sites: z.array(
    z.strictObject({
      site: SiteId,
      /** Queries this site asked of others, by how they ended. */
      asked: z.int(),
      askedFailed: z.int(),
      /** Times this site was named as one that may answer. */
      candidate: z.int(),
      sessions: z.int(),
    }),
  ),
});
export type UsageReport = z.infer<typeof UsageReport>;

export const BudgetsShown = z.strictObject({
  authority: z.string(),
  /** Largest epsilon of one query that is relayed, in millionths; raising it takes two people. */
  microEpsilonMax: z.int(),
  sites: z.array(
    z.strictObject({
      site: SiteId,
      /** Rounded down to tenths by the site itself; null while it is not connected. */
      siteLifetimeTenthsLeft: z.int().nullable(),
    }),
  ),
});

export const SettingsShown = z.strictObject({
  environment: z.string(),
  logLevel: z.string(),
  planning: z.strictObject({ strategy: z.string(), queueFactor: z.number() }),
  tasks: z.strictObject({ parallelMax: z.int(), timeoutMs: z.int() }),
  accounts: z.strictObject({
    tokenAlgorithm: z.string(),
    tokenLifeMs: z.number(),
    sessionLifeMs: z.number(),
    sessionIdleMs: z.number(),
    passwordLengthMin: z.int(),
    failuresMax: z.int(),
    lockedMs: z.number(),
    secondFactorRoles: z.array(z.string()),
    providers: z.array(z.string()),
  }),
  adminAllowedAddresses: z.array(z.string()),
  notifications: z.strictObject({ webhooks: z.int(), smtp: z.boolean() }),
});

/** Use and charges at one hospital, department by department: for its own accounts, and for what other sites' departments took from its budgets. */
export const AgentUsageReport = z.strictObject({
  site: SiteId,
  ...Period,
  departments: z.array(
    z.strictObject({
      /** Where the department is; this site's own, or one that asked from elsewhere. */
      site: SiteId,
      /** Null: asked with a key that is gone. */
      department: z.string().nullable(),
      /** Questions that this site's own people began, from its log; null for other sites, whose logs know. */
      chatsAsked: z.int().nullable(),
      statisticsAsked: z.int().nullable(),
      /** Charged to this site's ledger. */
      queriesCharged: z.int(),
      /** Given back because nothing ran. */
      queriesRefunded: z.int(),
      /** Of the lifetime budget, in units of 2^-40 nat; decimal, because it may be large. */
      costUnits: z.string(),
    }),
  ),
  /** Records of the ledger before this counter were compacted: their charges are in the sums, not here. */
  ledgerFrom: z.int(),
});
export type AgentUsageReport = z.infer<typeof AgentUsageReport>;
