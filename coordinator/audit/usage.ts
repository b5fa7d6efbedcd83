/** Who used the federation how much, site by site, from the log alone. Departments are known only to their sites: their own reports have them. */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { SiteId } from '../../shared/ids.ts';
import type { UsageReport } from '../../shared/wire/reports.ts';

/** Kinds of objects that are sites; others, such as tasks, may have names that look like one. */
const SITES: ReadonlySet<string> = new Set(['site', 'sender', 'recipient']);

type Row = UsageReport['sites'][number];

export const usageReport = async (
  audit: Pick<AuditLog, 'entries' | 'log'>,
  fromMs: number,
  toMs: number,
): Promise<UsageReport> => {
  const rows = new Map<SiteId, Row>();
  const rowOf = (id: string): Row | undefined => {
    const site = SiteId.safeParse(id).data;
    if (site === undefined) return undefined;
    const row = rows.get(site) ?? { site, asked: 0, askedFailed: 0, candidate: 0, sessions: 0 };
    rows.set(site, row);
    return row;
  };
  for await (const { timeMs, action, outcome, objects } of audit.entries(
    audit.log.minimumIndex,
    audit.log.size,
  )) {
    if (timeMs < fromMs || timeMs >= toMs) continue;
    for (const { kind, id } of objects) {
      if (!SITES.has(kind)) continue;
      const row = rowOf(id);
      if (row === undefined) continue;
      if (action === 'session.opened' && kind === 'site') row.sessions += 1;
      if (action !== 'relay.dispatched') continue;
      if (kind === 'recipient' && outcome === 'begun') row.candidate += 1;
      if (kind === 'sender' && outcome === 'begun') row.asked += 1;
      if (kind === 'sender' && outcome === 'failed') row.askedFailed += 1;
    }
  }
  return { fromMs, toMs, sites: [...rows.values()].toSorted((a, b) => (a.site < b.site ? -1 : 1)) };
};

/** RFC 4180. Names of sites hold nothing that a spreadsheet could run. */
export const usageCsv = ({ sites }: UsageReport): string =>
  [
    'site,asked,asked_failed,candidate,sessions',
    ...sites.map((row) => [row.site, row.asked, row.askedFailed, row.candidate, row.sessions].join(',')),
    '',
  ].join('\r\n');
