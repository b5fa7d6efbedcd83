/** The coordinator's own measurements; each is taken where the thing happens. Labels never name a person. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { watchLoopDelay } from '../shared/health/monitor.ts';
import type { Presence } from './sites/presence.ts';

export interface CoordinatorMeters {
  planned(seconds: number): void;
  relayed(outcome: 'ok' | 'failed'): void;
  firstPiece(site: string, seconds: number): void;
  readonly planSeconds: readonly number[];
}

const PLAN_BUCKETS_S = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 1, 3];
const FIRST_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30];
/** Plans over which the 95th percentile is taken. */
const PLANS_KEPT = 1_000;

/** What every connection waits for, whoever holds the event loop. @returns ends the measurement */
export const registerLoopDelay = (registry: Registry): (() => void) => {
  const delay = watchLoopDelay();
  const gauge: Gauge = new Gauge({
    name: 'qfl_event_loop_delay_max_seconds',
    help: 'Longest time the event loop was kept since the last scrape',
    registers: [registry],
    collect: () => gauge.set((delay.takeLongestMs() ?? Number.NaN) / 1_000),
  });
  return () => delay.close();
};

export const percentile = (values: readonly number[], share: number): number | null => {
  const sorted = [...values].toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? null;
};

export const createCoordinatorMetrics = (
  registry: Registry,
  presence: Pick<Presence, 'online'>,
  audit: { readonly log: { readonly size: number } },
): CoordinatorMeters => {
  const registers = [registry];
  const recent: number[] = [];
  const planTime = new Histogram({
    name: 'task_planning_time_seconds',
    help: 'Time to place one query',
    buckets: PLAN_BUCKETS_S,
    registers,
  });
  const relays = new Counter({
    name: 'qfl_relayed_queries_total',
    help: 'Sealed queries relayed',
    labelNames: ['outcome'] as const,
    registers,
  });
  const first = new Histogram({
    name: 'qfl_first_piece_seconds',
    help: 'Time from dispatch to the first sealed piece',
    labelNames: ['site'] as const,
    buckets: FIRST_BUCKETS_S,
    registers,
  });
  const sampled = [
    new Gauge({
      name: 'task_planning_time_p95',
      help: 'Seconds, 95th percentile over the last plans; absent before the first',
      registers,
      collect() {
        const value = percentile(recent, 0.95);
        this.set(value ?? Number.NaN);
      },
    }),
    new Gauge({
      name: 'qfl_sites_online',
      help: 'Sites connected now',
      registers,
      collect() {
        this.set(presence.online().length);
      },
    }),
    new Gauge({
      name: 'audit_events_total',
      help: 'Entries in the audit log',
      registers,
      collect() {
        this.set(audit.log.size);
      },
    }),
  ];
  void sampled;
  return {
    planSeconds: recent,
    planned(seconds) {
      planTime.observe(seconds);
      recent.push(seconds);
      if (recent.length > PLANS_KEPT) recent.shift();
    },
    relayed: (outcome) => relays.inc({ outcome }),
    firstPiece: (site, seconds) => first.observe({ site }, seconds),
  };
};
