/** What is measured of tasks. A figure nobody has measured yet is absent: NaN, which Prometheus shows as no value. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '../../shared/clock.ts';
import type { TaskKind, TaskState } from '../../shared/wire/task.ts';
import type { Task } from './task.ts';

export interface TaskMeters {
  /** An attempt of the coordinator's own is over, however it ended. */
  attempted(kind: TaskKind, seconds: number): void;
  /** A task ended, also a relayed one. */
  ended(task: Pick<Task, 'kind' | 'state' | 'createdMs' | 'endedMs' | 'startedMs'>): void;
  /** Share of the tasks that ended within the window and failed or expired; null before the first. */
  failedShare(): number | null;
}

const DURATION_BUCKETS_S = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3_600];
const ATTEMPT_BUCKETS_S = [0.001, 0.01, 0.1, 0.5, 1, 5, 30, 60, 300, 900, 3_600];
/** Over which throughput and the share of failures are taken. */
const WINDOW_MS = 60_000;
const WINDOW_ENDS_MAX = 100_000;

interface End {
  readonly atMs: number;
  readonly failed: boolean;
}

/** Ends of the last minute, oldest first. */
const createWindow = (clock: Clock) => {
  const ends: End[] = [];
  let first: number | undefined;
  let head = 0;
  const trim = (): void => {
    const oldest = clock.monotonicMs() - WINDOW_MS;
    while (head < ends.length && (ends[head]!.atMs < oldest || ends.length - head > WINDOW_ENDS_MAX))
      head += 1;
    if (head > 1_024 && head * 2 > ends.length) {
      ends.splice(0, head);
      head = 0;
    }
  };
  return {
    add(failed: boolean): void {
      const atMs = clock.monotonicMs();
      first ??= atMs;
      ends.push({ atMs, failed });
      trim();
    },
    read(): { readonly perSecond: number; readonly failedShare: number | null } | null {
      if (first === undefined) return null;
      trim();
      const counted = ends.length - head;
      const spanMs = Math.min(WINDOW_MS, Math.max(1_000, clock.monotonicMs() - first));
      const failed = ends.slice(head).filter((end) => end.failed).length;
      return { perSecond: counted / (spanMs / 1_000), failedShare: counted === 0 ? null : failed / counted };
    },
  };
};

/** Figures that are read where they are when they are asked for. */
export interface TaskReadings {
  readonly running: () => number;
  readonly queued: () => number;
  readonly memoryUtilisation: () => number | null;
  readonly cacheHitRatio: () => number | null;
  readonly healthScore: () => number | null;
}

const gaugeOf = (registry: Registry, name: string, help: string, read: () => number | null): void => {
  const gauge: Gauge = new Gauge({
    name,
    help,
    registers: [registry],
    collect: () => gauge.set(read() ?? Number.NaN),
  });
};

export const createTaskMeters = (registry: Registry, clock: Clock, readings: TaskReadings): TaskMeters => {
  const registers = [registry];
  const recent = createWindow(clock);
  const total = new Counter({
    name: 'quantum_tasks_total',
    help: 'Tasks that ended, by kind and by how',
    labelNames: ['kind', 'outcome'] as const,
    registers,
  });
  const duration = new Histogram({
    name: 'quantum_task_duration_seconds',
    help: 'Time from the creation of a task to its end',
    labelNames: ['kind'] as const,
    buckets: DURATION_BUCKETS_S,
    registers,
  });
  const attempt = new Histogram({
    name: 'qfl_task_attempt_seconds',
    help: 'Time of one attempt at a task that the coordinator runs itself',
    labelNames: ['kind'] as const,
    buckets: ATTEMPT_BUCKETS_S,
    registers,
  });
  gaugeOf(registry, 'quantum_tasks_active', 'Tasks that run now', readings.running);
  gaugeOf(registry, 'qfl_tasks_queued', 'Tasks that wait for their turn or for other tasks', readings.queued);
  gaugeOf(
    registry,
    'throughput_tasks_per_second',
    'Tasks ended per second over the last minute; absent before the first',
    () => recent.read()?.perSecond ?? null,
  );
  gaugeOf(
    registry,
    'memory_utilization',
    'Share of the memory there is that this program holds',
    readings.memoryUtilisation,
  );
  gaugeOf(
    registry,
    'quantum_cache_hit_ratio',
    'Share of lookups in the response cache that found an answer; absent before the first',
    readings.cacheHitRatio,
  );
  gaugeOf(
    registry,
    'quantum_scheduler_health_score',
    'Health from 0 to 1; absent before anything was measured',
    readings.healthScore,
  );
  const failing: ReadonlySet<TaskState> = new Set(['failed', 'expired']);
  return {
    attempted: (kind, seconds) => attempt.observe({ kind }, seconds),
    ended({ kind, state, createdMs, endedMs }) {
      total.inc({ kind, outcome: state });
      if (endedMs !== null) duration.observe({ kind }, Math.max(0, endedMs - createdMs) / 1_000);
      recent.add(failing.has(state));
    },
    failedShare: () => recent.read()?.failedShare ?? null,
  };
};
