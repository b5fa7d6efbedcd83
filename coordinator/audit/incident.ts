/**
 * What happened in a period, from the log alone: counts, a timeline of what bears on security, and a draft of the notice that GDPR Art. 33 asks for
 * within 72 hours. What the log cannot know stays open for whoever signs it; nothing is guessed.
 */
import { hash } from 'node:crypto';
import type { AuditEntry } from '../../shared/audit/entry.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { canonicalBytes, type CanonicalValue } from '../../shared/audit/canonical.ts';
import { type NoteSigner, signNote } from '../../shared/audit/note.ts';
import { toBase64 } from '../../shared/bytes.ts';
import { HOUR_MS } from '../../shared/clock.ts';
import { SiteId } from '../../shared/ids.ts';
import type { IncidentReport } from '../../shared/wire/reports.ts';
import { BEARS_ON_SECURITY } from './compliance/tally.ts';

export const NOTIFY_WITHIN_MS = 72 * HOUR_MS;
export const TIMELINE_MAX = 10_000;

export interface IncidentInput {
  readonly audit: Pick<AuditLog, 'entries' | 'log'>;
  readonly federation: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly awareMs: number | undefined;
  readonly nowMs: number;
}

const sitesOf = ({ objects }: AuditEntry): readonly SiteId[] =>
  objects
    .filter(({ kind }) => kind === 'sender' || kind === 'recipient' || kind === 'site')
    .flatMap(({ id }) => SiteId.safeParse(id).data ?? []);

const isLockdown = ({ action, objects }: AuditEntry): boolean =>
  action === 'lockdown.changed' && objects.some(({ id }) => id === 'on');

/** Reads the whole log: clocks may have jumped, so the time of an entry does not tell its place. */
export const incidentReport = async (input: IncidentInput): Promise<IncidentReport> => {
  const { audit, federation, fromMs, toMs, nowMs } = input;
  const { size } = audit.log;
  const counts = new Map<string, number>();
  const timeline: IncidentReport['timeline'] = [];
  const sites = new Set<SiteId>();
  let [cut, firstLockdownMs]: [boolean, number | undefined] = [false, undefined];
  for await (const entry of audit.entries(audit.log.minimumIndex, size)) {
    if (entry.timeMs < fromMs || entry.timeMs >= toMs) continue;
    const key = `${entry.action} ${entry.outcome}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    for (const site of sitesOf(entry)) sites.add(site);
    if (isLockdown(entry)) firstLockdownMs ??= entry.timeMs;
    if (!BEARS_ON_SECURITY.has(entry.action)) continue;
    cut ||= timeline.length >= TIMELINE_MAX;
    if (timeline.length < TIMELINE_MAX)
      timeline.push({
        index: entry.counter,
        timeMs: entry.timeMs,
        action: entry.action,
        outcome: entry.outcome,
        actor: entry.actor,
        role: entry.role,
        objects: entry.objects,
      });
  }
  const awareMs = input.awareMs ?? firstLockdownMs ?? null;
  return {
    format: 'qfl-incident-report/1',
    federation,
    createdMs: nowMs,
    fromMs,
    toMs,
    counts: [...counts]
      .map(([key, entries]) => {
        const [action = '', outcome = ''] = key.split(' ');
        return { action, outcome, entries };
      })
      .toSorted((a, b) => (`${a.action} ${a.outcome}` < `${b.action} ${b.outcome}` ? -1 : 1)),
    timeline,
    timelineCut: cut,
    sitesInvolved: [...sites].toSorted(),
    awareMs,
    notifyByMs: awareMs === null ? null : awareMs + NOTIFY_WITHIN_MS,
    logSize: size,
    logRoot: toBase64(await audit.log.rootAt(size)),
  };
};

/** The coordinator's signature over a report. */
export const signReport = (
  report: CanonicalValue & { readonly format: string },
  signer: NoteSigner,
): string =>
  signNote(`${report.format}\n${toBase64(hash('sha256', canonicalBytes(report), 'buffer'))}\n`, [signer]);

const OPEN = '_to be filled in_';
const at = (timeMs: number | null): string => (timeMs === null ? OPEN : new Date(timeMs).toISOString());
const entriesOf = ({ counts }: IncidentReport, action: string): number =>
  counts.filter((one) => one.action === action).reduce((sum, { entries }) => sum + entries, 0);

export interface Organisation {
  readonly name: string | null;
  readonly contact: string | null;
  readonly dataProtectionOfficer: string | null;
}

/** Markdown with the points of GDPR Art. 33 (3); what the log does not know is marked as open. */
export const noticeDraft = (
  report: IncidentReport,
  { name, contact, dataProtectionOfficer }: Organisation,
): string => {
  const lockdowns = report.timeline.filter(
    ({ action, objects }) => action === 'lockdown.changed' && objects.some(({ id }) => id === 'on'),
  );
  const revoked = report.timeline.filter(({ action }) => action === 'site.revoked');
  const measures = [
    ...lockdowns.map(
      ({ timeMs }) => `- ${at(timeMs)}: all processing stopped, sessions ended, tokens revoked`,
    ),
    ...revoked.map(
      ({ timeMs, objects }) =>
        `- ${at(timeMs)}: site ${objects[0]?.id ?? ''} revoked, its keys taken out of force`,
    ),
    ...(lockdowns.length + revoked.length === 0 ? [`- ${OPEN}`] : []),
  ];
  return `# DRAFT: notification of a personal data breach (GDPR Art. 33)

Made from the log of the federation "${report.federation}" on ${at(report.createdMs)}. Open points are marked; the log cannot know them.

- Controller: ${name ?? OPEN}
- Contact: ${contact ?? OPEN}
- Data protection officer: ${dataProtectionOfficer ?? OPEN}
- Became aware: ${at(report.awareMs)}
- To be notified by (72 hours): ${at(report.notifyByMs)}
- Reasons if later: ${OPEN}

## Nature of the breach (Art. 33 (3) a)

${OPEN}

What the log shows between ${at(report.fromMs)} and ${at(report.toMs)}: ${entriesOf(report, 'account.sign_in_refused')} refused sign-ins, ${entriesOf(report, 'account.locked')} lockouts, ${entriesOf(report, 'session.token_reused')} refresh tokens shown twice, ${entriesOf(report, 'access.refused')} refused accesses, ${entriesOf(report, 'session.refused')} refused connections of sites.

- Categories of people: ${OPEN}
- Approximate number of people: ${OPEN}
- Categories of records: ${OPEN}
- Approximate number of records: ${OPEN}
- Sites involved in the period: ${report.sitesInvolved.join(', ') || 'none'}

The coordinator holds no patient records and cannot read queries or answers; each site's own log and privacy ledger say what left that site.

## Likely consequences (Art. 33 (3) c)

${OPEN}

## Measures taken or proposed (Art. 33 (3) d)

${measures.join('\n')}

## Evidence

Log of ${report.logSize} entries, root ${report.logRoot}. The export that proves it: qfl audit export.
`;
};
