/** `/quantum/…`: the planner's state as measured. Any key may read it: it tells of load and telemetry, never of a person. */
import type { HttpApp } from '../../shared/http/app.ts';
import { CoherenceStatus, OptimizationStatus, QuantumStatus } from '../../shared/wire/plan.ts';
import type { LivePlanner } from '../planning/live.ts';
import type { KnownPresence } from '../planning/sites-now.ts';
import { coherenceStatus, optimizationStatus, quantumStatus } from '../planning/status.ts';

export interface QuantumRouteOptions {
  readonly planner: LivePlanner;
  readonly presence: KnownPresence;
  /** Of the last plans. */
  readonly planSeconds: readonly number[];
}

export const registerQuantumRoutes = (
  { fastify }: HttpApp,
  { planner, presence, planSeconds }: QuantumRouteOptions,
): void => {
  const config = { access: 'status.read' } as const;
  fastify.get(
    '/quantum/status',
    { config, schema: { summary: 'The planner’s ensemble as measured', response: { 200: QuantumStatus } } },
    () => quantumStatus(planner, planSeconds),
  );
  fastify.get(
    '/quantum/coherence',
    { config, schema: { summary: 'How far telemetry has aged', response: { 200: CoherenceStatus } } },
    () => coherenceStatus(planner, presence, presence.online()),
  );
  fastify.get(
    '/quantum/optimization/status',
    {
      config,
      schema: { summary: 'Plans, bounds and gains as measured', response: { 200: OptimizationStatus } },
    },
    () => optimizationStatus(planner),
  );
};
