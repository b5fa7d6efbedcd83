/** Signed reports made from the log: one person's data, privacy, a month. */
import { z } from 'zod';
import { AuditEntry } from '../audit/entry.ts';
import { SiteId } from '../ids.ts';
import { UsageReport } from './reports.ts';

export const PersonRequest = z.strictObject({
  /** Name or id of the account. */
  account: z.string().min(1).max(200),
  ground: z.string().min(1).max(200).default('GDPR Art. 15'),
});
export const PersonReport = z.strictObject({
  format: z.literal('qfl-person/1'),
  federation: z.string(),
  createdMs: z.int(),
  ground: z.string(),
  /** What the account itself says; no secret is among it. */
  account: z.strictObject({
    id: z.string(),
    username: z.string(),
    pseudonym: z.string(),
    role: z.string(),
    department: z.string(),
    dataClass: z.string(),
    status: z.string(),
    secondFactor: z.boolean(),
    identityProvider: z.string().nullable(),
    createdMs: z.int(),
    lastSignInMs: z.int().nullable(),
  }),
  /** Every entry of the coordinator's log that this person made or that is about this account, with its personal detail where that was kept. */
  entries: z.array(z.strictObject({ entry: AuditEntry, detail: z.string().nullable() })),
  /** True when there were more than the report holds. */
  cut: z.boolean(),
  source: z.string(),
  purposes: z.array(z.string()),
  recipients: z.array(z.string()),
  retentionDays: z.strictObject({ logEntries: z.int(), personalDetail: z.int() }),
  rights: z.array(z.string()),
  logSize: z.int(),
  logRoot: z.string(),
});
export type PersonReport = z.infer<typeof PersonReport>;
export const PersonAnswer = z.strictObject({ report: PersonReport, note: z.string() });

export const ComplianceReportRequest = z
  .strictObject({
    kind: z.enum(['privacy', 'monthly']),
    fromMs: z.int().nonnegative(),
    toMs: z.int().positive(),
  })
  .refine(({ fromMs, toMs }) => fromMs < toMs, { error: 'the period ends before it begins', path: ['toMs'] });

export const ComplianceReport = z.strictObject({
  format: z.literal('qfl-compliance-report/1'),
  kind: z.enum(['privacy', 'monthly']),
  federation: z.string(),
  organisation: z.string().nullable(),
  createdMs: z.int(),
  fromMs: z.int(),
  toMs: z.int(),
  /** Entries of the coordinator's log in the period, by action and outcome. */
  counts: z.array(z.strictObject({ action: z.string(), outcome: z.string(), entries: z.int() })),
  entries: z.int(),
  security: z.int(),
  usage: UsageReport,
  budgets: z.strictObject({
    authority: z.string(),
    microEpsilonMax: z.int(),
    /** In the log that the report is of; null where that log says nothing of them, as the coordinator's. */
    raises: z.int().nullable(),
    sites: z.array(z.strictObject({ site: SiteId, siteLifetimeTenthsLeft: z.int().nullable() })),
  }),
  accounts: z.strictObject({
    active: z.int(),
    disabled: z.int(),
    withSecondFactor: z.int(),
    programKeys: z.int(),
  }),
  logSize: z.int(),
  logRoot: z.string(),
});
export type ComplianceReport = z.infer<typeof ComplianceReport>;
export const ComplianceReportAnswer = z.strictObject({
  report: ComplianceReport,
  note: z.string(),
  /** Markdown. */
  text: z.string(),
});
