/** Who used this hospital's agent and its budgets how much, department by department: from its own log and its own ledger, nothing else. */
import type { AuditLog } from '../shared/audit/audit-log.ts';
import { csvTable } from '../shared/audit/csv.ts';
import type { ApiKeys } from '../shared/http/api-keys.ts';
import type { SiteId } from '../shared/ids.ts';
import type { AgentUsageReport } from '../shared/wire/reports.ts';
import type { Pseudonyms } from './access/pseudonyms.ts';
import type { HistoryEntry, Ledger } from './budget/ledger.ts';

const PAGE = 1_000;

interface Row {
  readonly site: SiteId;
  readonly department: string | null;
  chatsAsked: number | null;
  statisticsAsked: number | null;
  queriesCharged: number;
  queriesRefunded: number;
  costUnits: bigint;
}

export interface UsageSources {
  readonly self: SiteId;
  readonly audit: Pick<AuditLog, 'entries' | 'log'>;
  readonly ledger: Pick<Ledger, 'history'>;
  readonly apiKeys: Pick<ApiKeys, 'list'>;
  readonly pseudonyms: Pseudonyms;
}

/** The journal, newest record first. */
async function* journal(ledger: UsageSources['ledger']): AsyncGenerator<HistoryEntry> {
  let before: number | undefined;
  for (;;) {
    const page = await ledger.history({ limit: PAGE, ...(before === undefined ? {} : { before }) });
    yield* page;
    before = page.at(-1)?.counter;
    if (before === undefined || before === 0) return;
  }
}

class Rows {
  readonly #rows = new Map<string, Row>();
  readonly #self: SiteId;

  constructor(self: SiteId) {
    this.#self = self;
  }
  of(site: SiteId, department: string | null): Row {
    const key = JSON.stringify([site, department]);
    const asked = site === this.#self ? 0 : null;
    const row = this.#rows.get(key) ?? {
      site,
      department,
      chatsAsked: asked,
      statisticsAsked: asked,
      queriesCharged: 0,
      queriesRefunded: 0,
      costUnits: 0n,
    };
    this.#rows.set(key, row);
    return row;
  }
  sorted(): readonly Row[] {
    return [...this.#rows.entries()].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  }
}

/** Reads log and journal whole: clocks may have jumped, so the time of a record does not tell its place. */
export const agentUsage = async (
  { self, audit, ledger, apiKeys, pseudonyms }: UsageSources,
  fromMs: number,
  toMs: number,
): Promise<AgentUsageReport> => {
  const rows = new Rows(self);
  const inPeriod = (ms: number): boolean => ms >= fromMs && ms < toMs;
  const departments = new Map<string, string>();
  for (const { name, department } of await apiKeys.list())
    departments.set(pseudonyms.of({ name }), department);
  for await (const { action, outcome, actor, timeMs } of audit.entries(
    audit.log.minimumIndex,
    audit.log.size,
  )) {
    if (outcome !== 'begun' || !inPeriod(timeMs)) continue;
    if (action !== 'chat.asked' && action !== 'stats.asked') continue;
    const row = rows.of(self, departments.get(actor ?? '') ?? null);
    if (action === 'chat.asked') row.chatsAsked = (row.chatsAsked ?? 0) + 1;
    else row.statisticsAsked = (row.statisticsAsked ?? 0) + 1;
  }
  // Newest first: what became of a reservation is read before the reservation.
  const refunded = new Set<number>();
  let ledgerFrom = 0;
  for await (const { counter, record } of journal(ledger)) {
    ledgerFrom = counter;
    if (record.type === 'refunded') refunded.add(record.reserved);
    if (record.type !== 'reserved' || !inPeriod(record.atMs)) continue;
    const row = rows.of(record.sender, record.department);
    if (refunded.has(counter)) row.queriesRefunded += 1;
    else {
      row.queriesCharged += 1;
      row.costUnits += BigInt(record.costs.site_lifetime);
    }
  }
  return {
    site: self,
    fromMs,
    toMs,
    departments: rows.sorted().map((row) => ({ ...row, costUnits: String(row.costUnits) })),
    ledgerFrom,
  };
};

export const agentUsageCsv = ({ departments }: AgentUsageReport): string =>
  csvTable(
    [
      'site',
      'department',
      'chats_asked',
      'statistics_asked',
      'queries_charged',
      'queries_refunded',
      'cost_2^-40_nat',
    ],
    departments.map((row) => [
      row.site,
      row.department,
      row.chatsAsked,
      row.statisticsAsked,
      row.queriesCharged,
      row.queriesRefunded,
      row.costUnits,
    ]),
  );
