/** Pages of an audit log, newest first or oldest first, filtered. A page costs a bounded number of entries however rare the matches are. */
import type { AuditAction, AuditEntry, AuditOutcome } from './entry.ts';
import type { AuditLog } from './audit-log.ts';

const SCAN_MAX = 20_000;
const CHUNK = 256;

export interface AuditFilter {
  readonly action?: AuditAction | undefined;
  readonly outcome?: AuditOutcome | undefined;
  readonly actor?: string | undefined;
  readonly role?: string | undefined;
  readonly requestId?: string | undefined;
  /** An object of the entry has this id: a site, a key, a task. */
  readonly object?: string | undefined;
  /** From this moment on, before that one; ms. */
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
}

export interface AuditPage {
  readonly entries: readonly AuditEntry[];
  /** Where the next page begins; null at the end. A page may be short, or empty, and not be the last. */
  readonly next: number | null;
  readonly size: number;
  readonly minimumIndex: number;
}

const matches = (entry: AuditEntry, filter: AuditFilter): boolean => {
  const { action, outcome, actor, role, requestId, object, sinceMs, untilMs } = filter;
  return (
    (action === undefined || entry.action === action) &&
    (outcome === undefined || entry.outcome === outcome) &&
    (actor === undefined || entry.actor === actor) &&
    (role === undefined || entry.role === role) &&
    (requestId === undefined || entry.requestId === requestId) &&
    (object === undefined || entry.objects.some(({ id }) => id === object)) &&
    (sinceMs === undefined || entry.timeMs >= sinceMs) &&
    (untilMs === undefined || entry.timeMs < untilMs)
  );
};

const readChunk = async (audit: AuditLog, from: number, to: number): Promise<AuditEntry[]> => {
  const chunk: AuditEntry[] = [];
  for await (const entry of audit.entries(from, to)) chunk.push(entry);
  return chunk;
};

/** `from`: the first index to look at (oldest first), or the one after it (newest first); undefined begins at the end that order asks for. */
export const searchAudit = async (
  audit: AuditLog,
  filter: AuditFilter,
  page: { readonly from?: number | undefined; readonly limit: number; readonly oldestFirst: boolean },
): Promise<AuditPage> => {
  const { size, minimumIndex } = audit.log;
  const { limit, oldestFirst } = page;
  const found: AuditEntry[] = [];
  let at = Math.min(size, Math.max(minimumIndex, page.from ?? (oldestFirst ? minimumIndex : size)));
  const isOver = (): boolean => (oldestFirst ? at >= size : at <= minimumIndex);
  for (let scanned = 0; scanned < SCAN_MAX && !isOver();) {
    const [from, to] = oldestFirst
      ? [at, Math.min(size, at + CHUNK)]
      : [Math.max(minimumIndex, at - CHUNK), at];
    const chunk = await readChunk(audit, from, to);
    for (const entry of oldestFirst ? chunk : chunk.toReversed()) {
      at = oldestFirst ? entry.counter + 1 : entry.counter;
      scanned += 1;
      if (matches(entry, filter)) found.push(entry);
      if (found.length === limit) return { entries: found, next: isOver() ? null : at, size, minimumIndex };
    }
  }
  return { entries: found, next: isOver() ? null : at, size, minimumIndex };
};
