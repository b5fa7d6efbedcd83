/** Tasks on a store in memory, with a clock, an alarm and executors that a test holds in its hands. */
import { createActorPseudonyms } from '../../../coordinator/access/pseudonyms.ts';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import type {
  TaskExecutor,
  TaskExecutors,
  TaskOutput,
  TaskWork,
} from '../../../coordinator/tasks/executor.ts';
import { executorsOf } from '../../../coordinator/tasks/executor.ts';
import type { TaskFiles } from '../../../coordinator/tasks/files.ts';
import { createTaskMeters, type TaskReadings } from '../../../coordinator/tasks/meters.ts';
import { TASK_LIMITS, type TaskLimits } from '../../../coordinator/tasks/limits.ts';
import { openTasks, type Tasks } from '../../../coordinator/tasks/tasks.ts';
import type { AuditEvent } from '../../../shared/audit/audit-log.ts';
import { createDeferred, type Deferred } from '../../../shared/deferred.ts';
import { abortedBy, assert } from '../../../shared/errors.ts';
import type { TaskId } from '../../../shared/ids.ts';
import { silentLogger } from '../../../shared/log.ts';
import type { Clock } from '../../../shared/clock.ts';
import type { RandomBytes } from '../../../shared/random.ts';
import { seeded } from '../../../shared/seeded.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import { TaskRequest, type TaskKind, type TasksRequest } from '../../../shared/wire/task.ts';

export class HeldClock implements Clock {
  timeMs = 1_790_000_000_000;
  nowMs(): number {
    return this.timeMs;
  }
  monotonicMs(): number {
    return this.timeMs;
  }
}

export const seededBytes = (seed: number): RandomBytes => {
  const random = seeded(seed);
  return (count) => Buffer.from(Array.from({ length: count }, () => random.below(256)));
};

export const operator = { role: 'operator', owner: 'operator' };

export interface HeldRun {
  readonly work: TaskWork;
  readonly end: Deferred<TaskOutput>;
}

/** An executor whose runs end when the test says so; an abort ends them like a worker that is stopped. */
export const createHeldExecutor = (kind: TaskKind, hearsAbort = true) => {
  const runs: HeldRun[] = [];
  const executor: TaskExecutor = {
    kind,
    prepare: (spec) => spec,
    run(work) {
      const end = createDeferred<TaskOutput>();
      runs.push({ work, end });
      if (hearsAbort) work.signal.addEventListener('abort', () => end.reject(abortedBy(work.signal)));
      return end.promise;
    },
  };
  return {
    executor,
    runs,
    /** The latest run of a task. */
    of: (id: TaskId): HeldRun => {
      const run = runs.findLast(({ work }) => work.id === id);
      assert(run !== undefined, 'the task has run');
      return run;
    },
    done: { form: 'json', value: { answer: 42 }, cached: false } as const,
  };
};

/** Lets everything that is ready happen. */
export const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

export interface Bench {
  readonly tasks: Tasks;
  readonly clock: HeldClock;
  readonly store: Store;
  readonly entries: AuditEvent[];
  readonly metrics: Registry;
  /** The time goes on, and what is due happens. */
  readonly pass: (ms: number) => Promise<void>;
  close(): Promise<void>;
}

export interface BenchOptions {
  readonly executors: readonly TaskExecutor[] | ((files: TaskFiles) => TaskExecutors);
  readonly store?: Store;
  readonly clock?: HeldClock;
  readonly parallelMax?: number;
  readonly limits?: Partial<TaskLimits>;
  readonly ageingMs?: number;
  readonly seed?: number;
  readonly stateKey?: Uint8Array;
  /** What the meters read beside the tasks; not measured without it. */
  readonly readings?: Partial<TaskReadings>;
}

export const openBench = async (options: BenchOptions): Promise<Bench> => {
  const clock = options.clock ?? new HeldClock();
  const store = options.store ?? createMemoryStore();
  const folder = mkdtempSync(join(tmpdir(), 'qfl-tasks-'));
  const entries: AuditEvent[] = [];
  const metrics = new Registry();
  const { executors } = options;
  const none = () => null;
  const tasks = await openTasks({
    store,
    folder,
    federation: 'test',
    stateKey: options.stateKey ?? new Uint8Array(32).fill(7),
    executors: typeof executors === 'function' ? executors : () => executorsOf(...executors),
    audit: {
      record(event) {
        entries.push(event);
        return Promise.resolve({
          index: entries.length - 1,
          leafHash: new Uint8Array(32),
          id: String(entries.length),
        });
      },
    },
    actorOf: createActorPseudonyms(new Uint8Array(32)).actorOf,
    clock,
    random: seededBytes(options.seed ?? 1),
    logger: silentLogger,
    meters: createTaskMeters(metrics, clock, {
      running: () => tasks.readings().running,
      queued: () => tasks.readings().queued,
      memoryUtilisation: none,
      cacheHitRatio: none,
      healthScore: none,
      ...options.readings,
    }),
    settings: () => ({ parallelMax: options.parallelMax ?? 8, timeoutMs: 3_600_000 }),
    limits: { ...TASK_LIMITS, ...options.limits },
    alarm: { set: () => undefined, clear: () => undefined },
    ...(options.ageingMs === undefined ? {} : { ageingMs: options.ageingMs }),
  });
  await settled();
  return {
    tasks,
    clock,
    store,
    entries,
    metrics,
    async pass(ms) {
      clock.timeMs += ms;
      await tasks.tick();
      await settled();
    },
    async close() {
      await tasks.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
};

export const quantum = (rest: object = {}): TaskRequest =>
  TaskRequest.parse({ spec: { kind: 'quantum', job: { type: 'chsh' } }, ...rest });
export const other = (kind: 'stats' | 'ask', rest: object = {}): TaskRequest =>
  TaskRequest.parse({ spec: { kind }, ...rest });
export const request = (...tasks: TaskRequest[]): TasksRequest => ({ tasks });
