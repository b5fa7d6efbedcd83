/** Every figure that was asked for moves when the load does: a metric that stands still is a number typed in. */
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { createCoordinatorMetrics } from '../../../coordinator/metrics.ts';
import { registerPlanningMetrics } from '../../../coordinator/planning/metrics.ts';
import type { Placement, PlacementRequest } from '../../../coordinator/relay/placement.ts';
import { createCache } from '../../../shared/cache/cache.ts';
import { QflError } from '../../../shared/errors.ts';
import { createHealthMonitor, memoryUtilisation } from '../../../shared/health/monitor.ts';
import {
  createHeldExecutor,
  HeldClock,
  openBench,
  operator,
  quantum,
  request as tasksOf,
  settled,
} from '../tasks/fixture.ts';
import { busySpell, fast, pause, plannerOver, request, slow, third } from './live-bench.ts';

const PLANNING = [
  'superposition_tasks_active',
  'quantum_coherence_utilization',
  'entanglement_strength_avg',
  'interference_optimization_gain',
  'quantum_optimization_efficiency',
  'task_planning_time_p95',
  'qfl_planning_waiting',
  'qfl_planning_planned',
  'qfl_planning_deferral_value_seconds',
];
const TASKS = [
  'quantum_tasks_total',
  'quantum_tasks_active',
  'quantum_task_duration_seconds',
  'throughput_tasks_per_second',
  'memory_utilization',
  'quantum_scheduler_health_score',
  'quantum_cache_hit_ratio',
];

/** The different values of every figure over all looks at it; "does not apply now" (NaN) is one of its own. */
const createSeen = (registry: Registry) => {
  const seen = new Map<string, Set<number>>();
  return {
    async look(): Promise<void> {
      for (const { name, values } of await registry.getMetricsAsJSON())
        seen.set(name, (seen.get(name) ?? new Set()).add(values.reduce((sum, { value }) => sum + value, 0)));
    },
    /** Moved, and was measured at least once. */
    moved: (name: string): boolean => {
      const values = [...(seen.get(name) ?? [])];
      return values.length > 1 && values.some((value) => !Number.isNaN(value));
    },
  };
};

it('the planner’s figures move with a changing load', async () => {
  const registry = new Registry();
  const meters = createCoordinatorMetrics(registry, { online: () => [] }, { log: { size: 0 } });
  const slots = new Map([fast, slow, third].map((site) => [site, 1]));
  const bench = plannerOver(slots, { meters, elapsedMs: () => performance.now() });
  const { planner, ages, pass } = bench;
  registerPlanningMetrics(registry, planner);
  const seen = createSeen(registry);
  await seen.look();
  await busySpell(bench);
  const held: Placement[] = [];
  const take = (one: PlacementRequest) =>
    planner.place(one).then((placement) => placement && held.push(placement));
  // Equal predictions with wide errors: the ensemble cannot tell the sites apart.
  for (let at = 0; at < 80; at += 1)
    for (const site of [fast, slow, third])
      planner.predictor.observe(site, 'm', at % 2 === 0 ? 200 : 1_800, 256);
  for (let wave = 0; wave < 14; wave += 1) {
    for (let at = 0; at < 2 + (wave % 4); at += 1) {
      const affinity = wave % 2 === 0 ? String(wave % 10).repeat(32) : undefined;
      void take(request({ affinity, priority: at, expiresMs: 10_000_000 }));
    }
    for (const site of [fast, slow, third]) ages.set(site, 500 * (wave % 5));
    await pause(5);
    pass(1_500);
    for (const placement of held.splice(0, 2)) placement.done(5);
    await pause(60);
    await seen.look();
  }
  planner.close();
  expect(PLANNING.map((name) => [name, seen.moved(name)])).toEqual(PLANNING.map((name) => [name, true]));
});

it('the figures of tasks, memory, cache and health move with a changing load', async () => {
  const clock = new HeldClock();
  const held = createHeldExecutor('quantum');
  const cache = createCache({ entriesMax: 100, bytesMax: 1e6, lifeMs: 60_000, clock });
  const ballast: Uint8Array[] = [];
  const bench = await openBench({
    executors: [held.executor],
    clock,
    readings: {
      memoryUtilisation: () => memoryUtilisation(),
      cacheHitRatio: () => cache.hitRatio(),
      healthScore: () => health.read().score,
    },
  });
  const { tasks, metrics, pass } = bench;
  let failed = 0;
  const health = createHealthMonitor({
    clock,
    intervalMs: 0,
    metrics: () => [
      { name: 'tasks_failed', value: failed / 10, better: 'lower', good: 0.05, bad: 2, weight: 1 },
      { name: 'queue', value: tasks.readings().queued / 100, better: 'lower', good: 0, bad: 1.5, weight: 1 },
    ],
  });
  const seen = createSeen(metrics);
  await seen.look();
  for (let wave = 0; wave < 4; wave += 1) {
    const { tasks: made } = await tasks.create(
      tasksOf(...Array.from({ length: 4 + wave * 3 }, () => quantum({ attemptsMax: 1 }))),
      operator,
    );
    await settled();
    cache.get(String(wave % 2));
    cache.put(String(wave % 2), 'an answer');
    ballast.push(new Uint8Array(8e6).fill(wave + 1));
    await pass(1_500);
    await seen.look();
    for (const [at, { id }] of made.entries()) {
      await settled();
      if (tasks.get(id, operator).state !== 'running') continue;
      if (at % 3 === 0) {
        failed += 1;
        held.of(id).end.reject(new QflError('backend_failed'));
      } else held.of(id).end.resolve(held.done);
    }
    await pass(1_500 + 700 * wave);
    await seen.look();
  }
  health.close();
  await bench.close();
  expect(TASKS.map((name) => [name, seen.moved(name)])).toEqual(TASKS.map((name) => [name, true]));
  expect(ballast).toHaveLength(4);
});
