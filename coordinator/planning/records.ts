/** Plans kept for whoever asks "why this site": the newest 10,000, by query. They hold sites, prices and times, never content or persons. */
import type { PlanRecord } from '../../shared/wire/plan.ts';

export const PLANS_KEPT = 10_000;

export interface PlanRecords {
  add(record: PlanRecord): void;
  /** Undefined when it was never planned here, or so long ago that it was dropped. */
  get(queryId: string): PlanRecord | undefined;
  /** Newest first. */
  list(limit: number): readonly PlanRecord[];
  readonly size: number;
}

export const createPlanRecords = (kept = PLANS_KEPT): PlanRecords => {
  const records = new Map<string, PlanRecord>();
  return {
    add(record) {
      records.delete(record.queryId);
      const [oldest] = records.keys();
      if (records.size >= kept && oldest !== undefined) records.delete(oldest);
      records.set(record.queryId, record);
    },
    get: (queryId) => records.get(queryId),
    list: (limit) => [...records.values()].slice(-limit).toReversed(),
    get size() {
      return records.size;
    },
  };
};
