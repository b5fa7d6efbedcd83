/** The privacy report and the monthly report: numbers from the coordinator's log, and budgets as the sites say them. */
import type { AuditLog } from '../../../shared/audit/audit-log.ts';
import { toBase64 } from '../../../shared/bytes.ts';
import type { ComplianceReport } from '../../../shared/wire/compliance.ts';
import { usageReport } from '../usage.ts';
import { Tally } from './tally.ts';

export interface ReportInput {
  readonly audit: AuditLog;
  readonly kind: ComplianceReport['kind'];
  readonly federation: string;
  readonly organisation: string | null;
  readonly fromMs: number;
  readonly toMs: number;
  readonly nowMs: number;
  readonly budgets: Omit<ComplianceReport['budgets'], 'raises'>;
  readonly accounts: ComplianceReport['accounts'];
}

/** Reads the whole log: clocks may have jumped, so the time of an entry does not tell its place. */
export const complianceReport = async (input: ReportInput): Promise<ComplianceReport> => {
  const { audit, fromMs, toMs } = input;
  const { minimumIndex, size } = audit.log;
  const tally = new Tally();
  for await (const entry of audit.entries(minimumIndex, size))
    if (entry.timeMs >= fromMs && entry.timeMs < toMs) tally.take(entry);
  return {
    format: 'qfl-compliance-report/1',
    kind: input.kind,
    federation: input.federation,
    organisation: input.organisation,
    createdMs: input.nowMs,
    fromMs,
    toMs,
    counts: [...tally.counts]
      .map(([key, entries]) => {
        const [action = '', outcome = ''] = key.split(' ');
        return { action, outcome, entries };
      })
      .toSorted((a, b) => (`${a.action} ${a.outcome}` < `${b.action} ${b.outcome}` ? -1 : 1)),
    entries: tally.entries,
    security: tally.security,
    usage: await usageReport(audit, fromMs, toMs),
    budgets: { ...input.budgets, raises: tally.counts.get('budget.raised ok') ?? null },
    accounts: input.accounts,
    logSize: size,
    logRoot: toBase64(await audit.log.rootAt(size)),
  };
};

const at = (ms: number): string => new Date(ms).toISOString();
const of = ({ counts }: ComplianceReport, action: string, outcome: string): number =>
  counts.find((one) => one.action === action && one.outcome === outcome)?.entries ?? 0;

const usageLines = ({ usage }: ComplianceReport): string[] => [
  '| site | asked | of these failed | named as one that may answer | sessions |',
  '|---|---|---|---|---|',
  ...usage.sites.map(
    ({ site, asked, askedFailed, candidate, sessions }) =>
      `| ${site} | ${asked} | ${askedFailed} | ${candidate} | ${sessions} |`,
  ),
];
const budgetLines = ({ budgets }: ComplianceReport): string[] => [
  `Largest epsilon of one query that is relayed: ${budgets.microEpsilonMax / 1e6}. Raises of budgets in the period: ${budgets.raises ?? 'unknown (in the logs of the sites)'}.`,
  '',
  '| site | lifetime budget left |',
  '|---|---|',
  ...budgets.sites.map(
    ({ site, siteLifetimeTenthsLeft: left }) =>
      `| ${site} | ${left === null ? 'unknown (not connected)' : `${left}/10`} |`,
  ),
  '',
  `${budgets.authority}. What each site was charged, query by query, is in that site's own ledger and log.`,
];

/** Markdown. */
export const reportText = (report: ComplianceReport): string => {
  const { kind, federation, organisation, fromMs, toMs, accounts } = report;
  const title = kind === 'monthly' ? `Compliance report ${at(fromMs).slice(0, 7)}` : 'Privacy audit report';
  const privacy = [
    '## Use, by site',
    '',
    ...usageLines(report),
    '',
    '## Privacy budgets',
    '',
    ...budgetLines(report),
  ];
  const monthly = [
    '## Security',
    '',
    `Entries that bear on security: ${report.security}. Lockdowns changed: ${of(report, 'lockdown.changed', 'ok')}. Refused sign-ins: ${of(report, 'account.sign_in_refused', 'refused')}. Refused accesses: ${of(report, 'access.refused', 'refused')}. Sites revoked: ${of(report, 'site.revoked', 'ok')}.`,
    '',
    '## Accounts',
    '',
    `Active: ${accounts.active} (${accounts.withSecondFactor} with a second factor). Disabled: ${accounts.disabled}. Valid keys of programs: ${accounts.programKeys}.`,
  ];
  return [
    `# ${title}`,
    '',
    `Federation "${federation}"${organisation === null ? '' : `, ${organisation}`}. Period: ${at(fromMs)} to ${at(toMs)} (UTC). Entries in the period: ${report.entries}.`,
    '',
    ...privacy,
    '',
    ...(kind === 'monthly' ? [...monthly, ''] : []),
    '## Everything by kind',
    '',
    '| action | outcome | entries |',
    '|---|---|---|',
    ...report.counts.map(({ action, outcome, entries }) => `| ${action} | ${outcome} | ${entries} |`),
    '',
    '## Evidence',
    '',
    `Log of ${report.logSize} entries, root ${report.logRoot}. The export that proves it: qfl audit export.`,
    '',
  ].join('\n');
};
