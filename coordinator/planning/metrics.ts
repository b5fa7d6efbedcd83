/** The planner's figures under the names that were asked for, read when they are scraped. What is not measured now is NaN, never a stand-in. */
import { Gauge, type Registry } from 'prom-client';
import { percentile } from '../metrics.ts';
import type { LivePlanner } from './live.ts';

type Reading = readonly [name: string, help: string, read: (planner: LivePlanner) => number | null];

const READINGS: readonly Reading[] = [
  [
    'superposition_tasks_active',
    'Requests held open between several sites now',
    ({ observatory }) => observatory.report().tasksActive,
  ],
  [
    'quantum_coherence_utilization',
    'Mean coherence of open requests, 0 to 1: how much of their openness the age of telemetry still supports; NaN while none is open',
    ({ observatory }) => observatory.report().coherence,
  ],
  [
    'entanglement_strength_avg',
    'Mean strength over declared groups: normalised mutual information of placements above chance, or kappa where both are decided',
    ({ observatory }) => observatory.report().entanglement,
  ],
  [
    'interference_optimization_gain',
    'What planning together saves of the cost of everyone for himself, over the last plans',
    ({ observatory }) => observatory.report().gain,
  ],
  [
    'quantum_optimization_efficiency',
    'Share of the provable saving that the plans took, over the last plans; NaN while there was none to take',
    ({ observatory }) => observatory.report().efficiency,
  ],
  [
    'qfl_planning_coherence_t2_seconds',
    'Age of telemetry at which the fidelity of placements has fallen to 1/e',
    ({ observatory }) => {
      const { t2Ms } = observatory.report();
      return t2Ms === null ? null : t2Ms / 1_000;
    },
  ],
  [
    'qfl_planning_deferral_value_seconds',
    'Mean time to completion saved by holding requests open, by replay of the last served ones',
    ({ deferral }) => (deferral.value === null ? null : deferral.value.savedMs / 1_000),
  ],
  [
    'qfl_planning_deferral_on',
    '1 while holding requests open is worth it with 95 % confidence',
    ({ deferral }) => (deferral.isOn ? 1 : 0),
  ],
  ['qfl_planning_waiting', 'Requests that wait for a commit now', ({ waiting }) => waiting],
  ['qfl_planning_planned', 'Requests planned since the start', ({ planned }) => planned],
  [
    'qfl_planning_replan_p95_seconds',
    'From a trigger (site lost, outcome outside its interval, coherence under its threshold) to the new plan, 95th percentile',
    ({ observatory }) => {
      const value = percentile(observatory.report().replansMs, 0.95);
      return value === null ? null : value / 1_000;
    },
  ],
  [
    'qfl_planning_threads_lost',
    'Worker threads of the planner that died since the start',
    ({ threads }) => threads.lost,
  ],
  [
    'qfl_planning_stand_ins',
    'Plans that a simple one stood in for, because a thread died or was too late',
    ({ threads }) => threads.standIns,
  ],
  [
    'qfl_planning_regret',
    'What the best strategy would have brought more than the ones that `adaptive` tried',
    ({ strategist }) => strategist.report().regret,
  ],
];

export const registerPlanningMetrics = (registry: Registry, planner: LivePlanner): void => {
  const gauges = READINGS.map(
    ([name, help, read]) =>
      new Gauge({
        name,
        help,
        registers: [registry],
        collect() {
          this.set(read(planner) ?? Number.NaN);
        },
      }),
  );
  // They live in the registry.
  void gauges;
};
