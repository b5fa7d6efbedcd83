/** Puts the tasks together with what they use: worker pool, simulator, response cache, measurements, health. */
import { join } from 'node:path';
import { Gauge, type Registry as MetricsRegistry } from 'prom-client';
import { createCache } from '../../shared/cache/cache.ts';
import type { Clock } from '../../shared/clock.ts';
import type { CoordinatorConfig } from '../../shared/config/config.ts';
import {
  createHealthMonitor,
  type HealthMonitor,
  memoryUtilisation,
  watchLoopDelay,
} from '../../shared/health/monitor.ts';
import type { HealthMetric } from '../../shared/health/score.ts';
import type { Logger } from '../../shared/log.ts';
import type { RandomBytes } from '../../shared/random.ts';
import type { ActorPseudonyms } from '../access/pseudonyms.ts';
import type { ExportLogs } from '../audit/export.ts';
import type { CoordinatorHome } from '../home.ts';
import type { Presence } from '../sites/presence.ts';
import type { Registry } from '../sites/registry.ts';
import { createWorkerPool, spawnThread, type WorkerPool } from '../workers/pool.ts';
import { executorsOf } from './executor.ts';
import { createExportExecutor } from './executors/export.ts';
import { createQuantumExecutor, simulatorMemoryBytes } from './executors/quantum.ts';
import { createTrainExecutor, type TrainExecutorOptions } from './executors/train.ts';
import { createTaskMeters } from './meters.ts';
import { openTasks, type Tasks } from './tasks.ts';

/** The load stays low for so long before a worker thread goes. */
const CALM_MS = 10_000;
const JOBS_WAITING_MAX = 1_000;
/** Answers are at most 256 KiB, so that their number alone is no bound. */
const CACHE_BYTES_MAX = 128 * 1024 * 1024;

export interface TaskParts {
  readonly exportLogs: ExportLogs;
  readonly home: CoordinatorHome;
  readonly registry: Registry;
  readonly presence: Presence;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly actorOf: ActorPseudonyms['actorOf'];
  readonly settings: () => CoordinatorConfig['tasks'];
  readonly train: TrainExecutorOptions;
}

export interface StartedTasks {
  readonly tasks: Tasks;
  readonly pool: WorkerPool;
  readonly health: HealthMonitor;
  close(): Promise<void>;
}

const poolGauge = (registers: MetricsRegistry[], pool: WorkerPool): void => {
  const gauge: Gauge<'state'> = new Gauge({
    name: 'qfl_workers',
    help: 'Worker threads by what they do, jobs that wait for one, and threads that died in the middle',
    labelNames: ['state'] as const,
    registers,
    collect() {
      const { size, busy, waiting, lost } = pool.stats;
      gauge.set({ state: 'there' }, size);
      gauge.set({ state: 'busy' }, busy);
      gauge.set({ state: 'waiting' }, waiting);
      gauge.set({ state: 'lost' }, lost);
    },
  });
};

/** Share of the approved sites that are connected; null while none is approved. */
const sitesOnlineShare = ({
  registry,
  presence,
}: Pick<TaskParts, 'registry' | 'presence'>): number | null => {
  const approved = registry.list().filter(({ status }) => status === 'approved').length;
  return approved === 0 ? null : presence.online().length / approved;
};

export const startTasks = async (settings: CoordinatorConfig, parts: TaskParts): Promise<StartedTasks> => {
  const { home, clock, random, logger, metrics } = parts;
  const pool = createWorkerPool({
    bounds: { ...settings.workers, calmMs: CALM_MS },
    waitingMax: JOBS_WAITING_MAX,
    clock,
    spawn: spawnThread,
  });
  const cache = createCache({ ...settings.cache, bytesMax: CACHE_BYTES_MAX, clock });
  const loopDelay = watchLoopDelay();
  let tasks: Tasks | undefined;
  const readings = () => tasks?.readings() ?? { running: 0, queued: 0, queuedMax: 1 };

  // Only its own loop and memory can make a coordinator unready. What sites and users do, at its worst, degrades it: were it taken out of
  // service for that, the sites could not come back and the queue would be out of reach.
  const healthMetrics = (): readonly HealthMetric[] => {
    const { queued, queuedMax } = readings();
    return [
      {
        name: 'event_loop_delay_p99_ms',
        value: loopDelay.takeP99Ms(),
        better: 'lower',
        good: 20,
        bad: 500,
        weight: 2,
      },
      {
        name: 'memory_utilization',
        value: memoryUtilisation(),
        better: 'lower',
        good: 0.7,
        bad: 0.95,
        weight: 2,
      },
      {
        name: 'tasks_failed_share',
        value: meters.failedShare(),
        better: 'lower',
        good: 0.05,
        bad: 2,
        weight: 1,
      },
      { name: 'task_queue_fill', value: queued / queuedMax, better: 'lower', good: 0.5, bad: 1.5, weight: 1 },
      {
        name: 'sites_online_share',
        value: sitesOnlineShare(parts),
        better: 'higher',
        good: 0.9,
        bad: -1,
        weight: 1,
      },
    ];
  };
  const health = createHealthMonitor({
    metrics: healthMetrics,
    clock,
    intervalMs: settings.healthIntervalMs,
  });
  const meters = createTaskMeters(metrics, clock, {
    running: () => readings().running,
    queued: () => readings().queued,
    memoryUtilisation: () => memoryUtilisation(),
    cacheHitRatio: () => cache.hitRatio(),
    healthScore: () => health.read().score,
  });
  poolGauge([metrics], pool);

  const { enabled, qubitsMax, jobsMax } = settings.simulator;
  const simulator = (): ReturnType<typeof createQuantumExecutor>[] =>
    enabled
      ? [
          createQuantumExecutor({
            pool,
            cache,
            random,
            qubitsMax,
            jobsMax,
            memoryBytes: simulatorMemoryBytes(),
          }),
        ]
      : [];
  const stop = async (): Promise<void> => {
    health.close();
    loopDelay.close();
    await tasks?.close();
    await pool.close();
  };
  try {
    tasks = await openTasks({
      store: home.store,
      folder: join(home.folder, 'task-results'),
      federation: home.name,
      stateKey: home.vault.secretFor('task state'),
      executors: (files) =>
        executorsOf(
          ...simulator(),
          createTrainExecutor(parts.train),
          createExportExecutor({
            files,
            exportLogs: (request) => parts.exportLogs(request),
            record: ({ owner, role }) =>
              home.audit.record({
                action: 'audit.exported',
                outcome: 'ok',
                ...parts.actorOf({ id: owner, role }),
              }),
          }),
        ),
      audit: home.audit,
      actorOf: parts.actorOf,
      clock,
      random,
      logger,
      meters,
      settings: parts.settings,
    });
    return { tasks, pool, health, close: stop };
  } catch (error) {
    await stop();
    throw error;
  }
};
