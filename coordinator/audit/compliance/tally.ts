/** What the files of a compliance export count, taken from the entries as they pass. Its memory grows with sites, accounts and purposes, not with entries. */
import type { AuditEntry } from '../../../shared/audit/entry.ts';

/** What bears on security: the timeline of an incident report, and `incidents.ndjson`. */
export const BEARS_ON_SECURITY: ReadonlySet<string> = new Set([
  'lockdown.changed',
  'tokens.revoked',
  'account.created',
  'account.changed',
  'account.locked',
  'account.unlocked',
  'account.sign_in_refused',
  'session.token_reused',
  'session.refused',
  'access.refused',
  'key.created',
  'key.revoked',
  'key.rotated',
  'site.approved',
  'site.revoked',
  'policy.changed',
  'proposal.approved',
  'proposal.refused',
  'budget.raised',
  'erasure.refused',
  'audit.exported',
  'program.start',
  'program.stop',
  'directory.alarm',
  'witness.refused',
]);

export interface Served {
  readonly site: string;
  readonly recipient: string;
  readonly purpose: string | null;
  firstMs: number;
  lastMs: number;
  times: number;
}
export interface SubjectCount {
  signIns: number;
  changes: number;
}
interface SourceCount {
  entries: number;
  /** Units of 2^-40 nat; null while no entry says a cost. */
  costUnits: bigint | null;
  served: number;
  budgetRaises: number;
}

const CHANGES: ReadonlySet<string> = new Set([
  'account.created',
  'account.changed',
  'account.locked',
  'account.unlocked',
  'key.created',
  'key.revoked',
]);

export class Tally {
  entries = 0;
  security = 0;
  firstMs: number | null = null;
  lastMs: number | null = null;
  /** By `action outcome`. */
  readonly counts = new Map<string, number>();
  readonly sources = new Map<string, SourceCount>();
  /** Aggregates that left a site for another one. */
  readonly served = new Map<string, Served>();
  /** By id of an account or key. */
  readonly subjects = new Map<string, SubjectCount>();
  readonly purposes = new Set<string>();

  /** True when the entry bears on security. */
  take(entry: AuditEntry): boolean {
    const { action, outcome, timeMs, source, cost, purpose } = entry;
    this.entries += 1;
    this.firstMs = Math.min(this.firstMs ?? timeMs, timeMs);
    this.lastMs = Math.max(this.lastMs ?? timeMs, timeMs);
    const key = `${action} ${outcome}`;
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
    const at = this.sources.get(source) ?? { entries: 0, costUnits: null, served: 0, budgetRaises: 0 };
    this.sources.set(source, at);
    at.entries += 1;
    if (cost !== null) at.costUnits = (at.costUnits ?? 0n) + BigInt(cost);
    if (action === 'budget.raised' && outcome === 'ok') at.budgetRaises += 1;
    if (purpose !== null) this.purposes.add(purpose);
    if (action === 'stats.served' && outcome === 'ok') this.#takeServed(entry, at);
    this.#takeSubjects(entry);
    const bears = BEARS_ON_SECURITY.has(action);
    if (bears) this.security += 1;
    return bears;
  }

  #takeServed({ source, objects, purpose, timeMs }: AuditEntry, at: SourceCount): void {
    at.served += 1;
    const recipient = objects.find(({ kind }) => kind === 'site')?.id ?? 'unknown';
    const key = JSON.stringify([source, recipient, purpose]);
    const row = this.served.get(key);
    if (row === undefined)
      this.served.set(key, { site: source, recipient, purpose, firstMs: timeMs, lastMs: timeMs, times: 1 });
    else {
      row.firstMs = Math.min(row.firstMs, timeMs);
      row.lastMs = Math.max(row.lastMs, timeMs);
      row.times += 1;
    }
  }

  #takeSubjects({ action, outcome, objects }: AuditEntry): void {
    const isSignIn = action === 'account.signed_in' && outcome === 'ok';
    if (!isSignIn && !CHANGES.has(action)) return;
    for (const { kind, id } of objects) {
      if (kind !== 'account' && kind !== 'key') continue;
      const count = this.subjects.get(id) ?? { signIns: 0, changes: 0 };
      this.subjects.set(id, count);
      if (isSignIn) count.signIns += 1;
      else count.changes += 1;
    }
  }
}
